"""From one original scan and label map to a prepared case's folder (Sec. 4.1)."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.partial_labels import partial_labels
from mots_pretrained.data.patches import Case
from mots_pretrained.data.store import (
    CaseRecord,
    Provenance,
    case_folder,
    read_record,
    write_record,
)
from mots_pretrained.data.stored_case import write_case
from mots_pretrained.errors import UserError
from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.nifti import read_grid
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.resample import resample_labels
from mots_pretrained.images.volume import SAME_GRID, Volume, read_volume
from mots_pretrained.tasks import Task


@dataclass(frozen=True)
class Job:
    """One case to prepare.

    Attributes:
        identifier: The case's name, and its folder's.
        collection: Its collection's name.
        task: What the collection supervises.
        source: The collection's folder.
        image: The scan.
        label: Its label map.
        contract: What to bring it to.
        prepared: The prepared folder.
    """

    identifier: str
    collection: str
    task: Task
    source: Path
    image: Path
    label: Path
    contract: Preprocessing
    prepared: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a case: its record, or the reason why it is set aside; and warnings."""

    record: CaseRecord | None
    reason: str = ""
    warnings: tuple[str, ...] = ()


def prepare_case(job: Job) -> Outcome:
    """Prepare one case; its folder appears whole or not at all, with the same bytes every time.

    What is wrong with the case is the outcome's reason. What is wrong with the machine (a full
    disk, say) is raised.
    """
    place = case_folder(job.prepared, job.identifier)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            with _one_thread():
                record = _write(job, draft)
        except (ValueError, FileNotFoundError, PermissionError) as error:
            shutil.rmtree(draft)
            shutil.rmtree(place, ignore_errors=True)  # made of other files than those there now
            return Outcome(None, _relative(str(error), job), _told(caught))
    if place.exists():
        shutil.rmtree(place)
    draft.rename(place)
    return Outcome(record, warnings=_told(caught))


def prepared_before(job: Job) -> CaseRecord | None:
    """Return the record of a case that an earlier run has prepared from these very files.

    The files are known by name and size, so that nothing need be read again; None if the case is
    to be prepared (again).
    """
    place = case_folder(job.prepared, job.identifier)
    try:
        record = read_record(place)
        sizes = job.image.stat().st_size, job.label.stat().st_size
    except (OSError, ValueError):
        return None
    source = record.source
    found = (source.image, source.label, source.image_bytes, source.label_bytes)
    same = found == (_below(job.image, job), _below(job.label, job), *sizes)
    return record if same and record.labelled == job.task.labelled else None


def _write(job: Job, draft: Path) -> CaseRecord:
    """Write image, target, foreground and record of a case into a folder that is there."""
    volume = read_volume(job.image)
    case = _bring_to_contract(volume, _read_labels(job, volume), job)
    step, foreground = write_case(draft, case)
    depth, height, width = (
        size * spacing / now
        for size, spacing, now in zip(volume.shape, volume.spacing, case.shape, strict=True)
    )
    record = CaseRecord(
        identifier=job.identifier,
        collection=job.collection,
        task=job.task.name,
        shape=case.shape,
        spacing=(depth, height, width),
        labelled=case.labelled,
        step=step,
        foreground=foreground,
        source=_provenance(job, volume),
    )
    write_record(draft, record)
    return record


def _read_labels(job: Job, volume: Volume) -> np.ndarray:
    """Read organ + 2 x tumour on the scan's grid; both where a tumour lies in its organ."""
    labels = read_volume(job.label, dtype=np.int32)
    if labels.array.ndim != 3:
        raise UserError(f"{job.label} has {labels.channels} channels; a label map has one")
    if labels.apart(volume) > SAME_GRID:
        raise UserError(
            f"{job.label} lies on another grid than {job.image} ({labels.shape} and "
            f"{volume.shape}, or elsewhere in the scanner); bring the labels to the scan's grid"
        )
    try:
        (organ, tumour), _ = partial_labels(labels.array, job.task)
    except ValueError as error:
        raise UserError(f"{job.label}: {error}") from None
    return organ + 2 * tumour


def _bring_to_contract(volume: Volume, labels: np.ndarray, job: Job) -> Case:
    image = preprocess(volume, job.contract)
    # One map for both channels: where either could win a voxel the tumour does, and it stays in
    # its organ.
    both = resample_labels(labels, image.shape[1:])
    target = np.stack([both & 1, both >> 1])
    return Case(image, target, job.task.labelled, (), job.identifier)


def _provenance(job: Job, volume: Volume) -> Provenance:
    import nibabel as nib

    shape, affine = read_grid(job.image)
    width, height, depth = (float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    return Provenance(
        image=_below(job.image, job),
        label=_below(job.label, job),
        image_sha256=_checksum(job.image),
        label_sha256=_checksum(job.label),
        image_bytes=job.image.stat().st_size,
        label_bytes=job.label.stat().st_size,
        content_hash=content_hash(volume),
        shape=(shape[0], shape[1], shape[2]),
        spacing=(width, height, depth),
        orientation="".join(nib.aff2axcodes(affine)),
        affine=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in affine),
    )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _below(path: Path, job: Job) -> str:
    """Name a file relative to its collection, so that the record says nothing of the machine."""
    return Path(os.path.relpath(path, job.source)).as_posix()


def _relative(reason: str, job: Job) -> str:
    return reason.replace(f"{job.source}{os.sep}", "")


def _told(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    return tuple(str(warning.message) for warning in caught)


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
