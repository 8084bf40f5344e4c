"""What is left of a run in which scans fail, and what overlaps in one."""

from __future__ import annotations

import csv
import dataclasses
import errno
import sys
import threading
import weakref
from pathlib import Path

import pytest
import torch
from noise_scans import Fails, scan

from mots_pretrained.config import EncoderConfig
from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.inference.cohort import (
    check_sources,
    find_scans,
    segment_scans,
    write_results,
)
from mots_pretrained.inference.cohort_table import write_cohort
from mots_pretrained.inference.resume import part_of
from mots_pretrained.report.results import read_results

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


def test_earlier_results_of_a_scan_that_fails_no_longer_count(tmp_path):
    """The table still had its row, beside the list that said it had failed."""
    out = tmp_path / "out"
    paths = [scan(tmp_path / "in" / f"{name}.nii") for name in ("a", "b")]
    scans = find_scans([tmp_path / "in"], 1)
    write = lambda found, files: write_results(found, out, files=files.images)  # noqa: E731
    for failing in ([], ["b.nii"]):
        segment_scans(Predictor(Fails()), scans, write, output=out)
        with open(write_cohort(out), newline="") as file:
            rows = [row["scan"] for row in csv.DictReader(file)]
        assert rows == (["a"] if failing else ["a", "b"])
        assert [file.name for file in sorted(out.glob("*_seg.nii.gz"))] == [
            "a_seg.nii.gz", "b_seg.nii.gz",
        ]  # fmt: skip
        paths[1].write_bytes(paths[1].read_bytes()[:-100])
    assert (out / "failures.csv").read_text().splitlines()[1].startswith("b.nii,UserError,")
    assert (out / "a_volumes.json").is_file()
    assert [result.name for result in read_results(out)] == ["a"]
    other = scan(tmp_path / "else" / "b.nii")
    with pytest.raises(UserError, match="holds results of another scan called b"):
        check_sources(find_scans([other], 1), out)


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
