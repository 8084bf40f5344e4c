"""MONAI's data lists: cases, folds, classes, and what is refused."""

import json
from pathlib import Path

import pytest
from monai.data import load_decathlon_datalist
from monai.utils import ensure_tuple
from original_layouts import files_of, identifiers, touch

from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.data.layouts.datalist import read_datalist


def pair(name, **more):
    return {"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz", **more}


def write(path, **content):
    """Write a list and the files of its cases a, b, c and d."""
    path.parent.mkdir(parents=True, exist_ok=True)
    touch(path.parent, *(f"{part}/{n}.nii.gz" for part in ("images", "labels") for n in "abcd"))
    path.write_text(json.dumps(content))
    return path


def test_a_list_is_found_in_its_folder_and_by_its_path(tmp_path):
    listed = {"training": [pair("b"), pair("a")], "test": ["images/z.nii.gz"]}
    write(tmp_path / "datalist.json", **listed)
    found = find_labelled(tmp_path)
    assert files_of(found) == [("b", ["b.nii.gz"], "b.nii.gz"), ("a", ["a.nii.gz"], "a.nii.gz")]
    assert (found.classes, found.channels, found.folds) == (None, None, ())
    other = write(tmp_path / "lung_folds.json", training=[pair("c")], testing=[{"image": "z.nii"}])
    assert identifiers(find_labelled(other)) == ["c"]
    assert identifiers(find_labelled(f"{tmp_path}")) == ["b", "a"]


def test_several_channels_and_absolute_paths(tmp_path):
    path = write(tmp_path / "datalist.json")
    image = [str(tmp_path / "images/a.nii.gz"), "images/b.nii.gz"]
    path.write_text(json.dumps({"training": [{"image": image, "label": "labels/a.nii.gz"}]}))
    assert files_of(find_labelled(path)) == [("a", ["a.nii.gz", "b.nii.gz"], "a.nii.gz")]


def test_paths_may_be_relative_to_another_folder(tmp_path):
    write(tmp_path / "data" / "datalist.json")
    path = tmp_path / "lists" / "mine.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"training": [pair("a")]}))
    with pytest.raises(FileNotFoundError, match=r"lists images/a.nii.gz, which is not there"):
        read_datalist(path)
    found = read_datalist(path, folder=tmp_path / "data")
    assert found.cases[0].images == (tmp_path / "data/images/a.nii.gz",)


def test_files_are_those_that_monai_reads(tmp_path):
    """Paths with ./ and .., absolute ones, and several channels."""
    write(tmp_path / "data" / "x.json")
    away = write(tmp_path / "lists" / "away.json", training=[
        {"image": "./images/a.nii.gz", "label": "../data/labels/a.nii.gz"},
        {"image": ["images/b.nii.gz", f"{tmp_path}/data/images/c.nii.gz"],
         "label": "labels/b.nii.gz", "fold": 0},
    ])  # fmt: skip
    for folder in (None, tmp_path / "data"):
        listed = load_decathlon_datalist(away, base_dir=folder)
        theirs = [[ensure_tuple(entry[key]) for key in ("image", "label")] for entry in listed]
        for case, (images, labels) in zip(
            read_datalist(away, folder=folder).cases, theirs, strict=True
        ):
            assert [path.resolve() for path in case.images] == [Path(path) for path in images]
            assert [path.resolve() for path in case.label_files] == [Path(path) for path in labels]


def test_folds_are_those_of_the_list(tmp_path):
    training = [pair("a", fold=1), pair("b", fold=0), pair("c"), pair("d", fold=1)]
    assert read_datalist(write(tmp_path / "x.json", training=training)).folds == (
        (("b",), ()),
        (("a", "d"), ()),
    )


def test_cases_of_validation_are_the_one_part_that_is_held_out(tmp_path):
    path = write(tmp_path / "x.json", training=[pair("a"), pair("b")],
                 validation=[pair("b"), pair("c")])  # fmt: skip
    found = read_datalist(path)
    assert (identifiers(found), found.folds) == (["a", "b", "c"], ((("b", "c"), ()),))


@pytest.mark.parametrize("validation", [[{"image": "no.nii"}], ["no.nii"], [], None])
def test_a_validation_list_without_labels_is_not_read(tmp_path, validation):
    path = write(tmp_path / "x.json", training=[pair("a")], validation=validation)
    assert read_datalist(path).folds == ()


def test_of_a_validation_list_what_has_labels_is_read(tmp_path):
    path = write(tmp_path / "x.json", training=[pair("a")],
                 validation=[pair("b"), {"image": "images/no.nii.gz"}])  # fmt: skip
    found = read_datalist(path)
    assert (identifiers(found), found.folds) == (["a", "b"], ((("b",), ()),))


def test_folds_come_before_a_validation_list(tmp_path):
    path = write(tmp_path / "x.json", training=[pair("a", fold=0), pair("b", fold=1)],
                 validation=[{"image": "gone.nii", "label": "gone.nii"}])  # fmt: skip
    with pytest.warns(UserWarning, match='1 cases of "validation" are left out'):
        found = read_datalist(path)
    assert (identifiers(found), found.folds) == (["a", "b"], ((("a",), ()), (("b",), ())))


def test_classes_and_channels_are_the_list_s_or_those_of_a_dataset_json_beside_it(tmp_path):
    own = {"labels": {"0": "background", "1": "spleen"}, "modality": {"0": "CT"}}
    path = write(tmp_path / "datalist.json", training=[pair("a")], **own)
    other = {"labels": {"whole": [1, 2], "core": 2, "ignore": 3}, "channel_names": {"0": "T2"}}
    (tmp_path / "dataset.json").write_text(json.dumps(other))
    found = find_labelled(tmp_path)
    assert (found.classes, found.channels) == ({"spleen": (1,)}, ("ct",))
    path.write_text(json.dumps({"training": [pair("b")]}))
    found = find_labelled(tmp_path)
    assert identifiers(found) == ["b"]
    assert (found.classes, found.channels) == ({"core": (2,), "whole": (1, 2)}, ("t2",))
    assert found.ignore == 3


def test_cases_may_label_different_classes(tmp_path):
    told = {"labels": {"liver": 1, "spleen": 2}, "labelled": {"a": ["liver"], "b": ["spleen"]}}
    write(tmp_path / "datalist.json", training=[pair("a"), pair("b")], **told)
    cases = find_labelled(tmp_path).cases
    assert [case.labelled for case in cases] == [("liver",), ("spleen",)]
    (tmp_path / "labelled.csv").write_text("case,liver\na,1\nb,0\n")
    with pytest.raises(ValueError, match=r"labelled.csv and .*datalist.json\) both tell which"):
        find_labelled(tmp_path)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, r"no such file: .*x.json"),
        ("{", ValueError, "x.json is not valid JSON"),
        ("[]", ValueError, "x.json must hold an object"),
        ({}, ValueError, r"x.json has no list of training cases; it wants \"training\""),
        ({"training": []}, ValueError, "no list of training cases"),
        ({"training": {"image": "a"}}, ValueError, "no list of training cases"),
        ({"training": ["a.nii.gz"]}, ValueError, "entry 1 must be .*not 'a.nii.gz'"),
        ({"training": [pair("a"), pair("e")]}, FileNotFoundError, "lists images/e.nii.gz, which"),
        (
            {"training": [pair("a") | {"image": "../images/b.nii.gz"}]},
            FileNotFoundError,
            r"lists \.\./images/b.nii.gz, which is not there",
        ),
        (
            {"training": [pair("a"), {"image": "images/b.nii.gz"}]},
            ValueError,
            r"b.nii.gz has no label: none is listed",
        ),
        (
            {"training": [pair("a"), pair("b", label="labels/e.nii.gz")]},
            ValueError,
            "b.nii.gz has no label: labels/e.nii.gz is not there",
        ),
        ({"training": [pair("a"), pair("a")]}, ValueError, "as two cases"),
        ({"training": [pair("a", fold="0")]}, ValueError, "must be a whole number from 0, not '0'"),
        ({"training": [pair("a", fold=True)]}, ValueError, "must be a whole number"),
        (
            {"training": [pair("a", fold=0), pair("b", fold=2)]},
            ValueError,
            "the folds are 0, 2; number them from 0",
        ),
        ({"training": [pair("a")], "labels": {"liver": 0.5}}, ValueError, "is no name with its"),
    ],
)
def test_faults_are_named(tmp_path, content, error, message):
    path = write(tmp_path / "x.json")
    path.unlink() if content is None else path.write_text(
        content if isinstance(content, str) else json.dumps(content)
    )
    with pytest.raises(error, match=message) as caught:
        find_labelled(path)
    assert "\n" not in str(caught.value)
