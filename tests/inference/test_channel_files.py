"""Which files are a scan's channels: in the model's order, and one that is missing by its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from original_layouts import touch

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.inference.channel_files import check_complete, folder_scans, one_scan
from mots_pretrained.tasks import BRATS_MODALITIES

FLAIR_FIRST = ("flair", "t1w", "t1gd", "t2w")


def brats(root: Path, name: str = "A") -> Path:
    touch(root / name, *(f"{name}_{kind}.nii.gz" for kind in (*BRATS_MODALITIES, "seg")))
    return root / name


def files(scan) -> list[str]:
    return [path.name.removesuffix(".nii.gz") for path in scan.images]


def test_sequences_of_brats_come_in_the_models_order(tmp_path):
    brats(tmp_path)
    for channels, kinds in (
        (FLAIR_FIRST, "flair t1 t1ce t2"),
        (("T2-FLAIR", "T2w", "t1c", "t1n"), "flair t2 t1ce t1"),
        (BRATS_MODALITIES, "t1 t1ce t2 flair"),
        (4, "t1 t1ce t2 flair"),
        (1, "t1 t1ce t2 flair"),
    ):
        (scan,) = folder_scans(tmp_path, channels)
        assert (scan.name, files(scan)) == ("A", [f"A_{kind}" for kind in kinds.split()])


def test_other_channels_than_those_of_brats_are_refused(tmp_path):
    brats(tmp_path)
    for channels in (("ct",), ("t1", "t1ce", "t2"), ("t1", "t1ce", "t2", "dwi")):
        match = f"is of BraTS, whose channels are t1, t1ce, .* are {', '.join(channels)}: give"
        with pytest.raises(UserError, match=match):
            folder_scans(tmp_path, channels)


def test_channels_without_names_are_taken_for_those_of_brats_and_it_is_said(tmp_path):
    brats(tmp_path)
    numbered = tuple(f"channel_{number}" for number in range(4))
    with pytest.warns(UserWarning, match="does not name its channels; .* t1, t1ce, t2, flair"):
        (scan,) = folder_scans(tmp_path, numbered)
    assert files(scan) == ["A_t1", "A_t1ce", "A_t2", "A_flair"]


def test_the_folder_of_a_case_of_brats_is_one_scan(tmp_path):
    (scan,) = folder_scans(brats(tmp_path), FLAIR_FIRST)
    assert (scan.name, files(scan)) == ("A", ["A_flair", "A_t1", "A_t1ce", "A_t2"])
    assert len(folder_scans(tmp_path / "A", ("ct",))) == 5  # every file is a scan


@pytest.mark.parametrize("place", ["imagesTs", "."])
def test_numbered_channels_follow_the_names_of_a_dataset_json(tmp_path, place):
    named = {str(n): name for n, name in enumerate(BRATS_MODALITIES)}
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": named}))
    touch(tmp_path / place, *(f"a_{number:04d}.nii.gz" for number in range(4)), "whole.nii.gz")
    with pytest.warns(UserWarning, match=r"whole.nii.gz is read as flair, t1w, .* names t1, t1ce"):
        one, whole = folder_scans(tmp_path / place, FLAIR_FIRST)
    assert (files(one), files(whole)) == (["a_0003", "a_0000", "a_0001", "a_0002"], ["whole"])
    (tmp_path / place / "a_0003.nii.gz").unlink()
    (tmp_path / place / "whole.nii.gz").unlink()
    (one,) = folder_scans(tmp_path / place, FLAIR_FIRST)
    with pytest.raises(MissingFileError, match=r"^a lacks a_0003 \(flair\)$"):
        check_complete(one, FLAIR_FIRST)
    for damaged in ("[]", "{", '{"channel_names": {"0": "ct"}}'):
        (tmp_path / "dataset.json").write_text(damaged)
        assert files(folder_scans(tmp_path / place, FLAIR_FIRST)[0])[0] == "a_0000"


def test_a_channel_that_is_missing_or_too_many_leaves_one_scan(tmp_path):
    touch(tmp_path, "a_0000.nii", "a_0001.nii", "a_0003.nii")
    touch(tmp_path, *(f"b_{number:04d}.nii" for number in (0, 1, 2, 4)), "c_0001.nii.gz")
    lacking, more, last = folder_scans(tmp_path, ("t1", "t1ce", "t2"))
    assert [path.name for path in lacking.images] == [f"a_{n:04d}.nii" for n in range(4)]
    with pytest.raises(MissingFileError, match=r"^a lacks a_0002 \(t2\)$"):
        check_complete(lacking, ("t1", "t1ce", "t2"))
    assert [path.name for path in more.images] == [f"b_{n:04d}.nii" for n in (0, 1, 2, 4)]
    check_complete(more, ("t1", "t1ce", "t2"))  # it is refused by the number of its channels
    assert files(last) == ["c_0000", "c_0001", "c_0002"]


def test_files_that_are_named_after_other_channels_are_told(tmp_path, recwarn):
    touch(tmp_path, *(f"a_{kind}.nii.gz" for kind in ("t1", "t2", "flair", "T2-FLAIR")))
    given = [tmp_path / f"a_{kind}.nii.gz" for kind in ("t1", "t2")]
    for channels in (("t1", "t2"), ("T1w", "T2w"), ("channel_0", "channel_1"), ("ct", "pet"), 2):
        assert one_scan(given, channels).images == tuple(given)
    assert not recwarn
    for kind in ("flair", "T2-FLAIR"):
        with pytest.warns(UserWarning, match=f"a_{kind}.nii.gz is given as t2w; .* are t1, t2w"):
            one_scan([given[0], tmp_path / f"a_{kind}.nii.gz"], ("t1", "t2w"))


def test_a_channel_that_is_there_twice_is_named(tmp_path):
    touch(tmp_path, "a_0000.nii.gz", "a_0001.nii", "a_0001.nii.gz")
    with pytest.raises(UserError, match=r"a_0001.nii and .*a_0001.nii.gz are both a_0001; keep"):
        folder_scans(tmp_path, ("t1", "t2"))
    files = touch(tmp_path, *(f"{kind}/a_0000.nii.gz" for kind in ("t1", "t2")))
    given = [files / kind / "a_0000.nii.gz" for kind in ("t1", "t2")]
    assert one_scan(given, ("t1", "t2")).images == tuple(given)  # of two folders it is no case
