"""The Decathlon's five tasks that MOTS takes, and its copy of LiTS."""

import pytest
from original_layouts import identifiers, lits, msd, touch

from mots_pretrained.data.layouts import find_collections, find_labelled
from mots_pretrained.data.layouts.msd import find_msd
from mots_pretrained.data.split import split_cases
from mots_pretrained.tasks import task_named

DECATHLON = {
    "Task03_Liver": "liver",
    "Task08_HepaticVessel": "hepaticvessel",
    "Task07_Pancreas": "pancreas",
    "Task10_Colon": "colon",
    "Task06_Lung": "lung",
    "Task09_Spleen": "spleen",
}


@pytest.mark.parametrize(("folder", "name"), DECATHLON.items())
def test_the_decathlon_without_apple_files_and_unlabelled_scans(tmp_path, folder, name):
    (collection,) = find_collections(msd(tmp_path / folder, name, 1, 12).parent)
    assert identifiers(collection) == [f"{name}_001", f"{name}_012"]
    assert collection.task.source == ("LiTS" if name == "liver" else f"MSD {folder}")


def test_the_decathlon_s_lits_is_split_as_published(tmp_path):
    """It was passed over without a word."""
    names = [f"liver_{number}.nii.gz" for number in range(131)]
    folder = tmp_path / "Task03_Liver"
    touch(folder, *(f"{part}/{name}" for part in ("imagesTr", "labelsTr") for name in names))
    (found,) = find_collections(None, named={"liver": folder})
    split = split_cases([found])
    assert (found.task, len(split)) == (task_named("liver"), 131)
    assert [*split.values()].count("test") == 27


def test_lits_is_not_taken_twice(tmp_path):
    lits(tmp_path / "LiTS", 1)
    touch(tmp_path, *(f"Task03_Liver/{part}/liver_1.nii.gz" for part in ("imagesTr", "labelsTr")))
    with pytest.raises(ValueError, match=r"liver collection lies in both .*LiTS and .*Task03"):
        find_collections(tmp_path)
    (found,) = find_collections(None, named={"liver": tmp_path / "Task03_Liver"})
    assert identifiers(found) == ["liver_1"]


def test_the_decathlon_has_the_classes_of_its_description_there(tmp_path):
    assert find_labelled(msd(tmp_path, "lung", 1)).classes == {"lung": (1,)}


def test_two_tasks_of_the_decathlon_in_one_folder_are_refused(tmp_path):
    msd(msd(tmp_path, "lung", 1), "colon", 1)
    with pytest.raises(ValueError, match="holds cases of colon and of lung; part them"):
        find_collections(tmp_path)


def test_other_tasks_are_left_alone(tmp_path):
    assert find_msd(msd(tmp_path, "prostate", 1)) is None


def test_nnu_nets_copy_is_read_and_not_both(tmp_path):
    copy = tmp_path / "Dataset009_Spleen"
    touch(copy, "imagesTr/spleen_10_0000.nii.gz", "labelsTr/spleen_10.nii.gz")
    (found,) = find_collections(tmp_path)
    assert (found.name, identifiers(found)) == ("spleen", ["spleen_10"])
    assert found.cases[0].images == (copy / "imagesTr/spleen_10_0000.nii.gz",)
    msd(tmp_path / "Task09_Spleen", "spleen", 10)
    with pytest.raises(ValueError, match=r"spleen collection lies in both .*Dataset009.*Task09"):
        find_collections(tmp_path)
    (named,) = find_collections(None, named={"spleen": copy})
    assert named.cases == found.cases
    touch(copy, "imagesTr/spleen_10.nii.gz")
    with pytest.raises(ValueError, match="are both spleen_10; keep one"):
        find_msd(copy)
