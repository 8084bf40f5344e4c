"""Which files make up the scans of a folder, and what is left of a run in which some fail."""

from __future__ import annotations

import csv
import dataclasses
import errno
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from mots_pretrained.config import EncoderConfig, ModelConfig, Preprocessing
from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.files import LOCK
from mots_pretrained.images.scan_files import stem
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.inference import Predictor
from mots_pretrained.inference.cohort import (
    check_places,
    check_sources,
    find_scans,
    segment_scans,
    write_results,
)
from mots_pretrained.inference.failures import Failure
from mots_pretrained.inference.resume import part_of


def scan(path: Path, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(0).normal(0, 300, (channels, 6, 7, 8)).astype(np.int16)
    array[..., 0] = -1000
    volume = Volume.with_spacing(array if channels > 1 else array[0], (4.0, 3.0, 3.0))
    write_like(path, volume.array, volume, dtype=np.int16)
    return path


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
    for given, output, message in (
        ([tmp_path / "no.nii"], "out", "no such file"),
        ([folder], folder, "holds the scans; give another folder"),
        ([folder], folder / "ct.nii.gz", "is a file; give a folder for the results"),
        ([folder, folder], "out", "give one folder, or files only"),
        ([tmp_path], "out", r"holds no \.nii or \.nii\.gz file"),
    ):
        with pytest.raises(UserError, match=message):
            check_places(given, output)
    with pytest.raises(MissingFileError):
        find_scans([tmp_path / "no.nii"], 1)
    scan(folder / "CT.nii")
    with pytest.raises(UserError, match=r"CT\.nii and ct\.nii\.gz, whose results would be one"):
        find_scans([folder], 1)


class Fails(torch.nn.Module):
    """Segments, but for scans of some depths, for which it raises what machines raise."""

    config = ModelConfig(
        architecture="segmenter",
        classes=("organ",),
        encoder=EncoderConfig(in_channels=1),
        preprocessing=Preprocessing(spacing=(4, 3, 3), window=(8, 8, 8), patch=(8, 8, 8)),
    )
    error: Exception | None = None

    def forward(self, image):
        if self.error is not None:
            raise self.error
        return torch.cat([-image, image], dim=1)


ERRORS = {
    "memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
    "host": MemoryError(),
    "permission": PermissionError(errno.EACCES, "Permission denied", "secret.nii.gz"),
    "disk": OSError(errno.ENOSPC, "No space left on device", "out.nii.gz"),
    "bug": ZeroDivisionError("division by zero"),
}


def test_every_failure_is_listed_and_the_others_go_on(tmp_path):
    names = ["a", *ERRORS, "empty", "z"]
    for name in names:
        scan(tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "empty.nii.gz").write_bytes(b"")
    net, out = Fails(), tmp_path / "out"
    predictor = Predictor(net)

    def windows(name):
        net.error = ERRORS.get(name)
        return lambda done, count: None

    told = []
    scans = find_scans([tmp_path / "in"], 1)
    reports, failures = segment_scans(
        predictor, scans, lambda found, files: write_results(found, out),
        output=out, on_window=windows, on_scan=told.append,
    )  # fmt: skip
    assert [report["scan"] for report in reports] == ["a", "z"]
    assert len(told) == len(names)
    with open(out / "failures.csv", newline="") as file:
        rows = {row["file"]: (row["kind"], row["reason"]) for row in csv.DictReader(file)}
    assert rows == {f.file: (f.kind, f.reason) for f in failures}
    assert rows["memory.nii.gz"] == (
        "OutOfMemoryError", "CUDA out of memory. Tried to allocate 20 GiB",
    )  # fmt: skip
    assert rows["host.nii.gz"] == ("MemoryError", "MemoryError")
    assert rows["permission.nii.gz"] == ("PermissionError", "Permission denied: secret.nii.gz")
    assert rows["disk.nii.gz"] == ("OSError", "No space left on device: out.nii.gz")
    assert rows["bug.nii.gz"] == ("ZeroDivisionError", "division by zero")
    assert rows["empty.nii.gz"][0] == "UserError"
    assert "is empty (0 bytes)" in rows["empty.nii.gz"][1]

    # another run replaces the rows of its own scans, and only those
    net.error = None
    write = lambda found, files: write_results(found, out)  # noqa: E731
    segment_scans(predictor, [s for s in scans if s.name != "empty"], write, output=out)
    assert (out / "failures.csv").read_text().splitlines()[1].startswith("empty.nii.gz,UserError,")
    scan(tmp_path / "in" / "empty.nii.gz")
    segment_scans(predictor, scans, write, output=out)
    assert not (out / "failures.csv").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is bounded on Linux only")
def test_with_bounded_memory_scans_come_one_after_the_other(tmp_path):
    """And one that is too large for the bound is listed like any other failure."""
    names, seen = ("a", "b", "z"), []

    class Told(Predictor):
        def prepare(self, scan):
            seen.append("read")
            return super().prepare(scan)

    def write(found, files):
        seen.append("write")
        return write_results(found, tmp_path / "out")

    for name in names:
        scan(tmp_path / "in" / f"{name}.nii.gz")
    predictor, scans = Told(Fails(), max_ram=9), find_scans([tmp_path / "in"], 1)
    reports, failures = segment_scans(predictor, scans, write, output=tmp_path / "out")
    assert [report["scan"] for report in reports] == ["a", "b", "z"]
    assert seen == ["read", "write"] * 3
    predictor.bound = dataclasses.replace(predictor.bound, limit=1e6)
    reports, failures = segment_scans(predictor, scans[:1], write, output=tmp_path / "out")
    assert reports == []
    assert "a needs at least" in failures[0].reason


def test_a_single_scan_raises_what_failed(tmp_path):
    net = Fails()
    net.error = ERRORS["permission"]
    scans = find_scans([scan(tmp_path / "ct.nii.gz")], 1)
    with pytest.raises(PermissionError):
        segment_scans(Predictor(net), scans, lambda found, files: {})


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


def test_a_file_that_may_not_be_read_is_named_by_the_system_s_error(tmp_path, monkeypatch):
    for name in ("a", "secret"):
        scan(tmp_path / "in" / f"{name}.nii.gz")
    opened = Path.open

    def guarded(path, *words, **options):
        if path.name == "secret.nii.gz":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *words, **options)

    monkeypatch.setattr(Path, "open", guarded)
    out = tmp_path / "out"
    reports, failures = segment_scans(
        Predictor(Fails()), find_scans([tmp_path / "in"], 1),
        lambda found, files: write_results(found, out), output=out,
    )  # fmt: skip
    assert [report["scan"] for report in reports] == ["a"]
    assert failures[0][:2] == ("secret.nii.gz", "PermissionError")
    assert "Permission denied" in failures[0].reason


def test_reading_network_and_writing_overlap(tmp_path):
    """The second scan is read, and the first written, before the network is done with its own."""
    for name in "abc":
        scan(tmp_path / "in" / f"{name}.nii.gz")
    read_next, written = threading.Event(), threading.Event()

    class Waits(Predictor):
        def prepare(self, volume):
            if volume.name == "b":
                read_next.set()
            return super().prepare(volume)

        def segment(self, volume, image, *, on_window=None):
            if volume.name == "a":
                assert read_next.wait(30)
            if volume.name == "b":
                assert written.wait(30)
            return super().segment(volume, image, on_window=on_window)

    def write(found, of):
        assert found.volume.name == of.name
        if of.name == "a":
            written.set()
        return {"scan": of.name}

    scans = find_scans([tmp_path / "in"], 1)
    reports, failures = segment_scans(Waits(Fails()), scans, write, output=tmp_path / "out")
    assert failures == []
    assert [report["scan"] for report in reports] == ["a", "b", "c"]


def test_at_most_three_scans_are_in_memory(tmp_path):
    for number in range(8):
        scan(tmp_path / "in" / f"{number}.nii.gz")
    alive: weakref.WeakSet[Volume] = weakref.WeakSet()
    most = []

    class Counts(Predictor):
        def prepare(self, volume):
            read, image = super().prepare(volume)
            alive.add(read)
            return read, image

        def segment(self, volume, image, *, on_window=None):
            most.append(len(alive))
            return super().segment(volume, image, on_window=on_window)

    segment_scans(
        Counts(Fails()), find_scans([tmp_path / "in"], 1), lambda found, of: {"scan": of.name},
        output=tmp_path / "out",
    )  # fmt: skip
    assert len(most) == 8
    assert max(most) <= 3


def test_lists_of_failures_of_several_machines_become_one(tmp_path):
    for name in "abcd":
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.nii.gz").write_bytes(b"")
    scans = find_scans([tmp_path / "in"], 1)
    threads = [
        threading.Thread(
            target=segment_scans,
            args=(Predictor(Fails()), part_of(scans, f"{k}/2"), lambda found, of: {}),
            kwargs={"output": tmp_path / "out"},
        )
        for k in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(tmp_path / "out" / "failures.csv", newline="") as file:
        assert [row["file"][0] for row in csv.DictReader(file)] == ["a", "b", "c", "d"]


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


def test_a_missing_or_surplus_channel_fails_by_name_and_the_others_go_on(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000", "c_0000", "c_0001", "c_0002"):
        scan(tmp_path / "in" / f"{name}.nii.gz")
    config = Fails.config
    contract = dataclasses.replace(config.preprocessing, channels=("t1", "t2"), intensity="zscore")
    net = Fails()
    net.config = dataclasses.replace(
        config, encoder=EncoderConfig(in_channels=2), preprocessing=contract
    )
    net.forward = lambda image: image
    out = tmp_path / "out"
    reports, failures = segment_scans(
        Predictor(net), find_scans([tmp_path / "in"], contract.channels),
        lambda found, files: {"scan": files.name}, output=out,
    )  # fmt: skip
    assert [report["scan"] for report in reports] == ["a"]
    assert (out / "failures.csv").read_text().splitlines()[1:] == [
        "b_0000.nii.gz,MissingFileError,b lacks b_0001 (t2)",
        'c_0000.nii.gz,UserError,"c has 3 channels, the model expects 2 channels (t1, t2); give '
        'one file a channel in that order, or one 4D file"',
    ]
    assert [failure.file for failure in failures] == ["b_0000.nii.gz", "c_0000.nii.gz"]


def test_failed_series_whose_folders_have_one_name_are_told_apart(tmp_path):
    """The row of p1/DICOM went when p2/DICOM was tried again."""
    scans = [CaseFiles(p, (tmp_path / p / "DICOM",), series="1") for p in ("p1", "p2")]
    for some in (scans, scans[1:]):
        segment_scans(Predictor(Fails()), some, lambda found, of: {}, output=tmp_path)
        with open(tmp_path / "failures.csv", newline="") as file:
            assert [row["file"] for row in csv.DictReader(file)] == ["p1", "p2"]
