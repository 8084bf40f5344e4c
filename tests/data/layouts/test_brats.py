"""BraTS: both grades found, channels in the paper's order, every fault named."""

import pytest

from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.data.layouts.brats import find_brats, find_brats_case
from mots_pretrained.tasks import BRATS_2023_REGIONS, BRATS_REGIONS


def case(root, path, kinds=("flair", "seg", "t1", "t1ce", "t2")):
    name = path.split("/")[-1]
    (root / path).mkdir(parents=True)
    for kind in kinds:
        (root / path / f"{name}_{kind}.nii.gz").touch()


def test_both_grades(tmp_path):
    case(tmp_path, "LGG/Brats18_A_1")
    case(tmp_path, "HGG/Brats18_B_1")
    (tmp_path / "survival_data.csv").touch()
    folder = find_brats(tmp_path)
    assert [scan.name for scan in folder.cases] == ["Brats18_A_1", "Brats18_B_1"]
    scan = folder.cases[0]
    assert [path.name.removeprefix("Brats18_A_1_") for path in scan.images] == [
        "t1.nii.gz", "t1ce.nii.gz", "t2.nii.gz", "flair.nii.gz",
    ]  # fmt: skip
    assert scan.label == tmp_path / "LGG/Brats18_A_1/Brats18_A_1_seg.nii.gz"
    assert folder.channels == ("t1", "t1ce", "t2", "flair")
    assert folder.classes == BRATS_REGIONS
    assert list(folder.classes.values()) == [(4,), (1, 4), (1, 2, 4)]


def test_validation_cases_have_no_labels(tmp_path):
    case(tmp_path, "Brats18_C_1", ("flair", "t1", "t1ce", "t2"))
    (tmp_path / "notes").mkdir()
    (case_found,) = find_brats(tmp_path).cases
    assert (case_found.name, case_found.label, len(case_found.images)) == ("Brats18_C_1", None, 4)
    with pytest.raises(ValueError, match=r"Brats18_C_1_t1.nii.gz has no label"):
        find_labelled(tmp_path)
    case(tmp_path, "Brats18_A_1")
    with pytest.warns(UserWarning, match=r"1 of 2 cases have no label map .*Brats18_C_1_t1.nii.gz"):
        assert [found.name for found in find_labelled(tmp_path).cases] == ["Brats18_A_1"]


def test_a_missing_sequence_is_named(tmp_path):
    case(tmp_path, "HGG/Brats18_D_1", ("flair", "t1", "t2", "seg"))
    with pytest.raises(ValueError, match=r"Brats18_D_1 lacks Brats18_D_1_t1ce.nii.gz"):
        find_brats(tmp_path)


def test_other_folders_are_not_taken_for_it(tmp_path):
    (tmp_path / "scans").mkdir()
    assert find_brats(tmp_path) is None


@pytest.mark.parametrize("mark", ["-", "_"])
def test_names_from_2023_on(tmp_path, mark):
    folder = tmp_path / "BraTS-GLI-00000-000"
    folder.mkdir()
    for kind in ("seg", "t1c", "t1n", "t2f", "t2w"):
        (folder / f"{folder.name}{mark}{kind}.nii.gz").touch()
    found = find_brats(tmp_path)
    (scan,) = found.cases
    assert list(found.classes.values()) == [(3,), (1, 3), (1, 2, 3)]
    assert [path.name[20:23] for path in scan.images] == ["t1n", "t1c", "t2w", "t2f"]
    assert scan.label == folder / f"{folder.name}{mark}seg.nii.gz"
    (folder / f"{folder.name}{mark}t1c.nii.gz").unlink()
    with pytest.raises(ValueError, match=f"lacks {folder.name}{mark}t1c.nii.gz; .* t1n, t1c, t2w"):
        find_brats(tmp_path)


def test_the_folder_of_one_case(tmp_path):
    case(tmp_path, "Brats18_A_1")
    for place in (tmp_path / "Brats18_A_1", tmp_path / "Brats18_A_1" / "."):
        (scan,) = find_brats_case(place).cases
        assert (scan.name, len(scan.images)) == ("Brats18_A_1", 4)
    assert find_brats_case(tmp_path) is None


def test_a_sequence_that_is_there_twice_is_named(tmp_path):
    case(tmp_path, "Brats18_A_1")
    (tmp_path / "Brats18_A_1/Brats18_A_1_t2.nii").touch()
    with pytest.raises(ValueError, match=r"_t2.nii and .*_t2.nii.gz are both Brats18_A_1_t2; keep"):
        find_brats(tmp_path)


def test_label_maps_of_both_kinds_do_not_mix(tmp_path):
    case(tmp_path, "BraTS-GLI-00000-000", ("t1n", "t1c", "t2w", "t2f"))
    case(tmp_path, "Brats18_A_1")
    assert find_brats(tmp_path).classes == BRATS_REGIONS  # the labelled case's
    (tmp_path / "BraTS-GLI-00000-000/BraTS-GLI-00000-000_seg.nii.gz").touch()
    with pytest.raises(ValueError, match=r"BraTS-GLI-00000-000 and Brats18_A_1, .* part them"):
        find_brats(tmp_path)
    (tmp_path / "Brats18_A_1/Brats18_A_1_seg.nii.gz").unlink()
    assert find_brats(tmp_path).classes == BRATS_2023_REGIONS
