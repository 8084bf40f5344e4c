"""The files that a prediction leaves: nothing outside of their folder, nothing of others lost."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_labels
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.cohort import write_results
from mots_pretrained.inference.outputs import save_prediction, withdraw
from mots_pretrained.inference.prediction import Prediction


def prediction(name="ct", values=None):
    values = {"organ": (1, 2), "tumour": (2,)} if values is None else values
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[0, 0, :3] = 1, 2, 2
    scan = Volume.with_spacing(np.zeros((3, 4, 5), np.int16), (10.0, 10.0, 10.0), name=name)
    return Prediction(labels, scan, values)


def test_what_is_written_of_one_scan(tmp_path):
    report = save_prediction(prediction(), tmp_path / "new" / "out", masks=True)
    out = tmp_path / "new" / "out"
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert files == [
        "ct_masks/organ.nii.gz", "ct_masks/tumour.nii.gz", "ct_seg.nii.gz", "ct_volumes.json",
        "labels.ctbl",
        "labels.json",
        "labels_itksnap.txt",
    ]  # fmt: skip
    assert report["volumes_ml"] == {"organ": 3.0, "tumour": 2.0}
    assert report["results"] == files[2:3] + files[:2]
    assert report["labels"] == {"organ": [1, 2], "tumour": 2}
    assert json.loads((out / "ct_volumes.json").read_text()) == report
    assert json.loads((out / "labels.json").read_text()) == report["labels"]
    assert read_labels(out / "ct_masks/organ.nii.gz").array.sum() == 3


def test_a_second_scan_adds_to_the_folder_and_another_model_is_refused(tmp_path):
    save_prediction(prediction("a"), tmp_path)
    save_prediction(prediction("b"), tmp_path)
    for name in "ab":
        assert json.loads((tmp_path / f"{name}_volumes.json").read_text())["scan"] == name
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="give another folder, or remove the old results"):
        save_prediction(prediction("c", {"vessel": (1,), "node": (2,)}), tmp_path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["../../outside", "/absolute/path", "tumor/edema", "..", "a\\b"])
def test_names_of_categories_never_become_paths(tmp_path, name):
    out = tmp_path / "deep" / "deeper" / "out"
    save_prediction(prediction(values={name: (1,), "b": (2,)}), out, masks=True)
    everything = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert all(p.is_relative_to(out) for p in everything)
    assert len(list((out / "ct_masks").iterdir())) == 2


@pytest.mark.parametrize("write", [save_prediction, write_results])
def test_old_volumes_do_not_stand_beside_a_new_label_map(tmp_path, monkeypatch, write):
    """After a kill they vouched for it, and --skip-existing took the scan as done."""
    save_prediction(prediction(), tmp_path)
    volumes = tmp_path / "ct_volumes.json"
    there = []

    def full(*_):
        raise OSError(28, "No space left on device")

    def write_like_before(*_, **__):
        there.append(json.loads(volumes.read_text()))
        raise KeyboardInterrupt

    for name in ("inference.outputs.write_segmentation", "report.overlay.draw_overlay"):
        monkeypatch.setattr(f"mots_pretrained.{name}", write_like_before)
    with pytest.raises(KeyboardInterrupt):
        write(prediction(), tmp_path)
    assert there == [{"scan": "ct", "files": [], "withdrawn": True}]
    assert json.loads(volumes.read_text()) == there[0]
    monkeypatch.setattr("mots_pretrained.inference.outputs.write_json", full)
    volumes.write_text('{"scan": "ct"}')
    withdraw(tmp_path, "ct")
    assert not volumes.exists()
    volumes.write_text("{")
    withdraw(tmp_path, "ct")
    assert not volumes.exists()


@pytest.mark.parametrize("write", [save_prediction, write_results])
def test_results_that_are_refused_leave_the_old_ones_whole(tmp_path, write):
    save_prediction(prediction(), tmp_path)
    with pytest.raises(UserError, match="give another folder, or remove the old results"):
        write(prediction(values={"vessel": (1,), "node": (2,)}), tmp_path)
    assert (tmp_path / "ct_volumes.json").is_file()
