"""One case prepared: made once, again where its files changed, set aside where they are wrong."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from originals import FINE, LIVER, tree, write

from mots_pretrained.data.layouts import (
    CaseFiles,
    Collection,
)
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.prepare import prepare
from mots_pretrained.data.prepare_case import Job, prepare_case, prepared_before
from mots_pretrained.data.store import PREPARING_VERSION, PreparedSet, read_record, write_record
from mots_pretrained.images import nifti
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import write_like


def test_a_corrected_label_of_the_same_size_is_prepared_anew(tmp_path, livers):
    """Fault 7: files were known by name and size alone, and uncompressed ones keep their size."""
    out, label = tmp_path / "out", livers.folder / "a_label.nii"
    livers = replace(livers, cases=(replace(livers.cases[0], label=label), *livers.cases[1:]))
    labels = read_volume(livers.folder / "a_label.nii.gz")
    write_like(label, labels.array, labels)
    before, record = label.stat(), prepare([livers], out, FINE).records[0]
    write_like(label, labels.array.clip(0, 1), labels)  # the tumour was none
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert label.stat().st_size == before.st_size
    told = []
    again = prepare([livers], out, FINE, on_case=lambda *words: told.append(words))
    assert [name for *_, name, _ in told] == ["", "a"]
    assert (len(record.foreground), len(again.records[0].foreground)) == (2, 1)
    assert again.records[0].source.label_sha256 == hashlib.sha256(label.read_bytes()).hexdigest()
    prepare([livers], tmp_path / "fresh", FINE)
    assert tree(out) == tree(tmp_path / "fresh")


def test_files_that_were_only_touched_or_copied_are_not_prepared_again(
    tmp_path, livers, monkeypatch
):
    out = tmp_path / "out"
    prepare([livers], out, FINE)
    made = (out / "cases" / "b" / "image.b2nd").stat().st_mtime_ns
    for path in livers.folder.iterdir():
        os.utime(path, ns=(1, 12345))
    prepare([livers], out, FINE)
    assert (out / "cases" / "b" / "image.b2nd").stat().st_mtime_ns == made
    assert PreparedSet.open(out).records[1].source.mtimes_ns == (12345, 12345)
    monkeypatch.setattr(
        "mots_pretrained.data.prepare.prepare_case", None
    )  # the next run reads none
    prepare([livers], out, FINE)


def test_the_voxels_of_every_file_are_read_once(tmp_path, livers, monkeypatch):
    """Fault 39: the checksum took another pass over each file."""
    read, voxels = [], nifti._read_array
    monkeypatch.setattr(
        nifti, "_read_array", lambda path, *more: read.append(path) or voxels(path, *more)
    )
    monkeypatch.setattr("mots_pretrained.data.prepare_case._checksum", None)
    records = prepare([livers], tmp_path / "out", FINE).records
    assert sorted(read) == sorted(livers.folder.iterdir())
    for record in records:
        label = livers.folder / record.source.labels[0]
        assert record.source.label_sha256 == hashlib.sha256(label.read_bytes()).hexdigest()


@pytest.mark.parametrize("other", ["contract", "version", "targets"])
def test_a_record_of_another_preparation_does_not_count(tmp_path, livers, other):
    """Faults 6 and 7: neither contract nor version of the code stood in what was kept."""
    out = tmp_path / "out"
    record = prepare([livers], out, FINE).records[0]
    changed = {
        "contract": replace(record.contract, clip=(-100.0, 100.0)),
        "version": PREPARING_VERSION - 1,
        "targets": replace(record.targets, values=((1,), (2,))),
    }
    write_record(out / "cases" / "a", replace(record, **{other: changed[other]}))
    told = []
    prepare([livers], out, FINE, on_case=lambda *words: told.append(words))
    assert [name for *_, name, _ in told] == ["", "a"]
    prepare([livers], tmp_path / "fresh", FINE)
    assert tree(out) == tree(tmp_path / "fresh")


def job(livers: Collection, prepared: Path, number: int = 0, **changes: Any) -> Job:
    whole = Job(livers.cases[number], "liver", livers.folder, FINE.contract, prepared,
                Targets.of_task(LIVER), "liver")  # fmt: skip
    return replace(whole, **changes)


def test_only_a_lack_of_air_is_not_warned_of_in_what_was_said_to_be_ct(tmp_path, livers):
    path = livers.cases[0].images[0]
    before = read_volume(path)
    for low, high, told in ((-175, 250, 0), (-1024, -900, 1)):
        values = np.linspace(low, high, before.array.size).reshape(before.shape).astype(np.int16)
        write_like(path, values, before, dtype=np.int16)
        assert len(prepare_case(job(livers, tmp_path / f"{low}")).warnings) == 1
        found = prepare_case(job(livers, tmp_path / f"{low} said", is_ct=True))
        assert len(found.warnings) == told


def test_a_case_is_made_once_and_known_by_its_files(tmp_path, livers):
    one = job(livers, tmp_path / "out")
    assert prepared_before(one) is None
    done = prepare_case(one)
    assert (done.reason, done.warnings, done.record.identifier) == ("", (), "a")
    assert sorted(path.name for path in one.place.iterdir()) == [
        "case.json", "foreground.npy", "image.b2nd", "target.b2nd",
    ]  # fmt: skip
    made = (one.place / "image.b2nd").stat().st_mtime_ns
    assert prepared_before(one) == done.record
    os.utime(livers.folder / "a_image.nii.gz", ns=(1, 12345))
    assert prepared_before(one) is None
    again = prepare_case(one)
    assert again.record.source.mtimes_ns[0] == 12345
    assert prepared_before(one) == again.record
    assert (one.place / "image.b2nd").stat().st_mtime_ns == made


def test_a_case_is_of_the_collection_that_it_is_prepared_for(tmp_path, livers):
    """A folder `liver` that is none of LiTS stayed one where a training was resumed."""
    one = job(livers, tmp_path / "out")
    done = prepare_case(one)
    other = replace(one, collection="liver (folder)")
    found = prepared_before(other)
    assert found == replace(done.record, collection="liver (folder)")
    assert read_record(one.place) == found
    os.utime(livers.folder / "a_image.nii.gz", ns=(1, 12345))
    assert prepare_case(one).record.collection == "liver"


@pytest.mark.parametrize("changed", ["collection", "time"])
def test_a_record_that_may_not_be_written_costs_nothing_but_itself(
    tmp_path, livers, monkeypatch, changed
):
    """It ended `mots prepare`, or the case was taken for bad and its folder removed."""
    one = job(livers, tmp_path / "out")
    before = prepare_case(one).record
    there = tree(one.place)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "case.json")

    monkeypatch.setattr("mots_pretrained.data.prepare_case.write_record", refuse)
    told = f"cases in {one.prepared} may not be written; what changed of records is not kept"
    if changed == "collection":
        one = replace(one, collection="liver (folder)")
        with pytest.warns(UserWarning, match=re.escape(told)):
            assert prepared_before(one) == replace(before, collection="liver (folder)")
    else:
        os.utime(livers.folder / "a_image.nii.gz", ns=(1, 12345))
        done = prepare_case(one)
        assert (done.reason, done.warnings) == ("", (told,))
        assert done.record.source.mtimes_ns[0] == 12345
    assert tree(one.place) == there


def test_a_prepared_folder_that_may_not_be_written_costs_no_case(tmp_path, livers, monkeypatch):
    """The case was taken for bad, and what had been prepared of it was removed."""
    one = job(livers, tmp_path / "out")
    prepare_case(one)
    there = tree(one.place)
    image = read_volume(livers.cases[0].images[0])
    write_like(livers.cases[0].images[0], np.roll(image.array, 1), image, dtype=np.int16)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "cases")

    monkeypatch.setattr("mots_pretrained.data.prepare_case.replacing_folder", refuse)
    with pytest.raises(PermissionError):
        prepare_case(one)
    assert tree(one.place) == there


def test_a_fault_of_the_case_is_its_reason_without_the_machines_folders(tmp_path, livers):
    one = job(livers, tmp_path / "out")
    prepare_case(one)
    labels = np.zeros((6, 10, 16), np.uint8)
    labels[0, 0, 0] = 7
    write(livers.folder, "a", labels)
    done = prepare_case(one)
    assert done.record is None
    assert done.reason.startswith("a_label.nii.gz holds label value 7")
    assert not one.place.exists()  # what was made of the old files is gone


def test_a_fault_of_the_machine_is_raised_and_leaves_nothing(tmp_path, livers, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mots_pretrained.data.prepare_case.write_case", full)
    one = job(livers, tmp_path / "out")
    with pytest.raises(OSError, match="No space left"):
        prepare_case(one)
    assert [*one.place.parent.iterdir()] == []


def test_warnings_are_told_once_and_threads_given_back(tmp_path, livers):
    import torch

    array = np.random.default_rng(0).integers(0, 256, (6, 10, 16))
    write(livers.folder, "a", np.ones(array.shape, np.uint8), image=array)
    torch.set_num_threads(2)
    done = prepare_case(job(livers, tmp_path / "out"))
    assert torch.get_num_threads() == 2
    (told,) = done.warnings
    assert "does not look like a CT" in told


def test_files_of_a_case_are_images_first_then_the_masks_that_are_wanted(tmp_path, livers):
    masks = {name: tmp_path / f"{name}.nii.gz" for name in ("liver", "node", "spleen")}
    files = CaseFiles("a", (tmp_path / "t1.nii", tmp_path / "t2.nii"), masks=masks)
    one = job(livers, tmp_path / "out", files=files, targets=None)
    assert one.paths == files.images
    targets = Targets.of_classes({"spleen": (2,), "liver": (1,)})
    assert [p.name for p in replace(one, targets=targets).paths] == [
        "t1.nii", "t2.nii", "spleen.nii.gz", "liver.nii.gz",
    ]  # fmt: skip
    assert one.place.parent == tmp_path / "out" / "cases"


def test_a_corrected_label_whose_voxels_lie_apart_is_prepared_anew(tmp_path, livers):
    """Of a.mhd and a.raw the header alone was looked at, which a correction leaves as it is."""
    import SimpleITK as sitk  # noqa: N813

    out, label = tmp_path / "out", livers.folder / "a_label.mhd"
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    sitk.WriteImage(sitk.ReadImage(str(livers.folder / "a_label.nii.gz")), str(label))
    sitk.ProcessObject.SetGlobalWarningDisplay(True)
    case = replace(livers.cases[0], label=label)
    livers = replace(livers, cases=(case, *livers.cases[1:]))
    record, header = prepare([livers], out, FINE).records[0], label.stat()
    voxels = label.with_suffix(".raw")
    voxels.write_bytes(voxels.read_bytes().replace(b"\2", b"\1"))
    os.utime(voxels, ns=(header.st_atime_ns, header.st_mtime_ns + 10**9))
    again = prepare([livers], out, FINE).records[0]
    assert (len(record.foreground), len(again.foreground)) == (2, 1)
    assert label.stat() == header or label.stat().st_mtime_ns == header.st_mtime_ns
