"""Scans that were trained on are recognised in every format, and joined from their channels."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_series import voxels, write_series

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.data.layouts.channels import in_order
from mots_pretrained.data.prepare import prepare_folder
from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.inference.seen_scans import find_seen
from mots_pretrained.tasks import BRATS_MODALITIES
from mots_pretrained.weights.provenance import TrainingScans

CT = ("ct",)
TWO = ("t1", "t2")


def write(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 900, (8, 9, 10)).astype(np.int16)
    write_like(path, array, Volume.with_spacing(array, (3.0, 2.0, 2.0)), dtype=np.int16)
    return path


def trained_on(root: Path, prepared: Path, channels: tuple[str, ...]) -> TrainingScans:
    """Return what a training on a folder of labelled scans leaves."""
    size = (16, 16, 16)
    contract = Preprocessing(
        spacing=(4.0, 4.0, 4.0), patch=size, window=size, channels=channels, intensity="zscore"
    )
    found = find_labelled(root)
    done = prepare_folder(in_order(found, channels) or found, prepared, contract)
    assert not done.set_aside
    return TrainingScans(done.hashes(done.records))


@pytest.mark.parametrize("channels", [("flair", "t1", "t1gd", "t2"), BRATS_MODALITIES])
def test_cases_of_brats_are_joined_in_the_models_order(channels, tmp_path):
    root = tmp_path / "brats"
    for number, kind in enumerate((*BRATS_MODALITIES, "seg")):
        write(root / "A" / f"A_{kind}.nii.gz", number)
    found = find_seen(tmp_path, trained_on(root, tmp_path / ".prepared", channels), channels)
    assert found.seen == {str(root / "A" / f"A_{channels[0]}.nii.gz"): "brats/A"}
    assert (found.scans, found.unread) == (1, {})
    assert found.left_out == [str(root / "A" / "A_seg.nii.gz")]


def test_numbered_channels_are_joined_and_looked_for_alone_too(tmp_path):
    root = tmp_path / "in" / "own"
    for number in range(2):
        write(root / "images" / f"a_000{number}.nii.gz", number)
        write(root / "images" / f"b_000{number}.nii.gz", 2 + number)
    for name in "ab":
        write(root / "labels" / f"{name}.nii.gz", 4)
    known = trained_on(root, tmp_path / "prepared", TWO)
    alone = write(tmp_path / "in" / "base" / "ct.nii.gz", 5)
    known = known.and_those_of(TrainingScans({content_hash(read_volume(alone)): "liver/liver_1"}))
    lone = write(tmp_path / "in" / "base" / "c_0000.nii.gz", 6)
    found = find_seen(tmp_path / "in", known, TWO)
    images = root / "images"
    assert found.seen == {
        str(alone): "liver/liver_1",
        str(images / "a_0000.nii.gz"): "own/a",
        str(images / "b_0000.nii.gz"): "own/b",
    }
    assert found.scans == 4
    assert "c lacks c_0001 (t2)" in found.unread[str(lone)]
    assert len(found.left_out) == 2
    second = content_hash(read_volume(images / "b_0001.nii.gz"))  # seen by the weights before
    found = find_seen(tmp_path / "in", TrainingScans({second: "kidney/1"}), TWO)
    assert found.seen == {str(images / "b_0000.nii.gz"): "kidney/1"}


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.nii.gz", 0)
    (tmp_path / "in" / "secret").mkdir()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: "secret" not in str(path) and access(path, mode)
    )
    found = find_seen(tmp_path / "in", TrainingScans({}), CT)
    assert (found.scans, found.unread) == (2, {str(tmp_path / "in" / "secret"): "may not be read"})


def test_scans_of_every_format_at_any_depth_are_looked_at(tmp_path):
    places = []
    for seed, ending in enumerate((".nii", ".nrrd", ".mha", ".nhdr")):
        image = sitk.ReadImage(str(write(tmp_path / "t.nii.gz", seed)))
        places.append(str(tmp_path / "in" / str(seed) / "deep" / f"a{ending}"))
        Path(places[-1]).parent.mkdir(parents=True)
        sitk.WriteImage(image, places[-1])
    write_series(tmp_path / "in" / "dicom", voxels(seed=5))
    with zipfile.ZipFile(tmp_path / "in" / "late.zip", "w") as archive:
        for file in write_series(tmp_path / "tmp", voxels(seed=6)):
            archive.write(file, file.name)
    notes = tmp_path / "in" / "notes.txt"
    notes.write_text("no scan")
    (tmp_path / "in" / "bad.zip").write_bytes(b"PK no zip")
    known = {}
    for seed in range(4):
        known[content_hash(read_volume(write(tmp_path / "t.nii.gz", seed)))] = f"MRI/{seed}"
    for seed in (5, 6):
        volume = Volume.with_spacing(voxels(seed=seed), (3.0, 2.0, 2.0))
        known[content_hash(volume)] = f"CT/{seed}"
    found = find_seen(tmp_path / "in", TrainingScans(known), CT)
    assert {*found.seen.values()} == {*known.values()}
    assert {*places} < {*found.seen}
    assert [*found.unread] == [str(tmp_path / "in" / "bad.zip")]
    assert (found.scans, found.left_out) == (7, [str(notes)])
    unknown = find_seen(tmp_path / "in", TrainingScans({"0" * 64: ""}), CT)
    assert (unknown.scans, unknown.seen, unknown.left_out) == (7, {}, [str(notes)])
