"""The seven collections found in their original layouts; every half and double named."""

import json
import os
import shutil
from pathlib import Path

import pytest
from original_layouts import identifiers, kits, lits, msd, touch

from mots_pretrained.data.layouts import LAYOUTS, find_bare, find_collections, find_labelled
from mots_pretrained.phantom import collections
from mots_pretrained.phantom.torso import torso
from mots_pretrained.tasks import MOTS_TASKS


@pytest.fixture(scope="module")
def look_alikes(tmp_path_factory):
    root = tmp_path_factory.mktemp("mots")
    drawn = torso(0, domain="liver", shape=(8, 16, 16))  # what is drawn makes no difference here
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collections, "torso", lambda *_, **__: drawn)
        collections.write_collection("mots", root, cases=2)
    return root


def test_the_look_alikes_are_found_as_they_lie(look_alikes):
    found = find_collections(look_alikes)
    assert [collection.name for collection in found] == [task.name for task in MOTS_TASKS]
    assert [collection.task for collection in found] == list(MOTS_TASKS)
    by_name = {collection.name: collection for collection in found}
    assert identifiers(by_name["liver"]) == ["liver_0", "liver_1"]
    assert identifiers(by_name["kidney"]) == ["kidney_00000", "kidney_00001"]
    assert identifiers(by_name["hepatic_vessel"]) == ["hepaticvessel_001", "hepaticvessel_002"]
    assert identifiers(by_name["spleen"]) == ["spleen_1", "spleen_2"]
    for entry in json.loads((look_alikes / "complete_labels/cases.json").read_text()):
        if entry["label"] is None:
            continue  # of imagesTs: no case
        files = [(*case.images, case.label) for case in by_name[entry["task"]].cases]
        assert (look_alikes / entry["images"][0], look_alikes / entry["label"]) in files
    assert all(path.is_relative_to(c.folder) for c in found for case in c.cases
               for path in (*case.images, case.label))  # fmt: skip


def test_collections_lie_at_the_root_or_up_to_two_levels_below(tmp_path):
    lits(tmp_path / "downloads" / "LiTS", 0, 27, batch="Training Batch 1")
    lits(tmp_path / "downloads" / "LiTS", 28, 130, batch="Training Batch 2")
    kits(tmp_path / "kits19" / "data", 0)
    msd(tmp_path / "renamed by hand", "lung", 1)
    found = find_collections(tmp_path)
    assert [collection.name for collection in found] == ["liver", "kidney", "lung"]
    assert identifiers(found[0]) == ["liver_0", "liver_27", "liver_28", "liver_130"]
    assert found[0].folder == tmp_path / "downloads" / "LiTS"
    assert [c.name for c in find_collections(tmp_path / "kits19" / "data")] == ["kidney"]


def test_named_collections_come_instead_of_those_below_the_root(tmp_path):
    root, other = lits(tmp_path / "root", 0), lits(tmp_path / "elsewhere", 7)
    kits(root, 1)
    found = find_collections(root, named={"liver": other})
    assert [identifiers(collection) for collection in found] == [["liver_7"], ["kidney_00001"]]
    alone = find_collections(None, named={"kidney": root})
    assert [collection.name for collection in alone] == ["kidney"]


def half_lits(root):
    (lits(root, 0, 1) / "segmentation-1.nii").unlink()


def half_lits_label(root):
    (lits(root, 0, 1) / "volume-1.nii").unlink()


def double_lits(root):
    lits(lits(root, 0, batch="a"), 0, batch="b")


def kits_without_images(root):
    touch(root, "case_00000/segmentation.nii.gz")


def kits_without_labels(root):
    touch(root, "case_00000/imaging.nii.gz")


def double_kits(root):
    kits(root / "one", 0), kits(root / "two", 0)


def msd_without_a_label(root):
    (msd(root, "colon", 1, 2) / "labelsTr/colon_002.nii.gz").unlink()


def msd_without_an_image(root):
    (msd(root, "colon", 1, 2) / "imagesTr/colon_002.nii.gz").unlink()


def msd_without_labels(root):
    shutil.rmtree(msd(root, "colon", 1) / "labelsTr")


def msd_without_a_listed_case(root):
    msd(root, "colon", 1, 2)
    for part in ("imagesTr", "labelsTr"):
        (root / part / "colon_002.nii.gz").unlink()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (half_lits, ValueError, r"volume-1.nii has no label map; unpack both"),
        (half_lits_label, ValueError, r"segmentation-1.nii has no image"),
        (double_lits, ValueError, r"a/segmentation-0.nii and .* are both liver_0; keep one"),
        (kits_without_images, ValueError, r"case_00000 has no imaging.nii.gz; fetch"),
        (kits_without_labels, ValueError, r"no case of .* has a segmentation.nii.gz"),
        (double_kits, ValueError, r"kidney collection lies in both .*one and .*two; .*--kidney"),
        (msd_without_a_label, ValueError, r"imagesTr/colon_002.nii.gz has no label map; unpack"),
        (msd_without_an_image, ValueError, r"labelsTr/colon_002.nii.gz has no image; unpack"),
        (msd_without_labels, FileNotFoundError, r"has no folder labelsTr; unpack"),
        (msd_without_a_listed_case, FileNotFoundError, r"lists .*colon_002.nii.gz"),
        (
            lambda root: root.mkdir(),
            FileNotFoundError,
            r"none of the seven .* looked for: .*volume",
        ),
        (lambda root: None, FileNotFoundError, r"no such folder"),
    ],
)
def test_faults_are_named(tmp_path, make, error, message):
    make(tmp_path / "root")
    with pytest.raises(error, match=message):
        find_collections(tmp_path / "root")


def test_a_wrong_name_or_an_empty_named_folder_is_told(tmp_path):
    with pytest.raises(KeyError, match="unknown task 'livre'; there are: liver, kidney"):
        find_collections(None, named={"livre": tmp_path})
    with pytest.raises(FileNotFoundError, match="does not hold the liver collection"):
        find_collections(None, named={"liver": tmp_path})


def test_kits_and_lits_have_the_classes_of_their_task_where_they_are_to_be_fine_tuned(tmp_path):
    touch(kits(tmp_path / "kits", 0), "case_00210/imaging.nii.gz")
    with pytest.warns(UserWarning, match="1 of 2 cases have no label map"):
        found = find_labelled(tmp_path / "kits")
    assert (identifiers(found), found.classes) == (
        ["kidney_00000"],
        {"kidney_tumour": (2,), "kidney": (1, 2)},
    )
    assert identifiers(find_labelled(lits(tmp_path / "lits", 3))) == ["liver_3"]


def test_a_folder_of_no_layout_and_a_missing_one_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_labelled(tmp_path / "none")
    with pytest.raises(ValueError, match="no labelled scans in a known layout") as caught:
        find_labelled(touch(tmp_path, "scans/a.nii"))
    assert all(layout.wanted in str(caught.value) for layout in LAYOUTS.values())


@pytest.mark.parametrize(
    "label",
    [
        "LiTS/segmentation-0.nii", "kits19/data/case_00000/segmentation.nii.gz",
        "Task07_Pancreas/labelsTr/p.nii.gz", "complete_labels/p.nii.gz", "p.seg.nrrd",
        "HGG/B_1/B_1_seg.nii.gz", "case/segmentations/aorta.nii.gz", "label/label0001.nii.gz",
        "case/combined_labels.nii.gz", "amos22/labelsVa/amos_0001.nii.gz",
        "WORD/labelsVal/word_0001.nii.gz", "ctorg/labels-0.nii.gz", "masks_Tr/p.nii.gz",
        "kits23/dataset/case_00000/instances/tumor_instance-1_annotation-2.nii.gz",
        "BraTS20_Training_355/W39_1998.09.19_Segm.nii", "p_labels.nii.gz", "case/mask.nii.gz",
    ],
)  # fmt: skip
def test_label_maps_are_no_scans_without_labels(tmp_path, label):
    touch(tmp_path, "imagesTr/p.nii.gz", label)
    with pytest.warns(UserWarning, match="1 of 2 files below .* are label maps by their names"):
        assert identifiers(find_bare(tmp_path)) == ["imagesTr/p.nii.gz"]


@pytest.mark.parametrize(
    "scan",
    ["labelled_ct.nii.gz", "labelled/ct.nii.gz", "masked/ct.nii.gz", "label_free_ct.nii.gz",
     "segments/ct.nii.gz", "unlabelled.nii.gz", "labels_and_images/ct.nii.gz"],
)  # fmt: skip
def test_a_scan_s_own_name_makes_it_no_label_map(tmp_path, scan):
    assert identifiers(find_bare(touch(tmp_path, scan))) == [scan]


def test_the_name_of_the_folder_that_is_given_says_nothing(tmp_path):
    assert identifiers(find_bare(touch(tmp_path / "segmentation", "ct.nii.gz"))) == ["ct.nii.gz"]


@pytest.fixture
def closed(monkeypatch):
    """Folders called lost+found that may not be read; to root everything may."""
    access, listed = os.access, Path.iterdir

    def iterdir(path):
        if "lost+found" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(
        os, "access", lambda path, mode: "lost+found" not in str(path) and access(path, mode)
    )
    monkeypatch.setattr(Path, "iterdir", iterdir)


CLOSED = r"^1 folder below .* may not be read and is left out, such as .*lost\+found$"


@pytest.mark.parametrize("make", [lits, kits])
def test_a_folder_that_may_not_be_read_stops_no_search_for_collections(tmp_path, closed, make):
    """lost+found of a whole disk ended check and prepare with Permission denied."""
    make(tmp_path / "data", 0)
    (tmp_path / "lost+found").mkdir()
    with pytest.warns(UserWarning, match=CLOSED) as told:
        (found,) = find_collections(tmp_path)
    assert (len(found.cases), len(told)) == (1, 1)
    with pytest.raises(PermissionError):
        find_collections(tmp_path / "lost+found")


@pytest.mark.parametrize(
    "files",
    [
        [f"BraTS20_1/BraTS20_1_{what}.nii" for what in ("t1", "t1ce", "t2", "flair", "seg")],
        ["s0001/ct.nii.gz", "s0001/segmentations/liver.nii.gz"],
        ["volume-0.nii", "segmentation-0.nii"],
    ],
)
def test_nor_for_labelled_scans(tmp_path, closed, files):
    touch(tmp_path, *files, "lost+found/secret.nii")
    with pytest.warns(UserWarning, match=CLOSED) as told:
        assert len(find_labelled(tmp_path).cases) == 1
    assert len(told) == 1


def test_nor_for_scans_without_labels(tmp_path, closed):
    touch(tmp_path, "a.nii", "b/lost+found/secret.nii", "b/c.nii")
    with pytest.warns(UserWarning, match=CLOSED):
        assert identifiers(find_bare(tmp_path)) == ["a.nii", "b/c.nii"]
    with pytest.raises(PermissionError):
        find_bare(tmp_path / "b" / "lost+found")


def test_scans_without_labels_are_found_at_any_depth(tmp_path):
    touch(tmp_path, "b.nii", "deep/er/a.NII.GZ", "._b.nii", ".cache/c.nii", "notes.txt")
    assert identifiers(find_bare(tmp_path)) == ["b.nii", "deep/er/a.NII.GZ"]
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_bare(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no scan at any depth.*no DICOM"):
        find_bare(tmp_path / "empty")
