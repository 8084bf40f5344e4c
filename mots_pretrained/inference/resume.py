"""What is left to do of a folder of scans: by a part of several, and by the results there are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import UserError
from mots_pretrained.files import file_names, remove_drafts
from mots_pretrained.images.label_names import ITK_SNAP, SLICER
from mots_pretrained.images.segmentation import FORMATS, LABELS
from mots_pretrained.inference.cohort_table import COHORT
from mots_pretrained.inference.dicom_scans import source_of, state_of
from mots_pretrained.inference.failures import FAILURES
from mots_pretrained.inference.outputs import (
    OVERLAY,
    PROBABILITIES,
    VOLUMES,
    is_withdrawn,
    results_told,
    sources_of,
    state_told,
    told_of,
    was_made_by,
)


def part_of(scans: Sequence[CaseFiles], part: str) -> list[CaseFiles]:
    """Return the scans of one part of several, such as ``"2/8"``: every eighth, from the second on.

    Raises:
        UserError: If it is no such part.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", part)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"a part is written as 2/8, the second of eight, not {part!r}")
    return list(scans[int(match[1]) - 1 :: int(match[2])])


def left_to_do(
    scans: Sequence[CaseFiles],
    output: str | os.PathLike[str],
    *,
    mask_names: Sequence[str] = (),
    picture: bool = True,
    probabilities: bool = False,
    formats: Sequence[str] = ("nifti",),
    shared: bool = False,
    made_by: Mapping[str, Any] | None = None,
) -> list[CaseFiles]:
    """Return the scans that lack a result, and remove what a killed run left half written of them.

    A scan whose files have another size or time of change than when they were read lacks one.

    Args:
        scans: The scans.
        output: Folder of the results.
        mask_names: Categories whose own masks are wanted.
        picture: Whether a picture is wanted.
        probabilities: Whether probabilities are wanted.
        formats: Formats wanted, names of `images.segmentation.FORMATS`.
        shared: Whether other processes write into ``output`` at the same time.
        made_by: What the file of volumes says of the model and how it was run; results that were
            made otherwise count as none. None takes all.
    """
    if not shared:
        of_all = (LABELS, ITK_SNAP, SLICER, FAILURES, COHORT)
        remove_drafts(*(Path(output) / name for name in of_all))
    left = []
    for scan in scans:
        wanted = [FORMATS[name][0] for name in formats]
        wanted += [OVERLAY] if picture else []
        wanted += [PROBABILITIES] if probabilities else []
        files = [name.format(scan.name) for name in wanted]
        masks = file_names(mask_names).values()
        files += [f"{scan.name}_masks/{file}.nii.gz" for file in masks]
        report = told_of(output, scan.name)
        results = results_told(report)  # what lies there besides is another run's
        # the file of volumes is written last, so what it stands beside is whole
        same = not is_withdrawn(report) and sources_of(output, report) == source_of(scan)
        same = same and _is_unchanged(scan, state_told(report))
        same = same and (made_by is None or was_made_by(report, made_by))
        same = same and (results is None or results.issuperset(files))
        if same and all((Path(output) / file).is_file() for file in files):
            continue
        tidy(output, scan)
        left.append(scan)
    return left


def _is_unchanged(scan: CaseFiles, told: tuple[tuple[int, int], ...] | None) -> bool:
    """Whether files have the state told, if any is; what can't be seen is left to reading."""
    try:
        return told is None or told == state_of(scan)
    except (OSError, UserError):
        return False


def made_otherwise(
    scans: Sequence[CaseFiles], output: str | os.PathLike[str], made_by: Mapping[str, Any]
) -> list[CaseFiles]:
    """Return the scans with results that were not made so, or do not say how they were made."""
    there = [scan for scan in scans if (Path(output) / VOLUMES.format(scan.name)).is_file()]
    reports = ((scan, told_of(output, scan.name)) for scan in there)
    return [s for s, told in reports if not (is_withdrawn(told) or was_made_by(told, made_by))]


def tidy(output: str | os.PathLike[str], scan: CaseFiles) -> None:
    """Remove what a process that was killed has left half written of a scan's results."""
    patterns = (*(FORMATS[name][0] for name in FORMATS), VOLUMES, OVERLAY, PROBABILITIES)
    masks = Path(output) / f"{scan.name}_masks"
    files = [Path(output) / pattern.format(scan.name) for pattern in patterns]
    remove_drafts(*files, *[masks] * masks.is_dir())
