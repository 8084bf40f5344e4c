"""Auto3DSeg's input.yaml: where the list and its files lie, classes and channels."""

import json

import pytest
from original_layouts import identifiers, touch

from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.errors import UserError


@pytest.fixture
def root(tmp_path):
    """A data root and beside it a list of one case with a CT and a PET, and one of the CT alone."""
    touch(tmp_path / "data", "ct/a.nii.gz", "pet/a.nii.gz", "seg/a.nii.gz")
    one = {"image": "ct/a.nii.gz", "label": "seg/a.nii.gz", "fold": 0}
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/one.json").write_text(json.dumps({"training": [one]}))
    two = one | {"image2": "pet/a.nii.gz"}
    (tmp_path / "lists/two.json").write_text(
        json.dumps({"training": [two], "labels": {"tumour": 5}})
    )
    return tmp_path


def read(root, *lines, listed="lists/one.json"):
    path = root / "input.yaml"
    path.write_text("\n".join([f"datalist: {listed}", "dataroot: data", *lines]))
    return find_labelled(path)


def test_paths_are_relative_to_the_data_root(root):
    found = read(root, "modality: CT", "num_epochs: 600")
    assert found.cases[0].images == (root / "data/ct/a.nii.gz",)
    assert (identifiers(found), found.folds) == (["a"], ((("a",), ()),))
    assert (found.folder, found.classes, found.channels) == (root / "data", None, ("ct",))


def test_class_names_are_plain_or_have_values(root):
    assert read(root, "class_names: [tumour, node]").classes == {"tumour": (1,), "node": (2,)}
    nested = "class_names: [{name: whole, index: [1, 2, 3]}, {name: core, index: [2]}]"
    assert read(root, nested).classes == {"core": (2,), "whole": (1, 2, 3)}
    assert read(root, listed="lists/two.json").classes == {"tumour": (5,)}


def test_modalities_name_the_channels_where_all_are_told(root):
    extra = "extra_modalities: {image2: PET}"
    assert read(root, "modality: CT", extra, listed="lists/two.json").channels == ("ct", "pet")
    assert read(root, "modality: CT", listed="lists/two.json").channels == ("ct_0", "ct_1")
    assert read(root, "modality: MRI").channels is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modality: CT", "must name datalist, a JSON file, and dataroot, a folder"),
        ("- a", "must name datalist"),
        ("{", "is not valid YAML"),
        ("datalist: lists/none.json\ndataroot: data", "no such file: .*lists/none.json"),
        ("datalist: lists/one.json\ndataroot: none", "names the folder .*none, which is not there"),
        ("datalist: lists/one.json\ndataroot: lists", "lists ct/a.nii.gz, which is not there"),
        ("datalist: lists/one.json\ndataroot: data\nclass_names: liver", "class_names must be"),
        (
            "datalist: lists/one.json\ndataroot: data\nclass_names: [{name: liver, index: x}]",
            "input.yaml: the label 'liver': 'x' is no name with its value",
        ),
    ],
)
def test_faults_are_named(root, text, message):
    (root / "input.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        find_labelled(root / "input.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(root):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*other.yml"):
        find_labelled(root / "other.yml")
