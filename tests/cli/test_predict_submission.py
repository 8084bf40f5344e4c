"""``mots predict --submission``, and folders whose scans have several channels."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from small_networks import small

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.cli import main
from mots_pretrained.config import Preprocessing
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.tasks import BCV_ORGANS, BRATS_MODALITIES, BRATS_REGIONS

CONTRACT = Preprocessing(spacing=(12.0, 12.0, 12.0), patch=(32, 32, 32), window=(32, 32, 32))
MRI = dataclasses.replace(CONTRACT, intensity="zscore", channels=BRATS_MODALITIES)


def saved(folder, classes, contract, exclusive=True):
    torch.manual_seed(0)
    model = Segmenter.from_scratch(
        small("segmenter"),
        classes=classes,
        exclusive=exclusive,
        in_channels=len(contract.channels),
        preprocessing=contract,
    )
    model.save_pretrained(folder)
    return str(folder)


def test_bcv(tmp_path, capsys):
    write_collection("bcv", tmp_path / "bcv", cases=2, shape=(24, 32, 32))
    model = saved(tmp_path / "model", BCV_ORGANS, CONTRACT)
    words = ["-i", str(tmp_path / "bcv/img"), "-o", str(tmp_path / "out"), "-m", model]
    assert main(["predict", *words, "--submission", "bcv", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [scan["scan"] for scan in report["scans"]] == ["img0001", "img0002"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "label0001.nii.gz", "label0002.nii.gz",
    ]  # fmt: skip
    labels = read_volume(tmp_path / "out/label0001.nii.gz")
    image = read_volume(tmp_path / "bcv/img/img0001.nii.gz")
    assert labels.shape == image.shape
    np.testing.assert_allclose(labels.affine, image.affine)
    assert {*np.unique(labels.array)} <= {*range(14)}


def test_brats_cases_lie_in_folders_of_their_own(tmp_path, capsys):
    write_collection("brats", tmp_path / "brats", cases=2, shape=(16, 20, 20))
    model = saved(tmp_path / "model", tuple(BRATS_REGIONS), MRI, exclusive=False)
    words = ["-i", str(tmp_path / "brats"), "-o", str(tmp_path / "out"), "-m", model]
    assert main(["predict", *words, "--submission", "brats"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "Brats18_Phantom_001_1.nii.gz", "Brats18_Phantom_002_1.nii.gz",
    ]  # fmt: skip
    labels = read_volume(tmp_path / "out/Brats18_Phantom_001_1.nii.gz").array
    assert {*np.unique(labels)} <= {0, 1, 2, 4}
    assert "Brats18_Phantom_001_1.nii.gz" in capsys.readouterr().out


def test_channels_are_grouped_as_nnunet_names_them(tmp_path, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for case in ("a", "b"):
        for channel in range(4):
            values = rng.integers(1, 500, (8, 8, 8)).astype(np.int16)
            volume = Volume.with_spacing(values, (24.0, 24.0, 24.0))
            path = tmp_path / f"scans/{case}_{channel:04d}.nii.gz"
            write_like(path, values, volume, dtype=np.int16)
    model = saved(tmp_path / "model", tuple(BRATS_REGIONS), MRI, exclusive=False)
    words = ["-i", str(tmp_path / "scans"), "-o", str(tmp_path / "out"), "-m", model, "--json"]
    assert main(["predict", *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [scan["scan"] for scan in report["scans"]] == ["a", "b"]
    assert (tmp_path / "out" / "a_seg.nii.gz").is_file()
    submission = str(tmp_path / "submission")
    words = ["-i", str(tmp_path / "scans"), "-o", submission, "-m", model, "-q"]
    assert main(["predict", *words, "--submission", "brats"]) == 0
    written = sorted(path.name for path in (tmp_path / "submission").iterdir())
    assert written == ["a.nii.gz", "b.nii.gz"]


def test_a_brats_folder_is_read_in_the_order_of_the_models_channels(tmp_path):
    """Whatever the order, one scan as numbered files, in its folder and by its own folder."""
    write_collection("brats", tmp_path / "brats", cases=1, shape=(16, 20, 20))
    (case,) = (tmp_path / "brats" / "HGG").iterdir()
    channels = {"flair": "flair", "t1w": "t1", "t1gd": "t1ce", "t2w": "t2"}
    (tmp_path / "numbered").mkdir()
    for number, kind in enumerate(channels.values()):
        path = case / f"{case.name}_{kind}.nii.gz"
        shutil.copy(path, tmp_path / f"numbered/{case.name}_{number:04d}.nii.gz")
    mri = dataclasses.replace(MRI, channels=tuple(channels))
    labels = {}
    for place, contract in (
        (tmp_path / "numbered", mri),
        (tmp_path / "brats", mri),
        (case, mri),
        (case, MRI),
    ):
        number = str(len(labels))
        model = saved(tmp_path / f"model{number}", ("a", "b", "c"), contract)
        words = ["-i", str(place), "-o", str(tmp_path / number), "-m", model, "--no-picture", "-q"]
        assert main(["predict", *words]) == 0
        path = tmp_path / number / f"{case.name}_seg.nii.gz"
        labels[number] = read_volume(path).array
    assert len(np.unique(labels["0"])) > 1
    for number in "12":
        np.testing.assert_array_equal(labels[number], labels["0"])
    assert (labels["3"] != labels["0"]).any()  # the same weights, whose channels differ


@pytest.mark.parametrize(
    ("kind", "message"),
    [("bcv", "needs the class 'right_kidney'"), ("kits", "allowed are bcv, brats")],
)
def test_what_does_not_fit_is_one_line(tmp_path, capsys, kind, message):
    write_collection("bcv", tmp_path / "bcv", cases=1, shape=(24, 32, 32))
    model = saved(tmp_path / "model", ("spleen", "liver"), CONTRACT)
    words = ["-i", str(tmp_path / "bcv/img"), "-o", str(tmp_path / "out"), "-m", model]
    assert main(["predict", *words, "--submission", kind]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["--format", "nrrd"], ["--naming", "nnunet"]])
def test_a_submission_s_files_have_their_own_names_and_format(tmp_path, capsys, words):
    write_collection("bcv", tmp_path / "bcv", cases=1, shape=(24, 32, 32))
    model = saved(tmp_path / "model", BCV_ORGANS, CONTRACT)
    words = ["-i", str(tmp_path / "bcv/img"), "-o", str(tmp_path / "out"), "-m", model, *words]
    assert main(["predict", *words, "--submission", "bcv"]) == 2
    assert "leave out --format and --naming" in capsys.readouterr().err
