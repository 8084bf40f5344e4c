"""BCV: its layout, and the split of its labelled scans, as written down and as drawn."""

import pytest

from mots_pretrained.data.layouts.bcv import (
    BCV_SCANS,
    BCV_TRAIN,
    BCV_VALIDATION,
    find_bcv,
    split_bcv,
)


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
