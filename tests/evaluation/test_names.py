"""Names of values: every way of writing them, words known, and what is no class."""

import json

import numpy as np
import pytest

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.files import score_files
from mots_pretrained.evaluation.names import (
    NAMED,
    LabelNames,
    label_names,
    labelled_beside,
    names_beside,
    read_label_names,
)
from mots_pretrained.images.seg_nrrd import write_seg_nrrd
from mots_pretrained.images.volume import Volume, write_like


def written(tmp_path, content):
    path = tmp_path / "names.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"liver": 1, "spleen": 2},
        {"1": "liver", "2": "spleen"},
        {"liver": [1], "spleen": "2"},
        ["liver", "spleen"],
        {"labels": {"0": "background", "1": "liver", "2": "spleen"}},
        {"labels": {"background": 0, "liver": 1, "spleen": 2}},
        {"labels": {"background": 0, "liver": 1.0, "spleen": "2"}},
    ],
)
def test_every_form(tmp_path, content):
    names = read_label_names(written(tmp_path, content))
    assert names == LabelNames({"liver": (1,), "spleen": (2,)})


def test_regions_and_ignored_values(tmp_path):
    content = {"labels": {"background": 0, "organ": [1, 2], "tumour": 2, "ignore": 3}}
    names = read_label_names(written(tmp_path, content))
    assert names == LabelNames({"organ": (1, 2), "tumour": (2,)}, (3,))
    assert names.known == {0, 1, 2, 3}
    labels = np.array([0, 1, 2, 3])
    assert names.mask(labels, "organ").tolist() == [False, True, True, False]
    assert names.mask(labels, "tumour").tolist() == [False, False, True, False]


def test_words():
    assert label_names("bcv").classes["liver"] == (6,)
    assert label_names("mots").classes["spleen"] == (11,)
    assert label_names("mots").classes == ModelConfig().label_values
    assert label_names("mots").classes["liver"] == (1, 2, 5, 6)
    assert label_names("liver").classes == {"liver": (1, 2), "liver_tumour": (2,)}
    assert label_names("colon").classes == {"colon_tumour": (1,)}
    assert NAMED["brats"].classes["tumour_core"] == (1, 4)


@pytest.mark.parametrize("content", [{"liver": "one"}, {"liver": []}, {}, 3, {"ignore": 1}])
def test_what_names_nothing_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match="names no classes"):
        read_label_names(written(tmp_path, content))


def test_what_is_no_file_or_no_json_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="give a JSON file, or mots, liver"):
        label_names("btcv")
    (tmp_path / "names.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        read_label_names(tmp_path / "names.json")


@pytest.mark.parametrize(
    "content",
    [{"liver": [1, 2], "liver_tumour": [2]}, {"liver": 1, "spleen": 11}, {"liver": 1, "other": 2}],
)
def test_names_that_need_no_reading_are_kept(tmp_path, content):
    (tmp_path / "labels.json").write_text(json.dumps(content))
    names = names_beside(tmp_path)
    assert names == read_label_names(tmp_path / "labels.json")


def test_classes_nest_as_the_others_do():
    apart = LabelNames({"liver": (6,), "liver_tumour": (17,), "bone": (1,)})
    whole = LabelNames({"liver": (1, 2), "liver_tumour": (2,)})
    assert apart.nested_like(whole).classes == {
        "liver": (6, 17), "liver_tumour": (17,), "bone": (1,)
    }  # fmt: skip
    assert whole.nested_like(apart) == whole
    assert apart.nested_like(apart) == apart


def test_a_value_is_named_by_the_smallest_class_first():
    assert NAMED["mots"].named(2) == "liver_tumour, liver"
    assert NAMED["mots"].named(1) == "liver"


def test_labels_are_read_as_training_reads_them(tmp_path):
    """A name that came twice had its last value alone, and names that are digits were none."""
    twice = {"labels": {"0": "background", "1": "lesion", "2": "lesion", "3": "organ"}}
    names = read_label_names(written(tmp_path, twice))
    assert names.classes == {"lesion": (1, 2), "organ": (3,)}
    own = {"1": [1, 2], "2": 2}  # as mots predict writes them for classes so called
    assert read_label_names(written(tmp_path, own)).classes == {"1": (1, 2), "2": (2,)}


def test_slicer_s_files_that_number_their_segments_differently_are_refused(tmp_path):
    """The first file's names held for all: liver and spleen of the second were exchanged."""
    labels = Volume.with_spacing(np.ones((4, 5, 6), np.uint8), (1.0, 1.0, 1.0))
    (tmp_path / "._a.seg.nrrd").write_bytes(b"what macOS leaves beside a file")
    write_seg_nrrd(tmp_path / "a.SEG.NRRD", labels.array, labels, {"liver": 1})
    write_seg_nrrd(tmp_path / "b.seg.nrrd", labels.array, labels, {"liver": 1, "spleen": 2})
    assert names_beside(tmp_path).classes == {"liver": (1,), "spleen": (2,)}
    write_seg_nrrd(tmp_path / "c.seg.nrrd", labels.array, labels, {"spleen": 1})
    with pytest.raises(UserError, match=r"c.seg.nrrd has 'spleen' as 1, .*b.seg.nrrd as 2; give"):
        names_beside(tmp_path)


LIVER = np.zeros((4, 4, 4), np.uint8)
LIVER[:2] = 1


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_like(path, array, Volume.with_spacing(array, (1.0, 1.0, 1.0)))
    return path


@pytest.mark.parametrize("file", ["truth/dataset.json", "dataset.json"])
def test_names_of_the_predictions_leave_the_truth_its_own(tmp_path, file):
    """--labels held for the truth, too, whose liver and spleen have other values: both were 0."""
    write(tmp_path / "out/a.nii.gz", LIVER * 4 + 1)
    write(tmp_path / "truth/a.nii.gz", 5 - LIVER * 4)
    names = LabelNames({"spleen": (1,), "liver": (5,)}, source="--labels")
    sides = tmp_path / "out", tmp_path / "truth"
    own = '{"labels": {"background": 0, "liver": 1, "spleen": 5}}'
    (tmp_path / file).write_text(own)
    results = score_files(*sides, names=names, metrics=["dice"])
    assert [results.mean(name, "dice") for name in ("liver", "spleen")] == [1.0, 1.0]
    told = LabelNames({"spleen": (1,), "liver": (5,)})
    results = score_files(*sides, names=names, truth_names=told, metrics=["dice"])
    assert results.mean_dice == 0.0
    (tmp_path / file).unlink()
    assert score_files(*sides, names=names, metrics=["dice"]).mean_dice == 0.0


def test_a_truth_of_its_own_names_is_nested_as_the_names_given_for_the_predictions(tmp_path):
    array = LIVER.copy()
    array[0] = 2
    pair = write(tmp_path / "out/a.nii.gz", array), write(tmp_path / "truth/a.nii.gz", array)
    (tmp_path / "truth/labels.json").write_text('{"liver": 1, "liver_tumour": 2}')
    given = NAMED["mots"]
    with pytest.warns(UserWarning, match="liver are read with what lies in them"):
        results = score_files(*pair, names=given, metrics=["dice"])
    assert results.mean("liver", "dice") == results.mean("liver_tumour", "dice") == 1.0


def test_what_cases_label_is_read_beside_them_or_one_folder_up(tmp_path):
    folder = tmp_path / "data" / "labelsTr"
    folder.mkdir(parents=True)
    assert labelled_beside(folder) is None
    description = {"labels": {"liver": 1}, "labelled": {"a": ["liver"], "b": []}}
    above = folder.parent / "dataset.json"
    above.write_text(json.dumps(description))
    assert labelled_beside(folder) == ({"a": ("liver",), "b": ()}, above)
    (folder / "a.nii").touch()
    assert labelled_beside(folder / "a.nii") == labelled_beside(folder)
    (folder / "labelled.csv").write_text("case,liver\na,0\n")  # the nearer one
    assert labelled_beside(folder) == ({"a": ()}, folder / "labelled.csv")
    (folder / "datalist.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"csv and .*datalist.json both tell which classes"):
        labelled_beside(folder)
