"""What the scans of each collection look like: phase, range, slices, kernel, lesions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mots_pretrained.tasks import Task

Range = tuple[float, float]


@dataclass(frozen=True)
class Domain:
    """One collection's habits.

    Attributes:
        phases: Probability of each of ``tissues.PHASES``.
        slices: Range of the distance between slices, in millimetres.
        sharpness: Range of the reconstruction kernel's sharpness, 0 (soft) to 1.
        bottom: Range of the scan's lower end, in millimetres above the first lumbar vertebra.
        top: Range of its upper end.
        lesions: Tumours that the collection is about.
    """

    phases: tuple[float, float, float, float]
    slices: Range
    sharpness: Range
    bottom: Range
    top: Range
    lesions: tuple[str, ...]


DOMAINS: dict[str, Domain] = {
    "liver": Domain(
        (0.08, 0.17, 0.65, 0.10), (1.0, 5.0), (0.1, 0.9),
        (-340, -90), (95, 250), ("liver_tumour",),
    ),
    "kidney": Domain(
        (0.02, 0.68, 0.25, 0.05), (1.0, 5.0), (0.1, 0.9),
        (-350, -120), (80, 160), ("kidney_tumour",),
    ),
    "hepatic_vessel": Domain(
        (0.0, 0.08, 0.87, 0.05), (2.5, 5.0), (0.1, 0.8),
        (-150, -70), (95, 135), ("hepatic_vessel_tumour",),
    ),
    "pancreas": Domain(
        (0.0, 0.12, 0.85, 0.03), (2.5, 3.5), (0.1, 0.8),
        (-260, -90), (85, 140), ("pancreas_tumour",),
    ),
    "colon": Domain(
        (0.06, 0.10, 0.80, 0.04), (1.5, 5.0), (0.1, 0.9),
        (-350, -300), (60, 140), ("colon_tumour",),
    ),
    "lung": Domain(
        (0.45, 0.25, 0.25, 0.05), (1.0, 3.0), (0.3, 1.0),
        (-60, 30), (255, 300), ("lung_tumour",),
    ),
    "spleen": Domain(
        (0.02, 0.10, 0.82, 0.06), (1.5, 6.0), (0.1, 0.9),
        (-300, -90), (90, 160), (),
    ),
}  # fmt: skip
"""A domain per task of Table 1, by the task's name."""


def imitated(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """Return the tasks whose collections phantoms look like, by their names."""
    return tuple(task for task in tasks if task.name in DOMAINS)
