"""The functions that read JSON, YAML, CSV and card files, each as one call by path."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from corpus.entries import require
from small_networks import small

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.data.layouts.described import read_described
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.names import read_label_names
from mots_pretrained.evaluation.table import COLUMNS
from mots_pretrained.images.segmentation import check_label_values
from mots_pretrained.networks import load
from mots_pretrained.training.folder import begin, owned
from mots_pretrained.training.recipe import (
    read_recipe,
    recipe_of,
    to_yaml,
)
from mots_pretrained.weights.card import Description
from mots_pretrained.weights.card_renewal import renewed_card
from mots_pretrained.weights.provenance import (
    nameless,
    tell_record,
)


def read_model(path: Path) -> None:
    network = load(path.parent)
    config = network.config
    require(ModelConfig.from_json(config.to_json()) == config, "config.json is written otherwise")
    require(all(bool(w.isfinite().all()) for w in network.state_dict().values()), "weights lost")
    require(isinstance(network, torch.nn.Module) and not network.training, "not ready for use")


def read_training(path: Path) -> None:
    from mots_pretrained.weights.provenance import read_training_record

    tell_record(read_training_record(path.parent))
    nameless(path.parent)
    with owned(path.parent, resume=True):
        begin(path.parent, {"steps": 3, "method": "transdodnet"})


def renew_card(path: Path, config: ModelConfig) -> None:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise UserError("mots push says so itself") from None
    renewed_card(text, config, Description(), name="m", told="told", seen="seen")
    said = Description(summary="new")
    renewed_card(text, config, said, name="m", told="told", seen="seen")


def read_names(path: Path) -> None:
    names = read_label_names(path)
    for name, values in names.classes.items():
        require(isinstance(name, str) and bool(values), "a class without values")
        require(all(isinstance(v, int) and v > 0 for v in values), "a value that is none")
    try:
        check_label_values(path.parent, {"liver": (1, 2), "tumour": (2,), "vessel": (3,)})
    except UserError:
        return


def table_of_results() -> str:
    line = "T,r,s,0,a,liver,dice,0.5,3,1.0,here"
    return "\n".join([",".join(COLUMNS), line, line.replace("liver", "spleen")])


def take_recipe(path: Path) -> None:
    recipe = read_recipe(path)
    again = recipe_of(yaml.safe_load(to_yaml(recipe)), "again")
    require(
        dataclasses.asdict(again) == dataclasses.asdict(recipe), "a recipe is written otherwise"
    )


def take_described(path: Path) -> None:
    found = read_described(path)
    require(all(file.is_file() for case in found.cases for file in case.images), "no such image")
    task = found.supervises
    require(min(*task.organ_values, *task.tumour_values, 1) > 0, "a value that is none")


def take_dataset(path: Path) -> None:
    found = find_labelled(path.parent)
    for case in found.cases:
        require(all(file.is_file() for file in (*case.images, *case.label_files)), "no such file")
    for name, values in (found.classes or {}).items():
        require(isinstance(name, str) and bool(values), "a class without values")
        require(all(isinstance(v, int) and v >= 0 for v in values), "a value that is none")


def index_of_prepared() -> dict[str, Any]:
    contract = dataclasses.asdict(small().preprocessing)
    source = {
        "images": ["a.nii.gz"],
        "labels": [],
        "image_sha256": "ab" * 32,
        "label_sha256": "",
        "bytes": [3],
        "mtimes_ns": [4],
        "content_hash": "cd" * 32,
        "shape": [4, 5, 6],
        "spacing": [1.0, 1.0, 1.0],
        "orientation": "LPS",
        "affine": np.eye(4).tolist(),
    }
    record = {
        "identifier": "a",
        "collection": "liver",
        "task": "liver",
        "contract": contract,
        "targets": None,
        "version": 2,
        "shape": [4, 5, 6],
        "spacing": [1.0, 1.0, 1.0],
        "labelled": [True, True],
        "step": 1.0,
        "foreground": [],
        "source": source,
        "split": "train",
        "fold": "train",
    }
    return {
        "format_version": 2,
        "complete": True,
        "settings": {},
        "contract": contract,
        "tasks": [{"name": "liver", "organ": "liver", "tumour": None, "organ_values": [1]}],
        "records": [record],
        "set_aside": [{"identifier": "b", "collection": "liver", "reason": "empty"}],
        "targets": None,
    }
