"""Folders of labelled scans: every layout found, every fault named."""

import json

import pytest

from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.tasks import BCV_ORGANS


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(folder):
    return [
        (scan.name, [path.name for path in scan.images], scan.label.name) for scan in folder.cases
    ]


def test_bcv(tmp_path):
    names = ("img/img0002.nii.gz", "img/img0001.nii.gz", "label/label0001.nii.gz")
    folder = find_labelled(
        touch(tmp_path, *names, "label/label0002.nii.gz", "img/._img0001.nii.gz")
    )
    assert found(folder) == [
        ("img0001", ["img0001.nii.gz"], "label0001.nii.gz"),
        ("img0002", ["img0002.nii.gz"], "label0002.nii.gz"),
    ]
    assert list(folder.classes) == list(BCV_ORGANS)
    assert folder.classes["left_adrenal_gland"] == (13,)
    assert folder.channels == ("ct",)


def test_decathlon(tmp_path):
    touch(tmp_path, "imagesTr/lung_001.nii.gz", "labelsTr/lung_001.nii.gz", "imagesTs/x.nii.gz")
    description = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "cancer"},
        "training": [
            {"image": "./imagesTr/lung_001.nii.gz", "label": "./labelsTr/lung_001.nii.gz"}
        ],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    folder = find_labelled(tmp_path)
    assert found(folder) == [("lung_001", ["lung_001.nii.gz"], "lung_001.nii.gz")]
    assert folder.classes == {"cancer": (1,)}
    assert folder.channels == ("ct",)


def test_nnunet_with_channels_and_regions(tmp_path):
    channels = [f"imagesTr/brain_7_{i:04d}.nii.gz" for i in (1, 0)]
    touch(tmp_path, *channels, "labelsTr/brain_7.nii.gz")
    description = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "whole_tumour": [1, 2], "core": [2]},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    folder = find_labelled(tmp_path)
    images = ["brain_7_0000.nii.gz", "brain_7_0001.nii.gz"]
    assert found(folder) == [("brain_7", images, "brain_7.nii.gz")]
    assert list(folder.classes.items()) == [("core", (2,)), ("whole_tumour", (1, 2))]
    assert folder.channels == ("t1", "flair")
    assert folder.ignore is None


def test_nnunets_ignore_label_is_no_class(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 2, "spleen": 1, "ignore": 3},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    folder = find_labelled(tmp_path)
    assert list(folder.classes.items()) == [("liver", (2,)), ("spleen", (1,))]
    assert folder.ignore == 3


def test_brats(tmp_path):
    names = [f"HGG/B_1/B_1_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair", "seg")]
    folder = find_labelled(touch(tmp_path, *names))
    assert [scan.name for scan in folder.cases] == ["B_1"]
    assert folder.channels == ("t1", "t1ce", "t2", "flair")


def test_plain(tmp_path):
    touch(tmp_path, "images/b.nii", "images/a_1.nii.gz", "labels/a_1.nii.gz", "labels/b.nii.gz")
    folder = find_labelled(tmp_path)
    assert [name for name, *_ in found(folder)] == ["a_1", "b"]
    assert folder.classes is None
    assert folder.channels is None


@pytest.mark.parametrize(
    ("files", "description", "error", "message"),
    [
        (["images/a.nii", "labels/b.nii"], None, ValueError, r"images/a.nii has no label"),
        (["img/img0001.nii", "label/x.nii"], None, ValueError, r"img0001.nii has no label"),
        (["scans/a.nii"], None, ValueError, r"no labelled scans in a known layout"),
        (["images/notes.txt", "labels/a.nii"], None, ValueError, r"holds no .nii"),
        ([], "{", ValueError, r"dataset.json is not valid JSON"),
        ([], "[]", ValueError, r"must hold an object"),
        ([], '{"labels": {"0": "background"}, "training": []}', FileNotFoundError, "imagesTr"),
        (
            ["imagesTr/a.nii", "labelsTr/a.nii"],
            '{"labels": {"0": "background"}}',
            ValueError,
            "names no classes",
        ),
        (
            ["imagesTr/a.nii"],
            '{"labels": {"1": "x"}, "training": [{"image": "imagesTr/a.nii", "label": "b.nii"}]}',
            ValueError,
            r"imagesTr/a.nii has no label: .*b.nii",
        ),
        (
            ["labelsTr/a.nii"],
            '{"labels": {"1": "x"}, "training": [{"image": "imagesTr/a.nii", "label": "b.nii"}]}',
            FileNotFoundError,
            "lists .*a.nii, which is not there",
        ),
        (
            ["imagesTr/a.nii", "labelsTr/a.nii"],
            '{"labels": {"liver": "one"}}',
            ValueError,
            "no name with its value",
        ),
    ],
)
def test_faults_are_named(tmp_path, files, description, error, message):
    touch(tmp_path, *files)
    if description is not None:
        (tmp_path / "dataset.json").write_text(description)
    with pytest.raises(error, match=message):
        find_labelled(tmp_path)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_labelled(tmp_path / "none")
