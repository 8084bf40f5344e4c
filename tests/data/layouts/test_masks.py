"""One mask a class: a case labels the classes that it has a mask of, and has one scan."""

import pytest
from original_layouts import touch

from mots_pretrained.data.layouts import find_labelled


def case(root, name, *masks, scan="ct.nii.gz"):
    touch(root / name, scan, *(f"segmentations/{mask}.nii.gz" for mask in masks))


def test_cases_with_a_folder_of_masks(tmp_path):
    for name in ("s0002", "s0001"):
        case(tmp_path, name, "spleen", "aorta")
    touch(tmp_path, "meta.csv", "notes/a.txt", ".hidden/segmentations/x.nii")
    folder = find_labelled(tmp_path)
    assert [found.name for found in folder.cases] == ["s0001", "s0002"]
    assert folder.classes == {"aorta": (1,), "spleen": (2,)}
    assert folder.channels == ("ct",)
    first = folder.cases[0]
    assert first.labelled is None
    assert first.images == (tmp_path / "s0001/ct.nii.gz",)
    assert (first.label, [path.name for path in first.label_files]) == (
        None,
        ["aorta.nii.gz", "spleen.nii.gz"],
    )


def test_a_mask_that_is_not_there_says_that_the_class_is_not_labelled(tmp_path):
    case(tmp_path, "a", "liver", "spleen")
    case(tmp_path, "b", "liver")
    case(tmp_path, "c", "aorta", "spleen")
    found = find_labelled(tmp_path)
    assert found.classes == {"aorta": (1,), "liver": (2,), "spleen": (3,)}
    assert [one.labelled for one in found.cases] == [
        ("liver", "spleen"), ("liver",), ("aorta", "spleen"),
    ]  # fmt: skip


def test_scans_of_another_name_do_not_say_what_they_are(tmp_path):
    case(tmp_path, "a", "liver", scan="mri.nii.gz")
    assert find_labelled(tmp_path).channels is None


def test_a_label_map_of_all_classes_beside_the_scan_is_none(tmp_path):
    """As in AbdomenAtlas."""
    case(tmp_path, "BDMAP_00000001", "liver", "aorta")
    touch(tmp_path, "BDMAP_00000001/combined_labels.nii.gz")
    (found,) = find_labelled(tmp_path).cases
    assert found.images == (tmp_path / "BDMAP_00000001/ct.nii.gz",)
    assert [*found.masks] == ["aorta", "liver"]


@pytest.mark.parametrize("scans", [("one.nii.gz", "two.nii.gz"), ("ct.nii.gz", "mri.nii.gz")])
def test_faults_are_named(tmp_path, scans):
    case(tmp_path, "a", "liver", "spleen")
    case(tmp_path, "b", "liver", scan=scans[0])
    touch(tmp_path, f"b/{scans[1]}")
    with pytest.raises(ValueError, match=r"b holds 2 scans beside segmentations/; one is wanted"):
        find_labelled(tmp_path)


def test_a_mask_that_is_there_twice_is_named(tmp_path):
    case(tmp_path, "a", "aorta")
    touch(tmp_path, "a/segmentations/aorta.nii")
    with pytest.raises(ValueError, match=r"aorta.nii and .*aorta.nii.gz are both aorta; keep one"):
        find_labelled(tmp_path)
