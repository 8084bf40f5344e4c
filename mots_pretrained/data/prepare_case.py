"""From the files of one scan to a prepared case's folder (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import bring_to_contract, read_files
from mots_pretrained.data.layouts import CaseFiles
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.store import (
    PREPARING_VERSION,
    CaseRecord,
    Provenance,
    case_folder,
    read_record,
    same_contract,
    write_record,
)
from mots_pretrained.data.stored_case import checksums, write_case
from mots_pretrained.errors import UserError
from mots_pretrained.files import replacing_folder
from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.preprocess import NoAirWarning
from mots_pretrained.images.reading import read_channels, read_grid
from mots_pretrained.images.scan_files import data_file, parts
from mots_pretrained.images.volume import Volume


@dataclass(frozen=True)
class Job:
    """One case to prepare.

    Attributes:
        files: Where it lies.
        collection: Its collection's name.
        source: The collection's folder, to which the record's file names are relative.
        contract: What to bring it to.
        prepared: The prepared folder.
        targets: What its label values become; None for a scan without labels.
        task: Name of the task that its collection supervises, if any.
        is_ct: Whether somebody has said that it is CT, so that a lack of air needs no warning.
    """

    files: CaseFiles
    collection: str
    source: Path
    contract: Preprocessing
    prepared: Path
    targets: Targets | None = None
    task: str = ""
    is_ct: bool = False

    @property
    def place(self) -> Path:
        """The case's own folder in the prepared one."""
        return case_folder(self.prepared, self.files.name)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All its files, images first."""
        files, targets = self.files, self.targets
        if targets is None:
            return files.images
        if files.label is not None:
            return (*files.images, files.label)
        known = zip(targets.names, targets.known_classes, strict=True)
        names = [name for name, is_known in known if is_known and name in files.masks]
        return (*files.images, *(files.masks[name] for name in names))

    def files_told(self) -> Iterator[Path]:
        """Yield every file, and those of voxels that headers name, also where they are away."""
        for path in self.paths:
            yield path
            if os.access(path, os.R_OK) and (apart := data_file(path)) is not None:
                yield apart

    def stats(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return size and time of change of every file, as ``Provenance`` holds them."""
        found = [part.stat() for path in self.paths for part in parts(path)]
        return tuple(one.st_size for one in found), tuple(one.st_mtime_ns for one in found)

    def read_content(self) -> tuple[str, str]:
        """Return ``content_hash`` and ``label_sha256``, as ``Provenance`` would hold them."""
        images = self.files.images
        return content_hash(read_channels(images)), _checksum(self.paths[len(images) :])


@dataclass(frozen=True)
class Outcome:
    """What became of a case: its record, or the reason why it is set aside; and warnings."""

    record: CaseRecord | None
    reason: str = ""
    warnings: tuple[str, ...] = ()


def prepare_case(job: Job) -> Outcome:
    """Prepare one case; its folder appears whole or not at all, with the same bytes every time.

    A case that is there already, from files of the same checksums, is left as it is; so is one of
    files that cannot be read now, with a warning. What is wrong with the case is the outcome's
    reason. What is wrong with the machine (a full disk, say) is raised.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        if job.is_ct:
            warnings.simplefilter("ignore", NoAirWarning)
        try:
            if (record := _same_checksums(job)) is None:
                with _one_thread(), replacing_folder(job.place) as draft:
                    record = _write(job, draft)
        except (UserError, FileNotFoundError, PermissionError) as error:
            away = next((path for path in job.files_told() if not os.access(path, os.R_OK)), None)
            record = None if away is None else _of_files_away(job)
            if away is None and isinstance(error, PermissionError):
                raise  # the prepared folder may not be written
            if away is None:
                shutil.rmtree(job.place, ignore_errors=True)  # of other files than those there now
            if record is None:
                return Outcome(None, _relative(str(error), job), _told(caught))
            told = f"{away} cannot be read now; what was prepared of it stays"
            warnings.warn(_relative(told, job), stacklevel=2)
        _renew(job, record)
        return Outcome(record, warnings=_told(caught))


def prepared_before(job: Job) -> CaseRecord | None:
    """Return the record of a case that an earlier run has prepared from these very files.

    The files are known by name, size and time of change, so that no scan need be read again; what
    was prepared of them is, for damage is made good so. None if the case is to be looked at by
    `prepare_case`.
    """
    record = _same_preparation(job)
    if record is None or record.source.mtimes_ns != job.stats()[1]:
        return None
    _renew(job, record)
    return record


def _renew(job: Job, record: CaseRecord) -> None:
    """Write an earlier record that has changed; where it may not be written it is told."""
    if record == read_record(job.place):
        return
    try:
        write_record(job.place, record)
    except PermissionError:
        told = f"cases in {job.prepared} may not be written; what changed of records is not kept"
        warnings.warn(told, stacklevel=2)


def _same_preparation(job: Job) -> CaseRecord | None:
    """Return an earlier record of files of these names and sizes, brought to the same contract."""
    try:
        sizes, _ = job.stats()
    except OSError:
        return None
    record = _earlier(job)
    return record if record is not None and record.source.bytes == sizes else None


def _of_files_away(job: Job) -> CaseRecord | None:
    """Return an earlier record if the files that can be read are those that it was made of."""
    record = _earlier(job)
    if record is None:
        return None
    known = {*zip(record.source.bytes, record.source.mtimes_ns, strict=True)}
    there = (path.stat() for path in job.files_told() if os.access(path, os.R_OK))
    is_same = all((one.st_size, one.st_mtime_ns) in known for one in there)
    return record if is_same else None


def _earlier(job: Job) -> CaseRecord | None:
    """Return an earlier record of files of these names, brought to the same contract.

    Its collection and task are the job's: earlier versions may have called them otherwise.
    """
    try:
        record = read_record(job.place)
        if record.sums and record.sums != checksums(job.place):
            return None
    except (OSError, ValueError):
        return None
    same = (
        record.version == PREPARING_VERSION
        and record.targets == job.targets
        and same_contract(record.contract, job.contract)
        and (record.source.images, record.source.labels) == _names(job)
    )
    if not same:
        return None
    return dataclasses.replace(record, collection=job.collection, task=job.task)


def _same_checksums(job: Job) -> CaseRecord | None:
    """Return an earlier record of files of another time but the same content, with their times."""
    record = _same_preparation(job)
    if record is None:
        return None
    source, count = record.source, len(job.files.images)
    _, times = job.stats()  # before reading: a change meanwhile is seen by the next run
    found = _checksum(job.paths[:count]), _checksum(job.paths[count:])
    if found != (source.image_sha256, source.label_sha256):
        return None
    return dataclasses.replace(record, source=dataclasses.replace(source, mtimes_ns=times))


def _write(job: Job, draft: Path) -> CaseRecord:
    """Write image, target, foreground and record of a case into a folder that is there."""
    sizes, times = job.stats()  # before reading: a change meanwhile is seen by the next run
    files = job.files
    digests = hashlib.sha256(), hashlib.sha256()
    volume, labels = read_files(files, job.targets, channels=job.contract.channels, digests=digests)
    case = bring_to_contract(volume, labels, job.contract, job.targets, name=files.name)
    step, foreground = write_case(draft, case)
    depth, height, width = (
        size * spacing / now
        for size, spacing, now in zip(volume.shape, volume.spacing, case.shape, strict=True)
    )
    record = CaseRecord(
        identifier=files.name,
        collection=job.collection,
        task=job.task,
        contract=job.contract,
        targets=job.targets,
        version=PREPARING_VERSION,
        shape=case.shape,
        spacing=(depth, height, width),
        labelled=case.labelled,
        step=step,
        foreground=foreground,
        source=_provenance(job, volume, sizes, times, digests),
        sums=checksums(draft),
    )
    write_record(draft, record)
    return record


def _provenance(
    job: Job,
    volume: Volume,
    sizes: tuple[int, ...],
    times: tuple[int, ...],
    digests: tuple[Any, Any],
) -> Provenance:
    import nibabel as nib

    shape, affine = read_grid(job.files.images[0])
    width, height, depth = (float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    images, labels = _names(job)
    return Provenance(
        images=images,
        labels=labels,
        image_sha256=digests[0].hexdigest(),
        label_sha256=digests[1].hexdigest() if labels else "",
        bytes=sizes,
        mtimes_ns=times,
        content_hash=content_hash(volume),
        shape=(shape[0], shape[1], shape[2]),
        spacing=(width, height, depth),
        orientation="".join(nib.aff2axcodes(affine)),
        affine=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in affine),
    )


def _names(job: Job) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name the files relative to their collection: the record says nothing of the machine."""
    names = tuple(Path(os.path.relpath(path, job.source)).as_posix() for path in job.paths)
    return names[: len(job.files.images)], names[len(job.files.images) :]


def _checksum(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of some files one after the other; "" of none."""
    digest = hashlib.sha256()
    for part in (part for path in paths for part in parts(path)):
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest() if paths else ""


def _relative(reason: str, job: Job) -> str:
    return reason.replace(f"{job.source}{os.sep}", "")


def _told(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(warning.message) for warning in caught))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let arithmetic run on one thread: sums then have one order, and workers one core each."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
