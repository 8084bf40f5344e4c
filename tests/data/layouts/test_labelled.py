"""Which classes a case labels: a table, or dataset.json; what they get wrong is named."""

from __future__ import annotations

import json

import pytest

from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.errors import UserError


@pytest.fixture
def root(tmp_path):
    for folder, name in (("images", "a"), ("images", "b"), ("labels", "a"), ("labels", "b")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.nii.gz").touch()
    return tmp_path


@pytest.fixture
def described(root):
    for old, new in (("images", "imagesTr"), ("labels", "labelsTr")):
        (root / old).rename(root / new)
    return root


def describe(root, told):
    labels = {"background": 0, "liver": 1, "spleen": 2}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "labelled": told}
    (root / "dataset.json").write_text(json.dumps(content))


def told(root):
    return {case.name: case.labelled for case in find_labelled(root).cases}


def test_a_table_tells_of_a_folder_of_any_layout(root):
    assert told(root) == {"a": None, "b": None}
    (root / "labelled.csv").write_text("\ufeffcase, liver,spleen\nb,0,1\n\na,1,1\n", "utf-8")
    assert told(root) == {"a": ("liver", "spleen"), "b": ("spleen",)}


def test_dataset_json_tells(described):
    describe(described, {"a": ["liver"], "b": ["spleen", "liver"]})
    assert told(described) == {"a": ("liver",), "b": ("spleen", "liver")}


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("liver,spleen\n", "must begin with a line such as case,liver,spleen"),
        ("", "must begin with a line"),
        ("case\na\n", "must begin with a line"),
        ("case,liver,liver\na,1,1\n", "must begin with a line"),
        ("case,liver\na,yes\n", "line 2: wanted are a case and 1 times 1 .* not 'a,yes'"),
        ("case,liver\na,1\nb\n", "line 3: wanted are a case"),
        ("case,liver\na,1\na,0\n", "line 3: 'a' is there twice"),
        ("case,liver\na,1\n", "does not tell which classes b labels"),
        ("case,liver\na,1\nb,1\nc,1\n", "tells of the case 'c', which is not in the folder"),
    ],
)
def test_faults_of_a_table_are_named(root, table, what):
    (root / "labelled.csv").write_text(table)
    with pytest.raises(UserError, match=what):
        find_labelled(root)


def test_bytes_that_are_no_text_are_refused(root):
    (root / "labelled.csv").write_bytes(b"case,liver\n\xff\xfe,1\n")
    with pytest.raises(UserError, match=r"labelled.csv is no CSV table"):
        find_labelled(root)


@pytest.mark.parametrize(
    ("listed", "what"),
    [
        (["a"], '"labelled" must be'),
        ({"a": "liver", "b": []}, '"labelled" must be'),
        ({"a": ["kidney"], "b": []}, "says that a labels 'kidney'; the classes are liver, spleen"),
        ({"a": ["liver"]}, "does not tell which classes b labels"),
    ],
)
def test_faults_of_dataset_json_are_named(described, listed, what):
    describe(described, listed)
    with pytest.raises(UserError, match=what):
        find_labelled(described)


def test_two_that_tell_are_refused(described):
    describe(described, {"a": ["liver"], "b": ["liver"]})
    (described / "labelled.csv").write_text("case,liver,spleen\na,1,1\nb,1,1\n")
    with pytest.raises(UserError, match="both tell which classes cases label"):
        find_labelled(described)


def test_a_class_that_a_table_gives_a_case_needs_its_mask(tmp_path):
    for case, masks in (("a", ("liver", "spleen")), ("b", ("liver",))):
        (tmp_path / case / "segmentations").mkdir(parents=True)
        (tmp_path / case / "ct.nii.gz").touch()
        for mask in masks:
            (tmp_path / case / "segmentations" / f"{mask}.nii.gz").touch()
    (tmp_path / "labelled.csv").write_text("case,liver,spleen\na,0,1\nb,1,0\n")
    assert told(tmp_path) == {"a": ("spleen",), "b": ("liver",)}
    (tmp_path / "labelled.csv").write_text("case,liver,spleen\na,0,1\nb,1,1\n")
    with pytest.raises(UserError, match="b labels spleen, which has no mask"):
        find_labelled(tmp_path)
