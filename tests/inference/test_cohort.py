"""Which files make up the scans of a folder, and what is left of a run in which some fail."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_series import voxels, write_series
from noise_scans import Fails, scan

from mots_pretrained.config import EncoderConfig
from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.files import LOCK
from mots_pretrained.images.scan_files import stem
from mots_pretrained.inference import Predictor
from mots_pretrained.inference.cohort import (
    check_places,
    check_sources,
    find_scans,
    segment_scans,
    write_results,
)
from mots_pretrained.inference.failures import Failure


def named(folder: Path, names: str, channels: int) -> dict[str, list[str]]:
    for name in names.split():
        scan(folder / f"{name}.nii.gz")
    return {s.name: [p.name[:-7] for p in s.images] for s in find_scans([folder], channels)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("amos_0001 amos_0002 amos_0003", "amos_0001 amos_0002 amos_0003"),
        ("scan_0000 scan_0001", "scan_0000 scan_0001"),
        ("a_0000 a_0001 b_0000 b_0001", "a_0000 a_0001 b_0000 b_0001"),
        ("a_0000 b_0000", "a b"),
        ("amos_0001_0000 amos_0002_0000", "amos_0001 amos_0002"),
        ("a_0000 ct", "a_0000 ct"),
        ("0000 0001", "0000 0001"),
        ("a_0000", "a"),
        ("img0001 img0002", "img0001 img0002"),
    ],
)
def test_a_file_is_a_scan_for_a_model_of_one_channel(tmp_path, names, expected):
    assert list(named(tmp_path, names, 1)) == expected.split()


def test_groups_are_scans_for_a_model_of_several_channels(tmp_path):
    found = named(tmp_path, "a_0000 a_0001 b_0001 b_0000 lone d_0000 e_0000 e_0001 e_0002", 2)
    assert found == {
        "a": ["a_0000", "a_0001"],
        "b": ["b_0000", "b_0001"],
        "lone": ["lone"],
        "d": ["d_0000", "d_0001"],  # which is not there
        "e": ["e_0000", "e_0001", "e_0002"],
    }


def test_numbered_files_that_hold_all_channels_are_scans_each(tmp_path):
    for number in range(2):
        scan(tmp_path / f"case_{number:04d}.nii.gz", channels=2)
    assert [s.name for s in find_scans([tmp_path], 2)] == ["case_0000", "case_0001"]


def test_files_given_one_by_one_are_named_as_in_their_folder(tmp_path):
    files = [scan(tmp_path / f"{name}_0000.nii.gz") for name in "ab"]
    assert find_scans(files[:1], 1)[0].name == "a"
    scan(tmp_path / "a_0001.nii.gz")
    assert find_scans(files[:1], 1)[0].name == "a_0000"
    both = [tmp_path / "a_0000.nii.gz", tmp_path / "a_0001.nii.gz"]
    assert find_scans(both, 2) == [CaseFiles("a", tuple(both))]
    assert find_scans(both[::-1], 2) == [
        CaseFiles("a", tuple(both[::-1]))
    ]  # the order given counts
    assert find_scans(files, 2)[0].name == "a_0000"  # channels of two cases are no case


def test_places_that_cannot_be_are_refused(tmp_path):
    folder = scan(tmp_path / "in" / "ct.nii.gz").parent
    (tmp_path / "empty").mkdir()
    for given, output, message in (
        ([tmp_path / "no.nii"], "out", "no such file"),
        ([folder], folder, "holds the scans; give another folder"),
        ([folder], folder / "ct.nii.gz", "is a file; give a folder for the results"),
        ([folder, folder], "out", "give one folder, or files only"),
        ([tmp_path / "empty"], "out", r"holds no \.nii or \.nii\.gz file"),
    ):
        with pytest.raises(UserError, match=message):
            check_places(given, output)
    with pytest.raises(MissingFileError):
        find_scans([tmp_path / "no.nii"], 1)
    scan(folder / "CT.nii")
    with pytest.raises(UserError, match=r"CT\.nii and ct\.nii\.gz, whose results would be one"):
        find_scans([folder], 1)


@pytest.mark.parametrize("length", [247, 255])
def test_a_name_as_long_as_can_be_ends_no_run(tmp_path, length):
    long = "x" * (length - 7)
    for name in ("a", long, "z"):
        scan(tmp_path / "in" / f"{name}.nii.gz")
    out = tmp_path / "out"
    reports, failures = segment_scans(
        Predictor(Fails()), find_scans([tmp_path / "in"], 1),
        lambda found, files: write_results(found, out, masks=True), output=out,
    )  # fmt: skip
    assert [r["scan"] for r in reports] == (["a", long, "z"] if length == 247 else ["a", "z"])
    assert [f.kind for f in failures] == ([] if length == 247 else ["OSError"])
    assert {p.name for p in out.iterdir() if p.name.startswith(".")} <= {LOCK}


def test_a_scan_is_called_after_its_case(tmp_path):
    config = dataclasses.replace(
        Fails.config,
        encoder=EncoderConfig(in_channels=2),
        preprocessing=dataclasses.replace(Fails.config.preprocessing, channels=("a", "b")),
    )

    class Two(Fails):
        def forward(self, image):
            return image

    net = Two()
    net.config = config
    for channel in range(2):
        scan(tmp_path / "in" / f"case_{channel:04d}.nii.gz")
    reports, _ = segment_scans(
        Predictor(net), find_scans([tmp_path / "in"], 2),
        lambda found, files: write_results(found, tmp_path / "out", files=files.images),
    )  # fmt: skip
    assert [report["scan"] for report in reports] == ["case"]
    assert (tmp_path / "out" / "case_seg.nii.gz").is_file()
    assert Failure._fields == ("file", "kind", "reason")


def test_a_scan_of_the_same_name_from_elsewhere_does_not_replace_the_first(tmp_path):
    for folder in ("one", "two"):
        scan(tmp_path / folder / "ct.nii.gz")
    first, second = (find_scans([tmp_path / folder / "ct.nii.gz"], 1) for folder in ("one", "two"))
    out = tmp_path / "out"
    check_sources(first, out)
    write = lambda found, files: write_results(found, out, files=files.images)  # noqa: E731
    segment_scans(Predictor(Fails()), first, write)
    check_sources(first, out)  # again is no other
    with pytest.raises(UserError, match=r"results of another scan called ct \(.*one.ct\.nii\.gz\)"):
        check_sources(second, out)
    moved = tmp_path.with_name(tmp_path.name + "_moved")
    tmp_path.rename(moved)
    check_sources(find_scans([moved / "one" / "ct.nii.gz"], 1), moved / "out")


def test_a_link_is_called_by_its_own_name(tmp_path):
    """b was called a, since both lead to one file; its results would have been a's."""
    real = scan(tmp_path / "store" / "7f3a.nii.gz")
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.nii.gz").symlink_to(real)
    assert find_scans([tmp_path / "in" / "b.nii.gz"], 1)[0].name == "b"
    (tmp_path / "patient").symlink_to(tmp_path / "store", target_is_directory=True)
    assert stem(tmp_path / "patient") == "patient"


def test_channels_that_are_stored_with_a_fourth_axis_of_one_are_joined(tmp_path):
    import nibabel as nib

    for number in range(2):
        plain = nib.load(scan(tmp_path / f"case_{number:04d}.nii.gz"))
        array = np.asarray(plain.dataobj)[..., None]
        nib.save(nib.Nifti1Image(array, plain.affine), tmp_path / f"case_{number:04d}.nii.gz")
    assert [(s.name, len(s.images)) for s in find_scans([tmp_path], 2)] == [("case", 2)]


def test_what_lies_in_sub_folders_is_never_passed_over_in_silence(tmp_path: Path) -> None:
    """A stray file hid a tree of DICOM, and files in sub-folders were refused unsaid."""
    scan(tmp_path / "in" / "p1" / "ct.nii.gz")
    scan(tmp_path / "in" / "p1" / "ct_seg.nii.gz")
    not_taken = (
        r"no scan itself, and files of its sub-folders are not taken, such as \S+ct\.nii\.gz"
    )
    with pytest.raises(UserError, match=not_taken):
        find_scans([tmp_path / "in"], 1)
    write_series(tmp_path / "in" / "p2", voxels())
    below = r"files of sub-folders, such as \S+p1/ct\.nii\.gz \(1 in all\): give"
    with pytest.warns(UserWarning, match=f"holds DICOM, .* passed over are {below}"):
        assert [one.name for one in find_scans([tmp_path / "in"], 1)] == ["p2"]
    scan(tmp_path / "in" / "stray.nii.gz")
    both = rf"passed over are DICOM and zips, such as \S+p2/000\.dcm, and {below}"
    with pytest.warns(UserWarning, match=f"holds files of its own, .* {both}"):
        assert [one.name for one in find_scans([tmp_path / "in"], 1)] == ["stray"]
    check_places([tmp_path / "in"], "out")  # which leaves it to find_scans to warn
    shutil.rmtree(tmp_path / "in" / "p2")
    with pytest.warns(UserWarning, match=f"passed over are {below}"):
        find_scans([tmp_path / "in"], 1)
    shutil.rmtree(tmp_path / "in" / "p1")
    scan(tmp_path / "in" / "out" / "stray_seg.nii.gz")  # results that lie there are no scans
    scan(tmp_path / "in" / "out" / "stray_masks" / "liver.nii.gz")
    scan(tmp_path / "in" / "named" / "stray.nii.gz")  # as nnU-Net's names are
    (tmp_path / "in" / "named" / "stray_volumes.json").write_text("{}")
    find_scans([tmp_path / "in"], 1)
