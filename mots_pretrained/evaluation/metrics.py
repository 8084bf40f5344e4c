"""Every metric by its name, and several of them of one pair of masks at once (Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.evaluation.dice import dice
from mots_pretrained.evaluation.hausdorff import hausdorff_of
from mots_pretrained.evaluation.rules import Rule, as_rule, distance_of_empty
from mots_pretrained.evaluation.surface_dice import TOLERANCE, share_of_empty, surface_dice_of
from mots_pretrained.evaluation.surface_distance import (
    SurfaceDistances,
    mean_of,
    surface_distances,
)

Unit = Literal["share", "mm", "voxels"]


@dataclass(frozen=True)
class Metric:
    """What a metric is called and how it is read.

    Attributes:
        title: Head of its column.
        unit: A share of 1, of which more is better, or a distance, of which less is.
        of: From the distances between two surfaces and a tolerance in mm; None for Dice, which
            needs none.
    """

    title: str
    unit: Unit
    of: Callable[[SurfaceDistances, float], float] | None = None

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        return self.unit == "share"


METRICS: dict[str, Metric] = {
    "dice": Metric("Dice", "share"),
    "hd": Metric("HD mm", "mm", lambda d, _: hausdorff_of(d)),
    "hd95": Metric("HD95 mm", "mm", lambda d, _: hausdorff_of(d, percentile=95)),
    "msd": Metric("MSD mm", "mm", lambda d, _: mean_of(d)),
    "nsd": Metric("NSD", "share", lambda d, tolerance: surface_dice_of(d, tolerance=tolerance)),
    "hd_voxels": Metric("HD vox", "voxels", lambda d, _: hausdorff_of(d)),
    "hd95_voxels": Metric("HD95 vox", "voxels", lambda d, _: hausdorff_of(d, percentile=95)),
    "sd_voxels": Metric("SD vox", "voxels", lambda d, _: mean_of(d, symmetric=False)),
}
"""By name: Dice; the paper's Hausdorff distance (maximum) and its 95th percentile; the symmetric
mean surface distance; normalised surface Dice; and, in the published voxel convention, both
Hausdorff distances (``hd95_voxels`` is the published code's) and the one-sided surface distance."""

Scores = dict[str, float | None]
"""Value by metric; None where the truth is empty and the case is left out."""


def check_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of metrics wanted.

    Raises:
        ValueError: If there is none.
        KeyError: If one is unknown.
    """
    if not names:
        raise UserError(f"name at least one metric of: {', '.join(METRICS)}")
    for name in names:
        if name not in METRICS:
            raise UnknownNameError(f"unknown metric {name!r}; there are: {', '.join(METRICS)}")
    return tuple(dict.fromkeys(names))


def measure(
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    spacing: Sequence[float],
    metrics: Sequence[str] = tuple(METRICS),
    rule: Rule = "standard",
    tolerance: float = TOLERANCE,
) -> Scores:
    """Score one mask by several metrics; surfaces are measured once a unit.

    Args:
        prediction: Mask; everything but 0 counts as inside.
        truth: Mask of the same shape.
        spacing: Millimetres along each axis.
        metrics: Names of ``METRICS``.
        rule: How empty masks are scored.
        tolerance: Of the normalised surface Dice, in mm.

    Raises:
        ValueError: If the shapes differ, or spacing or rule is impossible.
        KeyError: If a metric is unknown.

    Example:
        >>> measure([1, 1, 0], [1, 1, 1], spacing=[2.0], metrics=["dice", "hd"])
        {'dice': 0.8, 'hd': 2.0}
    """
    as_rule(rule)
    p, y = np.asarray(prediction) != 0, np.asarray(truth) != 0
    names = check_metrics(metrics)
    units = {METRICS[name].unit != "voxels" for name in names if METRICS[name].of is not None}
    measured = {
        in_mm: surface_distances(p, y, spacing=spacing if in_mm else None)
        for in_mm in sorted(units, reverse=True)
    }
    return {name: _score(name, p, y, measured, rule, tolerance) for name in names}


def _score(
    name: str,
    p: np.ndarray,
    y: np.ndarray,
    measured: Mapping[bool, SurfaceDistances | None],
    rule: Rule,
    tolerance: float,
) -> float | None:
    metric = METRICS[name]
    if metric.of is None:
        return dice(p, y, rule=rule)
    distances = measured[metric.unit != "voxels"]
    if distances is not None:
        return metric.of(distances, tolerance)
    if metric.unit == "share":
        return share_of_empty(bool(y.any()), rule)
    return distance_of_empty(bool(p.any()), bool(y.any()), rule)
