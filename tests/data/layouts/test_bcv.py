"""BCV: its layout, and the split of its labelled scans, as written down and as drawn."""

import pytest
from original_layouts import files_of, touch

from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.data.layouts.bcv import (
    BCV_SCANS,
    BCV_TRAIN,
    BCV_VALIDATION,
    find_bcv,
    split_bcv,
)
from mots_pretrained.tasks import BCV_ORGANS


def test_the_split_written_down_is_the_one_that_seed_0_draws():
    assert split_bcv() == (BCV_TRAIN, BCV_VALIDATION)
    assert len(BCV_TRAIN) == len(BCV_VALIDATION) == 15
    assert {*BCV_TRAIN, *BCV_VALIDATION} == {*BCV_SCANS}
    assert BCV_SCANS[9:11] == ("img0010", "img0021")
    assert split_bcv(1) != split_bcv()


def test_another_layout_is_not_taken_for_it(tmp_path):
    (tmp_path / "img").mkdir()
    assert find_bcv(tmp_path) is None
    (tmp_path / "label").mkdir()
    with pytest.raises(ValueError, match=r"holds no \.nii"):
        find_bcv(tmp_path)


def test_bcv(tmp_path):
    names = ("img/img0002.nii.gz", "img/img0001.nii.gz", "label/label0001.nii.gz")
    folder = find_labelled(
        touch(tmp_path, *names, "label/label0002.nii.gz", "img/._img0001.nii.gz")
    )
    assert files_of(folder) == [
        ("img0001", ["img0001.nii.gz"], "label0001.nii.gz"),
        ("img0002", ["img0002.nii.gz"], "label0002.nii.gz"),
    ]
    assert list(folder.classes) == list(BCV_ORGANS)
    assert folder.classes["left_adrenal_gland"] == (13,)
    assert folder.channels == ("ct",)
