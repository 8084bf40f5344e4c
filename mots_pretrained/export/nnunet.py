"""A segmenter as a model folder that nnU-Net's predictor runs, with a trainer class of its own."""

from __future__ import annotations

import dataclasses
import math
import shlex
from pathlib import Path
from typing import Any

import torch

from mots_pretrained.adaptation.ensemble import Ensemble, check_whole
from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.export.nnunet_network import largest_first
from mots_pretrained.export.nnunet_resampling import RESAMPLING
from mots_pretrained.files import replacing, write_json, write_text
from mots_pretrained.model.pretrained import Pretrained

TRAINER = "nnUNetTrainerMots"
"""Name of the trainer class, by which nnU-Net finds the network's code."""

_EXTENT = (700.0, 500.0, 500.0)  # mm that nnU-Net is to give to the network at once
_LARGEST = 1 << 26  # voxels of it at most

_MODULE = f'''\
"""Network of mots_pretrained for nnU-Net; name this folder in nnUNet_extTrainer."""

from mots_pretrained.export.nnunet_network import NnunetNetwork
from mots_pretrained.export.nnunet_resampling import Registration, register
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class {TRAINER}(nnUNetTrainer):
    """Builds the network for prediction; it is trained with mots finetune."""

    @staticmethod
    def build_network_architecture(
        plans_manager,
        configuration_manager,
        num_input_channels,
        num_output_channels,
        enable_deep_supervision=True,
    ):
        register()  # here, and in nnU-Net's worker processes, which get this configuration
        configuration_manager.configuration["mots_resampling"] = Registration()
        return NnunetNetwork(configuration_manager.network_arch_init_kwargs["config"])
'''


def export_nnunet(network: Pretrained, folder: str | Path) -> Path:
    """Write plans.json, dataset.json, fold_N/checkpoint_final.pth and the trainer's module.

    Run it, with nnunetv2 2.8 or newer and this package in one environment, by `command`.
    Reading and deciding are nnU-Net's, resampling and sliding windows this package's, so that
    labels of CT are `Predictor`'s; of what is zero around a brain nnU-Net shows none. Classes that
    exclude each other are numbered from 1, as nnU-Net wants; regions come with the largest first,
    since nnU-Net writes each over those before it. What nnU-Net saves as probabilities is none.

    Args:
        network: A segmenter, or an ensemble of them, of which each becomes a fold.
        folder: Made if need be.

    Returns:
        The folder.

    Raises:
        ValueError: If it is no segmenter, an ensemble of which folds are missing, or has classes
            that nnU-Net takes for others; or the folder holds more folds.
    """
    check_whole(network)
    config = network.config
    if config.architecture != "segmenter":
        raise UserError(
            f"nnU-Net decides between classes or nested regions, which a {config.architecture} "
            "has not; export a segmenter, as mots finetune makes it"
        )
    _check_regions(config)
    folder = Path(folder)
    members = list(network.members) if isinstance(network, Ensemble) else [network]
    others = {path.name for path in folder.glob("fold_*")} - {
        f"fold_{number}" for number in range(len(members))
    }
    if others:
        raise UserError(
            f"{folder} holds {min(others)} of another network, which nnU-Net would run as well; "
            "give another folder, or remove that first"
        )
    for number, member in enumerate(members):
        (folder / f"fold_{number}").mkdir(parents=True, exist_ok=True)
        weights = {f"module.{name}": value.cpu() for name, value in member.state_dict().items()}
        checkpoint = {
            "network_weights": weights,
            "trainer_name": TRAINER,
            "init_args": {"configuration": "3d_fullres"},
            "inference_allowed_mirroring_axes": None,
        }
        with replacing(folder / f"fold_{number}" / "checkpoint_final.pth") as file:
            torch.save(checkpoint, file)
    (folder / "trainer").mkdir(exist_ok=True)
    write_text(folder / "trainer" / f"{TRAINER}.py", _MODULE)
    write_json(folder / "dataset.json", _dataset(config))
    write_json(folder / "plans.json", _plans(config))
    return folder


def command(folder: str | Path) -> str:
    """Return the command by which nnU-Net runs all folds of a folder that was written."""
    folds = sorted(int(path.name[len("fold_") :]) for path in Path(folder).glob("fold_*"))
    return (
        f"nnUNet_extTrainer={shlex.quote(f'{folder}/trainer')} nnUNetv2_predict_from_modelfolder "
        f"-i SCANS -o OUT -m {shlex.quote(str(folder))} -f {' '.join(map(str, folds))}"
    )


def _check_regions(config: ModelConfig) -> None:
    """Refuse classes that nnU-Net has no form for, or takes for others.

    Raises:
        UserError: If one is called as what is none to nnU-Net; or regions of one value each, which
            nnU-Net takes for classes that exclude each other; or one that is written above 255.
    """
    if taken := {"background", "ignore"} & {*config.classes}:
        raise UserError(f"nnU-Net has a meaning of its own for the class name {min(taken)}")
    if config.exclusive:
        return
    values = config.label_values
    if all(len(own) == 1 for own in values.values()):
        raise UserError(
            f"nnU-Net has no regions of one value each, as {', '.join(values)}; classes that "
            "exclude each other (exclusive=True) are what it has"
        )
    if (largest := max(own for own, *_ in values.values())) > 255:
        raise UserError(f"nnU-Net writes regions in values up to 255, not {largest}")


def _dataset(config: ModelConfig) -> dict[str, Any]:
    values = config.label_values
    names = enumerate(config.preprocessing.channels)
    described: dict[str, Any] = {
        "channel_names": {str(number): name for number, name in names},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    if config.exclusive:  # whose labels count up from 0 in nnU-Net
        numbered = {name: number for number, name in enumerate(config.classes, start=1)}
        return {**described, "labels": {"background": 0, **numbered}}
    regions = {config.classes[k]: list(values[config.classes[k]]) for k in largest_first(config)}
    return {
        **described,
        "labels": {"background": 0, **regions},
        "regions_class_order": [own for own, *_ in regions.values()],
    }


def _plans(config: ModelConfig) -> dict[str, Any]:
    contract = config.preprocessing
    count = len(contract.channels)
    resampling: dict[str, Any] = {}
    for what in ("data", "probabilities", "seg"):
        resampling[f"resampling_fn_{what}"] = RESAMPLING
        resampling[f"resampling_fn_{what}_kwargs"] = {"to_contract": what != "probabilities"}
    ct = contract.intensity == "ct"
    if not ct:
        resampling["resampling_fn_data_kwargs"]["standardise"] = True
    size = _at_once(contract.spacing, contract.window)
    return {
        "dataset_name": "mots_pretrained",
        "plans_name": "mots_pretrained",
        "original_median_spacing_after_transp": list(contract.spacing),
        "original_median_shape_after_transp": size,
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(number): {} for number in range(count)},
        "configurations": {
            "3d_fullres": {
                "data_identifier": "mots_pretrained",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 1,
                "patch_size": size,
                "median_image_size_in_voxels": size,
                "spacing": list(contract.spacing),
                "normalization_schemes": ["NoNormalization"] * count,
                "use_mask_for_norm": [False] * count,
                **resampling,
                "batch_dice": False,
                "architecture": {
                    "network_class_name": "mots_pretrained.export.nnunet_network.NnunetNetwork",
                    "arch_kwargs": {"config": dataclasses.asdict(config)},
                    "_kw_requires_import": [],
                },
            }
        },
    }


def _at_once(spacing: tuple[float, ...], window: tuple[int, ...]) -> list[int]:
    """Return the voxels that the network is to get at once; windows within are its own."""
    size = [math.ceil(extent / step) for extent, step in zip(_EXTENT, spacing, strict=True)]
    shrink = min(1.0, (_LARGEST / math.prod(size)) ** (1 / 3))
    return [max(int(n * shrink), w) for n, w in zip(size, window, strict=True)]
