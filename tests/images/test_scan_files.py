"""What a path holds and is called, by its name or else by its content."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_series import voxels, write_series

from mots_pretrained.errors import MissingFileError
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.scan_files import kind_of, list_volumes, stem, visible_files


@pytest.mark.parametrize(
    ("name", "kind"),
    {
        "ct.nii": "NIfTI", "CT.NII.GZ": "NIfTI", "ct.nrrd": "ITK", "ct.seg.nrrd": "ITK",
        "ct.MHA": "ITK", "ct.zip": "DICOM", "notes.txt": "NIfTI", "ct.gz": "NIfTI",
    }.items(),
)  # fmt: skip
def test_endings_say_what_a_file_holds(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).touch()
    assert kind_of(tmp_path / name) == kind


def test_folders_and_files_without_an_ending_may_be_dicom(tmp_path: Path) -> None:
    (tmp_path / "a.nii").mkdir()
    assert kind_of(tmp_path / "a.nii") == "DICOM"
    (file, _) = write_series(tmp_path / "ct", voxels((2, 4, 4)), names=lambda k: f"IM{k}")
    assert kind_of(file) == "DICOM"
    file.write_bytes(b"no DICOM" * 40)
    assert kind_of(file) == "NIfTI"  # whose reader says what is wrong with it
    with pytest.raises(MissingFileError, match=r"no such file: \S+none; give an existing \.nii"):
        kind_of(tmp_path / "none")


def test_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: nowhere/ct\.nii\.gz; give"):
        read_volume("nowhere/ct.nii.gz")


def test_volumes_are_listed_once_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    for name in ("b.nii", "a.NII.GZ", "._a.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "dicom.nii").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "c.nii").touch()
    assert [path.name for path in visible_files(tmp_path)] == ["a.NII.GZ", "b.nii", "notes.txt"]
    assert [path.name for path in list_volumes(tmp_path)] == ["a.NII.GZ", "b.nii"]


def test_stem_drops_both_suffixes(tmp_path: Path) -> None:
    assert [stem(x) for x in ("a/ct.nii.gz", "ct.v2.nii", "CT.NII.GZ")] == ["ct", "ct.v2", "CT"]
    assert [stem(x) for x in ("a.seg.nrrd", "b.zip", "c.dcm")] == ["a", "b", "c"]
    (tmp_path / "series.v2").mkdir()
    assert stem(tmp_path / "series.v2") == "series.v2"  # a folder has no ending
