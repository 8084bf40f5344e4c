"""A network as a MONAI bundle, which ``python -m monai.bundle run`` and MONAI Label run."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mots_pretrained import __version__
from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.files import replacing, write_json, write_text
from mots_pretrained.inference.labels import class_rule, task_rule
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.networks import from_state
from mots_pretrained.weights.card import Description, model_card
from mots_pretrained.weights.card_renewal import read_card
from mots_pretrained.weights.checkpoint import CONFIG

_OURS = "mots_pretrained.export.monai_"
_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
_MARKS = ("$", "@", "%", "+")  # what begins with one is no text to MONAI's parser

_README = """\
# {name}

{summary}

Run it with MONAI, its extras `ignite` and `fire`, and mots_pretrained {version}:

```sh
python -m monai.bundle run --config_file BUNDLE/configs/inference.json --bundle_root BUNDLE \\
    --dataset_dir SCANS --output_dir OUT
```

`OUT/CASE_seg.nii.gz` has these values on the scan's own grid: {values}.

Preprocessing, sliding windows and the decision are those of `mots_pretrained.Predictor`, so that
label maps are equal. `models/model.pt` is the state dictionary of the network that
`models/config.json` describes.

{card}"""

_LICENSE = """\
Licence of the weights in models/: {licence}
{statements}
This bundle runs the code of mots_pretrained, which is not part of it and is under Apache-2.0
(https://www.apache.org/licenses/LICENSE-2.0), and MONAI, under Apache-2.0.
"""


def export_bundle(network: Pretrained, folder: str | Path, *, card: str = "") -> Path:
    """Write a bundle by MONAI's specification: configs, models, docs and LICENSE.

    Run it with ``python -m monai.bundle run --config_file FOLDER/configs/inference.json
    --bundle_root FOLDER --dataset_dir SCANS --output_dir OUT``. It needs this package, and MONAI
    with its extras ignite and fire. Preprocessing, sliding windows and the decision are
    `Predictor`'s own; the label maps lie on the scans' grids and have the network's own values.

    Args:
        network: A segmenter or a network with tasks.
        folder: Made if need be.
        card: Text of the model card, which says what its licence is; written anew by default.

    Returns:
        The configuration to run.

    Raises:
        ValueError: If it makes no labels, is no single network, or a name in it would be taken for
            a program by MONAI.
    """
    config = network.config
    if config.architecture == "backbone":
        raise UserError("a backbone makes no labels; put a head on it with mots finetune")
    names = [*config.classes, *(name for t in config.tasks for name in (t.name, *t.categories))]
    for name in (*names, *config.preprocessing.channels):
        if name.startswith(_MARKS):
            raise UserError(f"MONAI takes a name that begins with {name[0]!r} for code: {name!r}")
    whole = from_state(config, network._saved_state())  # as the bundle builds it
    state = {f"module.{name}": value.cpu() for name, value in whole.state_dict().items()}
    folder = Path(folder)
    for part in ("configs", "models", "docs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    with replacing(folder / "models" / "model.pt") as file:
        torch.save(state, file)
    write_text(folder / "models" / CONFIG, config.to_json())
    said = read_card(card) if card else Description(name=folder.resolve().name)
    write_text(folder / "LICENSE", _licence(said))
    write_text(folder / "docs" / "README.md", _readme(config, said, card))
    path = folder / "configs" / "inference.json"
    write_json(path, _inference(config))
    write_json(folder / "configs" / "metadata.json", _metadata(config, said))
    return path


def _inference(config: ModelConfig) -> dict[str, Any]:
    largest = max(value for values in config.label_values.values() for value in values)
    return {
        "imports": ["$import torch", "$from mots_pretrained.inference.cohort import find_scans"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/scans'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "model_config": {
            "_target_": "mots_pretrained.weights.checkpoint.load_config",
            "folder": "$@bundle_root + '/models'",
        },
        "contract": "$@model_config.preprocessing",
        "datalist": "$[{'image': [*map(str, scan.images)], 'name': scan.name} for scan in "
        "find_scans([@dataset_dir], @contract.channels)]",
        "network_def": {
            "_target_": f"{_OURS}network.ProbabilityNetwork",
            "config": "@model_config",
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": f"{_OURS}transforms.ToContractd",
                    "keys": "image",
                    "contract": "@contract",
                }
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": {
            "_target_": f"{_OURS}transforms.SlidingWindow",
            "window": "$@contract.window",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": f"{_OURS}transforms.ToLabelsd",
                    "keys": "pred",
                    "config": "@model_config",
                },
                {
                    "_target_": "SaveImaged",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "output_postfix": "seg",
                    "output_dtype": "$torch.uint8" if largest < 256 else "$torch.int32",
                    "separate_folder": False,
                },
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": False,
        },
        "initialize": [],
        "run": ["$@evaluator.run()"],
        "finalize": [],
    }


def _metadata(config: ModelConfig, said: Description) -> dict[str, Any]:
    contract = config.preprocessing
    rule = task_rule(config, tuple(t.name for t in config.tasks)) if config.tasks else None
    names = (rule or class_rule(config)).names
    ct = contract.intensity == "ct"
    shared = {"type": "image", "spatial_shape": list(contract.window), "dtype": "float32"}
    return {
        "schema": _SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"written by mots export, mots_pretrained {__version__}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "mots_pretrained": __version__,
            "nibabel": version("nibabel"),
            "pytorch-ignite": _version_of("pytorch-ignite", "0.5.0"),
        },
        "name": said.title or said.name,
        "task": f"Segmentation of {', '.join(names)}",
        "description": " ".join(said.summary.split()) or _summary(config),
        "authors": "As docs/README.md says of the weights; code: the mots_pretrained developers",
        "copyright": f"Weights: {said.license or 'unknown'}; see LICENSE",
        "data_source": "As docs/README.md says under Training",
        "data_type": "nifti",
        "intended_use": "Research, not a medical device",
        "references": [
            "Xie, Zhang, Xia, Shen: Learning from partially labeled data for multi-organ and tumor "
            "segmentation, arXiv 2211.06894"
        ],
        "network_data_format": {
            "inputs": {
                "image": {
                    **shared,
                    "format": "hounsfield" if ct else "magnitude",
                    "modality": "CT" if ct else "MR",
                    "num_channels": len(contract.channels),
                    "value_range": [-1, 1] if ct else [-10, 10],
                    "is_patch_data": True,
                    "channel_def": _numbered(dict(enumerate(contract.channels))),
                }
            },
            "outputs": {
                "pred": {
                    **shared,
                    "format": "segmentation",
                    "num_channels": len(names) + int(rule is None and config.exclusive),
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": _numbered(_labels(config)),  # values of the label map
                }
            },
        },
        "contract": dataclasses.asdict(contract),
    }


def _labels(config: ModelConfig) -> dict[int, str]:
    """Return what the values of a label map mean."""
    return {0: "background", **{own: name for name, (own, *_) in config.label_values.items()}}


def _numbered(names: dict[int, str]) -> dict[str, str]:
    return {str(number): name for number, name in names.items()}


def _version_of(package: str, least: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return least


def _summary(config: ModelConfig) -> str:
    return f"A {config.architecture} network of mots_pretrained"


def _licence(said: Description) -> str:
    named = f" ({said.license_name})" if said.license_name else ""
    linked = f", {said.license_link}" if said.license_link else ""
    statements = "".join(f"- {statement}\n" for statement in said.license_statements)
    return _LICENSE.format(
        licence=f"{said.license or 'unknown; ask whoever trained them'}{named}{linked}",
        statements=statements,
    )


def _readme(config: ModelConfig, said: Description, card: str) -> str:
    text = card or model_card(config, said)
    body = text.split("---\n", 2)[-1].lstrip() if text.startswith("---\n") else text
    values = ", ".join(f"{value} {name}" for value, name in _labels(config).items())
    return _README.format(
        name=said.title or said.name,
        summary=said.summary or _summary(config) + ".",
        version=__version__,
        values=values,
        card=body.partition("\n")[2].replace("\n# ", "\n## ").lstrip(),
    )
