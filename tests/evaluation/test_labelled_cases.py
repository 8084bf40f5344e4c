"""Scoring files of which each labels some of the classes."""

import json

import numpy as np
import pytest
from scored_files import LIVER, cases, write

from mots_pretrained.evaluation.files import score_files


def partly_labelled(tmp_path, told):
    """Three cases of liver (1) and spleen (2): found in all, by half or whole."""
    both = LIVER.copy()
    both[3] = 2
    names = {"labels": {"background": 0, "liver": 1, "spleen": 2}}
    for number, (predicted, true) in enumerate(
        ((both, both), (both, LIVER), (both, np.where(both == 2, 1, 0).astype(np.uint8)))
    ):
        write(tmp_path / f"out/img000{number}_seg.nii.gz", predicted)
        write(tmp_path / f"data/label/label000{number}.nii.gz", true)
    (tmp_path / "out/labels.json").write_text(json.dumps({"liver": 1, "spleen": 2}))
    (tmp_path / "data/dataset.json").write_text(json.dumps(names | told))
    return tmp_path / "out", tmp_path / "data/label"


def test_a_case_is_scored_for_the_classes_that_it_labels(tmp_path):
    """The last one labels the spleen alone; what its map says of the liver is not the truth."""
    told = {"img0000": ["liver", "spleen"], "img0001": ["liver"], "img0002": ["spleen"]}
    sides = partly_labelled(tmp_path, {"labelled": told})
    results = score_files(*sides, metrics=["dice"])
    assert {name: [*scores] for name, scores in cases(results).items()} == {
        "label0000": ["liver", "spleen"], "label0001": ["liver"], "label0002": ["spleen"],
    }  # fmt: skip
    # the third's map has no spleen, which it labels: it is absent there, and only there
    assert results.mean("liver") == results.mean("spleen") == 1
    assert results.as_json()["absent_cases"] == {"liver": 0, "spleen": 1}
    published = score_files(*sides, metrics=["dice"], rule="published")
    # 2 x 32 / (32 + 32 + 1) of both livers; 32 / 33 of one spleen, 0 of the one that is not there
    assert published.mean("liver") == pytest.approx(64 / 65)
    assert published.mean("spleen") == pytest.approx(32 / 33 / 2)
    one = score_files(sides[0] / "img0001_seg.nii.gz", sides[1] / "label0001.nii.gz")
    assert [[*case.scores] for case in one.cases] == [["liver"]]


def test_a_table_in_the_folder_says_so_too(tmp_path):
    sides = partly_labelled(tmp_path, {})
    assert all({*scores} == {"liver", "spleen"} for scores in cases(score_files(*sides)).values())
    rows = "case,liver,spleen\nimg0000,1,1\nimg0001,1,0\nimg0002,0,0\n"
    (tmp_path / "data/labelled.csv").write_text(rows)
    results = score_files(*sides, metrics=["dice"])
    assert [[*case.scores] for case in results.cases] == [["liver", "spleen"], ["liver"], []]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"img0000": ["livr"]}, "says that img0000 labels 'livr'; the truth's classes are liver, "),
        ({"img0000": ["liver"]}, "does not tell which classes label0001 labels"),
    ],
)
def test_what_is_wrong_with_the_classes_that_cases_label_is_named(tmp_path, told, message):
    with pytest.raises(ValueError, match=message):
        score_files(*partly_labelled(tmp_path, {"labelled": told}))


def test_classes_told_of_other_cases_only_are_told(tmp_path):
    """As of a test set beside the training set that dataset.json describes."""
    sides = partly_labelled(tmp_path, {"labelled": {"img0007": ["liver"]}})
    with pytest.warns(UserWarning, match="but of none in .*label; all are scored for every class"):
        results = score_files(*sides)
    assert [[*case.scores] for case in results.cases] == [["liver", "spleen"]] * 3
