"""From a folder to a model: sensible defaults from the data, and faults that name the file."""

import json

import numpy as np
import pytest
import torch

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.methods import METHODS
from mots_pretrained.networks import load
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.tasks import BCV_ORGANS
from mots_pretrained.training import presets
from mots_pretrained.training.downstream import Choices
from mots_pretrained.training.finetune import Finetuning
from mots_pretrained.training.finetune_folder import (
    Running,
    Start,
    finetune_folder,
    finetune_folds,
)

SHORT = Finetuning(steps=2, batch=1)


@pytest.fixture(autouse=True)
def _tiny_size(tiny, monkeypatch):
    monkeypatch.setitem(presets.SIZES, "tiny", presets.Size(tiny, 3e-3))


@pytest.fixture(scope="module")
def bcv(tmp_path_factory):
    root = tmp_path_factory.mktemp("bcv")
    write_collection("bcv", root, cases=3, shape=(24, 32, 32))
    return root


def pair(root, name, image, label, spacing=(12.0, 12.0, 12.0), folders=("images", "labels")):
    for folder, array, dtype in zip(folders, (image, label), (np.int16, np.uint8), strict=True):
        (root / folder).mkdir(parents=True, exist_ok=True)
        volume = Volume.with_spacing(array, spacing)
        write_like(root / folder / name, array, volume, dtype=dtype)


def scan(seed=0, shape=(32, 32, 32)):
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


def test_bcv_from_pretrained_weights_to_a_model_that_predicts(bcv, tiny, tmp_path):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    history = finetune_folder(bcv, tmp_path / "out", SHORT, start=Start(str(tmp_path / "start")))
    model = Segmenter.from_pretrained(tmp_path / "out")
    assert model.config.classes == BCV_ORGANS
    assert model.config.preprocessing == tiny.preprocessing
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert len(record["train"]) == 2
    assert len(record["validation"]) == 1
    assert {*record["train"], *record["validation"]} == {"img0001", "img0002", "img0003"}
    assert record["best_step"] == history.best_step == 2
    assert record["scores"]["mean_dice"] == history.best.mean_dice
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md", "config.json", "log.csv", "model.safetensors", "training.json",
    }  # fmt: skip
    prediction = Predictor(model)(bcv / "img" / "img0001.nii.gz")
    assert prediction.labels.shape == (24, 32, 32)
    assert prediction.names == BCV_ORGANS


def test_the_pretrained_backbone_is_what_training_starts_from(bcv, tiny, tmp_path):
    torch.manual_seed(5)
    net = METHODS["transdodnet"](tiny)
    net.save_pretrained(tmp_path / "start")
    frozen = Finetuning(steps=1, batch=1, freeze=("encoder", "transformer", "decoder"))
    finetune_folder(bcv, tmp_path / "out", frozen, start=Start(str(tmp_path / "start")))
    tuned = Segmenter.from_pretrained(tmp_path / "out").backbone.state_dict()
    for name, value in net.backbone.state_dict().items():
        assert torch.equal(tuned[name], value)


def test_plain_folders_learn_the_values_that_are_there(tmp_path):
    label = np.zeros((32, 32, 32), np.uint8)
    label[4:12], label[20:24] = 3, 7
    pair(tmp_path, "a.nii.gz", scan(), label)
    start = Start("none", "tiny")
    alone = Choices(held_out=0)
    finetune_folder(tmp_path, tmp_path / "out", SHORT, start=start, choices=alone)
    assert Segmenter.from_pretrained(tmp_path / "out").config.classes == ("class_3", "class_7")
    named = Choices(classes={"liver": (3,), "spleen": (7,)}, held_out=0)
    finetune_folder(tmp_path, tmp_path / "named", SHORT, start=start, choices=named)
    assert Segmenter.from_pretrained(tmp_path / "named").config.classes == ("liver", "spleen")


def test_mri_regions_get_z_scores_their_own_spacing_and_sigmoids(tmp_path, tiny):
    label = np.zeros((32, 32, 32), np.uint8)
    label[4:20], label[8:12], label[30:] = 1, 2, 3
    for channel in range(2):
        pair(tmp_path, f"b_{channel:04d}.nii.gz", scan(channel), label, (2.0, 1.0, 1.0),
             ("imagesTr", "labelsTr"))  # fmt: skip
    for channel in range(2):
        (tmp_path / f"labelsTr/b_{channel:04d}.nii.gz").rename(tmp_path / "labelsTr/b.nii.gz")
    (tmp_path / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "T1", "1": "FLAIR"},
                "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
            }
        )
    )
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    finetune_folder(
        tmp_path, tmp_path / "out", SHORT, start=Start(str(tmp_path / "start")),
        choices=Choices(held_out=0),
    )  # fmt: skip
    config = Segmenter.from_pretrained(tmp_path / "out").config
    assert (config.classes, config.exclusive) == (("core", "whole"), False)
    assert config.preprocessing.intensity == "zscore"
    assert config.preprocessing.channels == ("t1", "flair")
    assert config.preprocessing.spacing == pytest.approx((2.0, 1.0, 1.0))
    assert config.preprocessing.patch == tiny.preprocessing.patch


@pytest.mark.long
def test_folds_train_apart_resume_and_predict_together(bcv, tiny, tmp_path):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    start = Start(str(tmp_path / "start"))
    out = tmp_path / "out"
    said = []
    running = Running(resume=True, say=said.append)
    history = finetune_folds(bcv, out, SHORT, count=3, start=start, running=running)
    assert said[0] == "Fold 1 of 3, 1 cases held out"
    held = [
        json.loads((out / f"fold_{k}/training.json").read_text())["validation"] for k in range(3)
    ]
    assert sorted(name for fold in held for name in fold) == ["img0001", "img0002", "img0003"]
    assert len(history.best.cases) == 3
    record = json.loads((out / "training.json").read_text())
    assert (record["folds"], record["complete"]) == (3, True)
    assert not (out / ".cases").exists()

    members = [Segmenter.from_pretrained(out / f"fold_{k}") for k in range(3)]
    ensemble = load(out)
    image = torch.randn(1, 1, 32, 32, 32)
    mean = torch.stack([member(image).softmax(1) for member in members]).mean(0)
    torch.testing.assert_close(ensemble(image).softmax(1), mean, atol=1e-6, rtol=1e-5)
    prediction = Predictor(ensemble)(bcv / "img/img0001.nii.gz")
    assert prediction.names == BCV_ORGANS

    before = (out / "fold_0/model.safetensors").stat().st_mtime_ns
    again = finetune_folds(bcv, out, SHORT, count=3, start=start, running=running)
    assert (out / "fold_0/model.safetensors").stat().st_mtime_ns == before
    assert again.best.cases == history.best.cases
    other = Finetuning(steps=3, batch=1)
    with pytest.raises(ValueError, match=r"fold_0/training.json is of a complete .* 'settings'"):
        finetune_folds(bcv, out, other, count=3, start=start, running=running)


def test_faults_name_the_file(tmp_path):
    label = np.zeros((32, 32, 32), np.uint8)
    pair(tmp_path, "a.nii.gz", scan(), label)
    start, alone = Start("none", "tiny"), Choices(held_out=0)
    with pytest.raises(ValueError, match=r"a.nii.gz and all others hold nothing but background"):
        finetune_folder(tmp_path, tmp_path / "out", SHORT, start=start, choices=alone)
    with pytest.raises(KeyError, match="unknown size 'big'"):
        finetune_folder(tmp_path, tmp_path / "out", SHORT, start=Start("none", "big"))
    assert not (tmp_path / "out").exists()
