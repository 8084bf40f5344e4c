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
    assert find_bcv(tmp_path) is None
    with pytest.raises(ValueError, match=r"holds no \.nii"):
        find_labelled(tmp_path)


@pytest.mark.parametrize(
    ("image", "label"),
    [("FLARE22_Tr_0001", "FLARE22_Tr_0001"), ("img0003", "img0003"), ("img3", "label3"),
     ("imgA", "imgA")],
)  # fmt: skip
def test_other_names_in_folders_of_its_names_are_a_plain_pair_of_folders(tmp_path, image, label):
    """FLARE22 got the 13 organs of BCV, and mirroring exchanged its spleen and right kidney."""
    names = ("img/img0002.nii.gz", "label/label0002.nii.gz")
    touch(tmp_path, *names, f"img/{image}.nii.gz", f"label/{label}.nii.gz")
    found = find_labelled(tmp_path)
    assert len(found.cases) == 2
    assert (found.classes, found.channels, found.name) == (None, None, tmp_path.name)


def test_a_scan_of_bcv_without_its_label_map_is_named(tmp_path):
    touch(tmp_path, "img/img0001.nii.gz", "img/img0002.nii.gz", "label/label0002.nii.gz")
    with pytest.raises(ValueError, match=r"img0001.nii.gz has no label of its name"):
        find_labelled(tmp_path)


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
