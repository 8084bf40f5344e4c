"""Folders whose cases label different classes: the whole way, for each way of saying so."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.methods import METHODS
from mots_pretrained.training.finetune_folder import finetune_folder
from mots_pretrained.training.recipe import Recipe, Run

LABELLED = {"a": ("liver", "spleen"), "b": ("liver",), "c": ("spleen",)}
VALUES = {"liver": 1, "spleen": 2}
SHORT = Recipe(steps=2, batch=1, validation=("c",))


def write(root, way):
    """Two boxes in every scan; the files show those that the case labels."""
    for seed, (name, known) in enumerate(LABELLED.items()):
        image = np.random.default_rng(seed).normal(-200, 50, (36, 36, 36)).astype(np.int16)
        boxes = {"liver": np.s_[4:16, 4:20, 4:20], "spleen": np.s_[20:32, 16:32, 16:32]}
        label = np.zeros(image.shape, np.uint8)
        for organ, value in VALUES.items():
            image[boxes[organ]] += 150 * value
            if organ in known:
                label[boxes[organ]] = value
        image[:, :2] = -1000
        volume = Volume.with_spacing(image, (12.0, 12.0, 12.0))
        if way == "masks":
            files = {"ct": image} | {f"segmentations/{o}": label == VALUES[o] for o in known}
            files = {f"{name}/{place}": array for place, array in files.items()}
        else:
            files = {f"imagesTr/{name}": image, f"labelsTr/{name}": label}
        for place, array in files.items():
            path = root / f"{place}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            dtype = np.int16 if array is image else np.uint8
            write_like(path, array, volume, dtype=dtype)
    if way == "masks":
        return
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **VALUES}}
    if way == "dataset.json":
        content["labelled"] = LABELLED
    else:
        rows = [f"{n},{int('liver' in k)},{int('spleen' in k)}" for n, k in LABELLED.items()]
        (root / "labelled.csv").write_text("\n".join(["case,liver,spleen", *rows]))
    (root / "dataset.json").write_text(json.dumps(content))


@pytest.fixture
def start(tiny, tmp_path):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    return replace(SHORT, start=str(tmp_path / "start"))


@pytest.mark.parametrize("train", ["head", "all"])
@pytest.mark.parametrize("way", ["dataset.json", "table", "masks"])
def test_a_folder_of_incomplete_labels_is_learned_and_scored(start, tmp_path, way, train):
    write(tmp_path / "data", way)
    said = []
    run = Run(keep_cases=True, say=said.append)
    history = finetune_folder(
        tmp_path / "data", tmp_path / "out", replace(start, train=train), run=run
    )
    assert "Of 2 cases 2 label liver, 1 spleen; the others say nothing of it" in said
    assert [{*case.scores} for case in history.best.cases] == [{"spleen"}]
    assert history.best.mean_dice is not None
    records = PreparedSet.open(tmp_path / "out" / ".cases").records
    assert {r.identifier: r.labelled for r in records} == {
        "a": (True,), "b": (True, False), "c": (False, True),
    }  # fmt: skip
    model = Segmenter.from_pretrained(tmp_path / "out")
    assert model.config.classes == ("liver", "spleen")


def test_a_class_that_no_training_case_labels_is_refused_before_a_scan_is_read(start, tmp_path):
    write(tmp_path / "data", "masks")
    with pytest.raises(UserError, match="none of the 1 training cases labels spleen; leave that"):
        finetune_folder(tmp_path / "data", tmp_path / "out", replace(start, validation=("a", "c")))
    assert not (tmp_path / "out" / ".cases").exists()


def test_regions_may_be_labelled_in_part(start, tmp_path):
    write(tmp_path / "data", "dataset.json")
    path = tmp_path / "data" / "dataset.json"
    content = json.loads(path.read_text())
    content["labels"] = {"background": 0, "liver": [1, 2], "spleen": [2]}
    path.write_text(json.dumps(content))
    history = finetune_folder(tmp_path / "data", tmp_path / "out", start)
    assert not Segmenter.from_pretrained(tmp_path / "out").config.exclusive
    assert [{*case.scores} for case in history.best.cases] == [{"spleen"}]


def test_a_training_is_not_continued_after_other_cases_label_a_class(start, tmp_path):
    write(tmp_path / "data", "table")
    recipe = replace(start, steps=20)
    finetune_folder(tmp_path / "data", tmp_path / "out", recipe, run=Run(max_minutes=1e-9))
    table = tmp_path / "data" / "labelled.csv"
    table.write_text(table.read_text().replace("b,1,0", "b,1,1"))
    with pytest.raises(UserError, match="holds a training with labelled "):
        finetune_folder(tmp_path / "data", tmp_path / "out", recipe, run=Run(resume=True))
