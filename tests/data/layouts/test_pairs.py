"""Plain folders: images and label maps of one name, and what is said of halves."""

import pytest
from original_layouts import files_of, touch

from mots_pretrained.data.layouts import find_labelled


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
