"""From a folder to a model: sensible defaults from the data, and faults that name the file."""

import json

import numpy as np
import pytest
import torch

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.folders import LabelledFolder, find_scans
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.methods import METHODS
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.tasks import BCV_ORGANS
from mots_pretrained.training import presets
from mots_pretrained.training.finetune import Finetuning
from mots_pretrained.training.finetune_folder import (
    Start,
    contract_for,
    finetune_folder,
    named_classes,
    split,
)
from mots_pretrained.volume import Volume, write_like

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
    history = finetune_folder(
        bcv, tmp_path / "out", SHORT, start=Start(str(tmp_path / "start")), held_out=1
    )
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
    finetune_folder(tmp_path, tmp_path / "out", SHORT, start=Start("none", "tiny"))
    assert Segmenter.from_pretrained(tmp_path / "out").config.classes == ("class_3", "class_7")
    finetune_folder(
        tmp_path, tmp_path / "named", SHORT, start=Start("none", "tiny"),
        classes={"liver": (3,), "spleen": (7,)},
    )  # fmt: skip
    assert Segmenter.from_pretrained(tmp_path / "named").config.classes == ("liver", "spleen")


def test_mri_regions_get_z_scores_their_own_spacing_and_sigmoids(tmp_path, tiny):
    label = np.zeros((32, 32, 32), np.uint8)
    label[4:20], label[8:12] = 1, 2
    for channel in range(2):
        pair(tmp_path, f"b_{channel:04d}.nii.gz", scan(channel), label, (2.0, 1.0, 1.0),
             ("imagesTr", "labelsTr"))  # fmt: skip
    for channel in range(2):
        (tmp_path / f"labelsTr/b_{channel:04d}.nii.gz").rename(tmp_path / "labelsTr/b.nii.gz")
    (tmp_path / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "T1", "1": "FLAIR"},
                "labels": {"background": 0, "whole": [1, 2], "core": [2]},
            }
        )
    )
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    finetune_folder(tmp_path, tmp_path / "out", SHORT, start=Start(str(tmp_path / "start")))
    config = Segmenter.from_pretrained(tmp_path / "out").config
    assert (config.classes, config.exclusive) == (("whole", "core"), False)
    assert config.preprocessing.intensity == "zscore"
    assert config.preprocessing.channels == ("t1", "flair")
    assert config.preprocessing.spacing == pytest.approx((2.0, 1.0, 1.0))
    assert config.preprocessing.patch == tiny.preprocessing.patch


def test_ct_keeps_the_weights_contract(bcv, tiny):
    assert contract_for(find_scans(bcv), tiny.preprocessing) == tiny.preprocessing


def test_splits_are_seeded_and_leave_something_to_train_on(bcv):
    scans = find_scans(bcv).scans
    train, held = split(scans * 4, None, 0)
    assert (len(train), len(held)) == (10, 2)
    assert split(scans, 1, 3) == split(scans, 1, 3)
    assert len({split(scans, 1, seed)[1][0].name for seed in range(20)}) == 3
    assert split(scans, None, 0)[1] == []
    for count, cases in ((1, scans[:1]), (3, scans), (-1, scans)):
        with pytest.raises(ValueError, match=f"{count} of {len(cases)} cases can't be held out"):
            split(cases, count, 0)


def test_faults_name_the_file(tmp_path):
    label = np.zeros((32, 32, 32), np.uint8)
    pair(tmp_path, "a.nii.gz", scan(), label)
    with pytest.raises(ValueError, match=r"a.nii.gz and all others hold nothing but background"):
        finetune_folder(tmp_path, tmp_path / "out", SHORT, start=Start("none", "tiny"))
    label[3:5] = 4
    pair(tmp_path, "a.nii.gz", scan(), label)
    with pytest.raises(ValueError, match=r"labels/a.nii.gz holds label value 4"):
        finetune_folder(
            tmp_path, tmp_path / "out", SHORT, start=Start("none", "tiny"), classes={"x": (1,)}
        )
    with pytest.raises(KeyError, match="unknown size 'big'"):
        finetune_folder(tmp_path, tmp_path / "out", SHORT, start=Start("none", "big"))
    assert not (tmp_path / "out").exists()


def test_another_channel_count_is_told(tmp_path, tiny):
    label = np.ones((32, 32, 32), np.uint8)
    for name in ("a_0000", "a_0001", "b_0000"):
        pair(tmp_path, f"{name}.nii.gz", scan(), label)
    for name in ("a", "b"):
        (tmp_path / f"labels/{name}_0000.nii.gz").rename(tmp_path / f"labels/{name}.nii.gz")
    (tmp_path / "labels/a_0001.nii.gz").unlink()
    found = find_scans(tmp_path)
    with pytest.raises(ValueError, match=r"b_0000.nii.gz: case .* another channel count"):
        contract_for(found, tiny.preprocessing)
    one = LabelledFolder(found.scans[:1], None, ("ct",))
    with pytest.raises(ValueError, match=r"a_0000.nii.gz has 2 channels, dataset.json names 1"):
        contract_for(one, tiny.preprocessing)


def test_names_of_classes(tmp_path):
    assert named_classes("") is None
    assert named_classes("liver, spleen") == {"liver": (1,), "spleen": (2,)}
    (tmp_path / "names.json").write_text('{"liver": 6}')
    assert named_classes(str(tmp_path / "names.json")) == {"liver": (6,)}
    for text in ("liver,,spleen", "liver,liver"):
        with pytest.raises(ValueError, match="different names parted by commas"):
            named_classes(text)
