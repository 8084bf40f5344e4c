"""Plain folders: images and label maps of one name, and what is said of halves."""

import numpy as np
import pytest
from original_layouts import files_of, touch

from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.images.seg_nrrd import write_seg_nrrd
from mots_pretrained.images.volume import Volume


def test_plain(tmp_path):
    touch(tmp_path, "images/b.nii", "images/a_1.nii.gz", "labels/a_1.nii.gz", "labels/b.nii.gz")
    folder = find_labelled(tmp_path)
    assert [name for name, *_ in files_of(folder)] == ["a_1", "b"]
    assert folder.classes is None
    assert folder.channels is None


def test_several_files_of_a_case_are_channels(tmp_path):
    names = ("images/a_0001.nii", "images/a_0000.nii", "labels/a.nii")
    assert files_of(find_labelled(touch(tmp_path, *names))) == [
        ("a", ["a_0000.nii", "a_0001.nii"], "a.nii")
    ]


def test_a_label_map_without_an_image_is_named(tmp_path):
    """It was passed over without a word."""
    touch(tmp_path, "images/a.nii", "labels/a.nii", "labels/b.nii", "labels/c.nii")
    with pytest.warns(
        UserWarning, match=r"labels/b.nii has no image in .*images \(nor have 1 more"
    ):
        assert [name for name, *_ in files_of(find_labelled(tmp_path))] == ["a"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["images/a.nii", "labels/b.nii"], r"images/a.nii has no label"),
        (["images/notes.txt", "labels/a.nii"], r"holds no .nii"),
        (
            ["images/a.nii", "labels/a.nii", "labels/a.nii.gz"],
            "are both of a",
        ),
    ],
)
def test_faults_are_named(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        find_labelled(touch(tmp_path, *files))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("a_0000 a_0001 b_0000 b_0002", "holds b_0000.nii, b_0002.nii of one case and a_0000.nii"),
        ("a_0000 b_0001", "holds b_0001.nii of one case and a_0000.nii of another; every case"),
        ("a a_0000 b_0000 b_0001", "every case needs the same channels"),
        ("img1 image1", "image1.nii and .*img1.nii are both of 1; keep one of them"),
    ],
)
def test_another_channel_is_not_taken_for_the_one_that_is_missing(tmp_path, images, message):
    """Channel 2 of b was trained on as channel 1."""
    names = [f"images/{name}.nii" for name in images.split()]
    labels = [f"labels/{name}.nii" for name in ("a", "b", "1") if name in images]
    with pytest.raises(ValueError, match=message):
        find_labelled(touch(tmp_path, *names, *labels))


def test_a_scan_that_lies_there_packed_and_unpacked_is_no_scan_of_two_channels(tmp_path):
    files = [f"images/{name}" for name in ("a.nii", "a.nii.gz", "b.nii", "b.nii.gz")]
    with pytest.raises(ValueError, match=r"a.nii and .*a.nii.gz are both of a; keep"):
        find_labelled(touch(tmp_path, *files, "labels/a.nii", "labels/b.nii"))


def test_slicer_s_label_maps_must_number_their_segments_alike(tmp_path):
    """3D Slicer numbers them in each file anew; liver and spleen were trained on as one class."""
    labels = Volume.with_spacing(np.ones((4, 5, 6), np.uint8), (1.0, 1.0, 1.0))
    touch(tmp_path, "images/a.nii", "images/b.nii", "labels/x.txt")
    for name, segments in {"a": ("liver", "spleen"), "b": ("spleen", "liver")}.items():
        values = {segment: value for value, segment in enumerate(segments, start=1)}
        write_seg_nrrd(tmp_path / "labels" / f"{name}.seg.nrrd", labels.array, labels, values)
    with pytest.raises(ValueError, match="give its segments the same values in every file"):
        find_labelled(tmp_path)


def test_classes_are_called_as_3d_slicer_calls_the_segments(tmp_path):
    labels = Volume.with_spacing(np.ones((4, 5, 6), np.uint8), (1.0, 1.0, 1.0))
    touch(tmp_path, "images/a.nii", "images/b.nii", "labels/x.txt")
    for name, values in {"a": {"left kidney": 2, "liver": 1}, "b": {"liver": 1}}.items():
        write_seg_nrrd(tmp_path / "labels" / f"{name}.seg.nrrd", labels.array, labels, values)
    assert find_labelled(tmp_path).classes == {"liver": (1,), "left kidney": (2,)}
    assert list(find_labelled(tmp_path).classes) == ["liver", "left kidney"]
    touch(tmp_path, "images/c.nii", "labels/c.nii")  # may hold other values, which have no names
    assert find_labelled(tmp_path).classes is None
