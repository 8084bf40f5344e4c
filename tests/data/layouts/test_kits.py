"""KiTS19: a folder a case."""

import pytest
from original_layouts import kits, touch

from mots_pretrained.data.layouts import find_collections
from mots_pretrained.data.layouts.kits import find_kits


def test_kits_keeps_its_own_test_cases_without_label(tmp_path):
    touch(kits(tmp_path, 209), "case_00210/imaging.nii.gz")
    (collection,) = find_collections(tmp_path)
    assert [case.label is None for case in collection.cases] == [False, True]
    assert [case.name for case in collection.labelled] == ["kidney_00209"]


def test_other_folders_are_not_taken_for_it(tmp_path):
    touch(tmp_path, "case_1/imaging.nii.gz", "case_00001.nii.gz", "scans/imaging.nii.gz")
    assert find_kits(tmp_path) is None


def test_a_file_that_is_there_twice_is_named(tmp_path):
    touch(kits(tmp_path, 209), "case_00209/segmentation.nii")
    with pytest.raises(ValueError, match=r"segmentation.nii and .*nii.gz are both segmentation;"):
        find_kits(tmp_path)
