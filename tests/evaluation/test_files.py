"""Scoring files: paired by name, named by JSON, refused with the file's name."""

import json

import numpy as np
import pytest

from mots_pretrained.evaluation.files import case_key, named_values, read_names, score_files
from mots_pretrained.volume import Volume, write_like

LIVER = np.zeros((4, 4, 4), np.uint8)
LIVER[:2] = 1


def write(path, array, spacing=(3.0, 2.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_like(path, array, Volume.with_spacing(array, spacing))
    return path


def folders(tmp_path):
    write(tmp_path / "out/img0001_seg.nii.gz", LIVER)
    write(tmp_path / "out/img0002_seg.nii.gz", np.roll(LIVER, 1, axis=0))
    write(tmp_path / "truth/label0001.nii.gz", LIVER)
    write(tmp_path / "truth/label0002.nii.gz", LIVER)
    write(tmp_path / "truth/label0003.nii.gz", LIVER)
    return tmp_path / "out", tmp_path / "truth"


def test_folders_are_paired_by_name(tmp_path):
    table = score_files(*folders(tmp_path), names={"liver": 1, "spleen": 2})
    assert table.cases == {
        "img0001_seg": {"liver": 1.0, "spleen": None},
        "img0002_seg": {"liver": 0.5, "spleen": None},
    }
    assert table.mean_dice == 0.75
    assert table.left_out("spleen") == 2


def test_two_files_need_no_common_name(tmp_path):
    one, other = write(tmp_path / "a.nii.gz", LIVER), write(tmp_path / "b.nii", LIVER)
    assert score_files(one, other).cases == {"a": {"label_1": 1.0}}


def test_names_lie_beside_the_truth(tmp_path):
    out, truth = folders(tmp_path)
    (truth / "labels.json").write_text('{"1": "liver"}')
    assert score_files(out, truth).categories == ("liver",)
    (truth / "labels.json").unlink()
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "hepar": 1}}')
    assert score_files(out, truth).categories == ("hepar",)


@pytest.mark.parametrize(
    "content",
    [
        {"liver": 1, "spleen": 2},
        {"1": "liver", "2": "spleen"},
        ["liver", "spleen"],
        {"labels": {"0": "background", "1": "liver", "2": "spleen"}},
        {"labels": {"background": 0, "liver": 1, "spleen": 2}},
    ],
)
def test_names_of_every_form(tmp_path, content):
    path = tmp_path / "names.json"
    path.write_text(json.dumps(content))
    assert read_names(path) == {"liver": 1, "spleen": 2}
    assert named_values("bcv")["liver"] == 6
    assert named_values("mots")["spleen"] == 11


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("liver_12_seg.nii.gz", "liver_12"),
        ("liver_12.nii.gz", "liver_12"),
        ("imaging.nii.gz", "imaging"),
        ("segmentation-3.nii", "segmentation-3"),
        ("label0001.nii.gz", "0001"),
    ],
)
def test_keys(name, key):
    assert case_key(name) == key


def test_faults_name_the_file(tmp_path):
    out, truth = folders(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        score_files(tmp_path / "none", truth)
    with pytest.raises(ValueError, match=r"img0001_seg.nii.gz holds label value 1.* 2 spleen"):
        score_files(out, truth, names={"spleen": 2})
    write(truth / "label0002.nii.gz", LIVER, spacing=(3.0, 2.0, 2.0))
    with pytest.raises(ValueError, match=r"img0002_seg.nii.gz lies on another grid"):
        score_files(out, truth)
    (truth / "label0002.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"img0002_seg.nii.gz has no truth of its name"):
        score_files(out, truth)
    (tmp_path / "names.json").write_text('{"liver": [1, 2]}')
    with pytest.raises(ValueError, match="names no classes"):
        read_names(tmp_path / "names.json")
    with pytest.raises(FileNotFoundError, match="give a JSON file, or mots, bcv"):
        named_values("btcv")


def test_each_side_is_read_by_its_own_names(tmp_path):
    predicted, true = tmp_path / "out", tmp_path / "labelsTr"
    organs = LIVER.copy()
    organs[2] = 2
    write(predicted / "a_seg.nii.gz", organs)
    (predicted / "labels.json").write_text(json.dumps({"liver": 1, "spleen": 2}))
    write(true / "a.nii.gz", np.array([0, 2, 1], np.uint8)[organs])
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"1": "spleen", "2": "liver"}}))
    assert score_files(predicted, true).cases == {"a_seg": {"spleen": 1.0, "liver": 1.0}}


def test_sides_without_a_common_class_are_refused(tmp_path):
    predicted, true = folders(tmp_path)
    (predicted / "labels.json").write_text(json.dumps({"liver": 1}))
    (true / "labels.json").write_text(json.dumps({"kidney": 1}))
    with pytest.raises(ValueError, match="no class is in both"):
        score_files(predicted, true)
