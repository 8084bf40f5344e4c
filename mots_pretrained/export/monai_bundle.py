"""A segmenter as a MONAI bundle, which ``python -m monai.bundle run`` runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.files import write_json
from mots_pretrained.model.pretrained import Pretrained

_OURS = "mots_pretrained.export.monai_transforms"


def export_bundle(network: Pretrained, folder: str | Path) -> Path:
    """Write a bundle: configs/inference.json, configs/metadata.json and the weights in models/.

    Run it with ``python -m monai.bundle run --config_file FOLDER/configs/inference.json
    --bundle_root FOLDER --dataset_dir SCANS --output_dir OUT``. It needs this package and MONAI.
    Preprocessing and sliding windows are `Predictor`'s own, as a transform and an inferer of
    MONAI's; the label maps lie on the scans' grids and have the segmenter's own values.

    Args:
        network: A segmenter of CT.
        folder: Made if need be.

    Returns:
        The configuration to run.

    Raises:
        ValueError: If it is no segmenter, or its input is not CT.
    """
    config = network.config
    if config.architecture != "segmenter" or not config.exclusive:
        raise UserError(
            f"a bundle is made of a segmenter with classes that exclude each other, not of a "
            f"{config.architecture}; mots finetune makes one"
        )
    if config.preprocessing.intensity != "ct":
        raise UserError("a bundle is made for CT numbers; this segmenter z-scores its channels")
    folder = Path(folder)
    network.save_pretrained(folder / "models")
    (folder / "configs").mkdir(exist_ok=True)
    path = folder / "configs" / "inference.json"
    write_json(path, _inference(config))
    write_json(folder / "configs" / "metadata.json", _metadata(config))
    return path


def _inference(config: ModelConfig) -> dict[str, Any]:
    contract = config.preprocessing
    values = [own for own, *_ in config.label_values.values()]
    return {
        "imports": ["$import glob", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/scans'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$[{'image': p} for p in sorted(glob.glob(@dataset_dir + '/*.nii*'))]",
        "network_def": {"_target_": "mots_pretrained.load", "name": "$@bundle_root + '/models'"},
        "network": "$@network_def.to(@device).eval()",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": f"{_OURS}.ToContractd",
                    "keys": "image",
                    "contract": dataclasses.asdict(contract),
                },
            ],
        },
        "inferer": {"_target_": f"{_OURS}.SlidingWindow", "window": list(contract.window)},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                    "to_tensor": True,
                },
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {
                    "_target_": "MapLabelValued",
                    "keys": "pred",
                    "orig_labels": list(range(len(values) + 1)),
                    "target_labels": [0, *values],
                },
                {
                    "_target_": "SaveImaged",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "output_postfix": "seg",
                    "output_dtype": "$torch.uint8" if max(values) < 256 else "$torch.int32",
                    "separate_folder": False,
                },
            ],
        },
        # Windows' probabilities are averaged, as Predictor does, not their logits.
        "probabilities": "$lambda windows: @network(windows.to(@device)).softmax(1)",
        "predict": "$lambda item: {**item, 'pred': "
        "@inferer(item['image'][None], @probabilities)[0]}",
        "run": [
            "$torch.set_grad_enabled(False)",
            "$[@postprocessing(@predict(@preprocessing(item))) for item in @datalist]",
        ],
    }


def _metadata(config: ModelConfig) -> dict[str, Any]:
    contract = config.preprocessing
    channels = dict(enumerate(["background", *config.classes]))
    return {
        "version": "1.0.0",
        "changelog": {"1.0.0": "written by mots export"},
        "monai_version": "1.4.0",
        "required_packages_version": {"mots_pretrained": "0.1.0"},
        "task": "Segmentation",
        "description": "A segmenter on the pretrained MOTS backbone",
        "copyright": "See the weights' licence in models/README.md",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield",
                    "num_channels": len(contract.channels),
                    "spatial_shape": list(contract.window),
                    "dtype": "float32",
                    "value_range": [-1, 1],
                    "is_patch_data": True,
                    "channel_def": dict(enumerate(contract.channels)),
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(channels),
                    "spatial_shape": list(contract.window),
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": channels,
                }
            },
        },
        "contract": dataclasses.asdict(contract),
    }
