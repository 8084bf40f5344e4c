"""What must be known of all cases before they can be prepared: channels, spacing, label values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.data.workers import work_off
from mots_pretrained.images.reading import (
    count_values,
    read_grid,
    read_labels,
    read_spacing,
    read_volume,
)


@dataclass(frozen=True)
class Facts:
    """What one pass over a case's files tells.

    Attributes:
        channels: Channels of the scan, over all its files.
        spacing: Millimetres along (D, H, W).
        lowest: Smallest intensity of the first file; None if it was not asked for.
        values: Label values, rising; None if they were not asked for.
    """

    channels: int
    spacing: tuple[float, float, float]
    lowest: float | None = None
    values: tuple[int, ...] | None = None


def survey(
    collection: Collection, *, intensities: int = 0, values: bool = False, workers: int = 0
) -> Mapping[str, Facts]:
    """Look at every case once; without the options at headers alone.

    Args:
        collection: The cases.
        intensities: Number of cases, from the first on, whose voxels are read.
        values: Whether the label maps are read.
        workers: Processes; 0 or 1 works in this one.

    Returns:
        Facts by the case's name, in the collection's order.

    Raises:
        UserError: If a file cannot be read.
    """
    cases = collection.cases
    jobs = [(case, number < intensities) for number, case in enumerate(cases)]
    if not intensities and not values:
        workers = 0  # headers are read sooner than a process is started
    found = {
        job[0].name: facts
        for job, facts in work_off(partial(_look, values=values), jobs, workers=workers)
    }
    return {case.name: found[case.name] for case in cases}


def count_channels(case: CaseFiles) -> int:
    """Return the channels of a scan, over all its files, by their headers."""
    shapes = [read_grid(path)[0] for path in case.images]
    return sum(shape[3] if len(shape) > 3 else 1 for shape in shapes)


def _look(job: tuple[CaseFiles, bool], *, values: bool) -> Facts:
    case, with_voxels = job
    lowest = float(read_volume(case.images[0]).array.min()) if with_voxels else None
    present: tuple[int, ...] | None = None
    if values and case.label is not None:
        present = tuple(sorted(count_values(read_labels(case.label).array)))
    return Facts(count_channels(case), read_spacing(case.images[0]), lowest, present)
