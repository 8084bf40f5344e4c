"""LiTS, however its two batches were unpacked."""

import pytest
from original_layouts import touch

from mots_pretrained.data.layouts import find_collections
from mots_pretrained.data.layouts.lits import find_lits


def test_lits_is_read_compressed_and_with_its_label_maps_apart(tmp_path):
    touch(tmp_path, "volumes/volume-3.nii.gz", "labels/segmentation-3.nii", "volumes/notes.txt")
    (case,) = find_collections(tmp_path)[0].cases
    assert case.images == (tmp_path / "volumes/volume-3.nii.gz",)
    assert case.label == tmp_path / "labels/segmentation-3.nii"


def test_batches_may_lie_apart_but_no_case_twice(tmp_path):
    touch(tmp_path, "a/volume-10.nii", "a/segmentation-10.nii")
    touch(tmp_path, "b/volume-9.nii", "b/segmentation-9.nii", "notes/volume.txt")
    found = find_lits(tmp_path)
    assert [case.name for case in found.cases] == ["liver_9", "liver_10"]
    assert (found.folder, found.supervises.name) == (tmp_path, "liver")
    touch(tmp_path, "b/volume-10.nii")
    with pytest.raises(ValueError, match=r"a/volume-10.nii and .* are both liver_10"):
        find_lits(tmp_path)
    assert find_lits(tmp_path / "notes") is None


def test_batches_are_found_as_deep_as_their_zips_unpack(tmp_path):
    for number in (1, 2):
        place = f"Training_Batch{number}/media/nas/01_Datasets/CT/LITS/Training Batch {number}"
        touch(tmp_path, f"{place}/volume-{number}.nii", f"{place}/segmentation-{number}.nii")
    (found,) = find_collections(tmp_path)
    assert [case.name for case in found.cases] == ["liver_1", "liver_2"]
    (named,) = find_collections(None, named={"liver": tmp_path})
    assert named.cases == found.cases
