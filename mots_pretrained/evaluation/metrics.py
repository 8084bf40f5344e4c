"""Metrics of one predicted mask against the true one, and what they are where a mask is empty.

Dice and the Hausdorff distance are the paper's (Sec. 4.1); surface Dice is of arXiv 1809.04430.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mots_pretrained.errors import UnknownNameError, UserError

Rule = Literal["standard", "published"]
RULES: tuple[Rule, ...] = ("standard", "published")

PUBLISHED_MISSING = 999.0
"""Value of a distance in the published code where one mask is empty; left out of means there."""

FALSE_ML = "false_ml"
"""Name of the predicted volume in ml where the truth is empty; ``measure`` gives it there only."""

TOLERANCE = 2.0
"""Default tolerance of the normalised surface Dice, in mm."""

Scores = dict[str, float | None]
"""Value by metric; None where the truth is empty and the rule leaves the case out."""

_ROUNDING = 1e-5  # by which headers in single precision may miss a length
_LEAF = 32  # points in a leaf of the search tree: it is asked once, so building counts as well


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between the surfaces of two masks, in both directions.

    Attributes:
        to_truth: From each surface voxel of the prediction to the nearest one of the truth.
        to_prediction: From each surface voxel of the truth to the nearest one of the prediction.
    """

    to_truth: NDArray[np.float64]
    to_prediction: NDArray[np.float64]

    @property
    def both(self) -> NDArray[np.float64]:
        """All distances, those of the prediction's surface first."""
        return np.concatenate([self.to_truth, self.to_prediction])

    def hausdorff(self, percentile: float = 100.0) -> float:
        """Return the larger of the two directions' percentiles; 100 is the maximum."""
        ways = (self.to_truth, self.to_prediction)
        return max(float(np.percentile(way, percentile)) for way in ways)

    def within(self, tolerance: float) -> float:
        """Return the share of all surface voxels that lie within a tolerance of the other mask.

        A distance that a rounded spacing makes a trifle longer than the tolerance is within it: a
        file's spacing of 1 mm is often 1.0000001, and two voxels are 2 mm all the same.
        """
        return float((self.both <= tolerance * (1 + _ROUNDING)).mean())


@dataclass(frozen=True)
class Metric:
    """What a metric is called and how it is computed.

    Attributes:
        title: Head of its column.
        unit: ``"share"`` of 1, of which more is better, or the unit of a distance.
        of: Function of the surface distances and the tolerance; None for Dice.
    """

    title: str
    unit: Literal["share", "mm", "voxels"]
    of: Callable[[SurfaceDistances, float], float] | None = None

    @property
    def is_distance(self) -> bool:
        """Whether it is a distance, of which less is better."""
        return self.unit != "share"

    @property
    def digits(self) -> int:
        """Decimals to print."""
        return 2 if self.is_distance else 3


METRICS: dict[str, Metric] = {
    "dice": Metric("Dice", "share"),
    "hd": Metric("HD mm", "mm", lambda d, _: d.hausdorff()),
    "hd95": Metric("HD95 mm", "mm", lambda d, _: d.hausdorff(95)),
    "msd": Metric("MSD mm", "mm", lambda d, _: float(d.both.mean())),
    "nsd": Metric("NSD", "share", lambda d, tolerance: d.within(tolerance)),
    "hd_voxels": Metric("HD vox", "voxels", lambda d, _: d.hausdorff()),
    "hd95_published": Metric("HD95 vox", "voxels", lambda d, _: float(np.percentile(d.both, 95))),
    "sd_published": Metric("SD vox", "voxels", lambda d, _: float(d.to_truth.mean())),
}
"""Metrics by name. In mm: the Hausdorff distance as the paper defines it (maximum), the larger of
the two directions' 95th percentiles, and the mean over both surfaces. In voxels: the maximum, and
the published code's two, the 95th percentile of both directions' distances pooled and the mean
over the predicted surface alone."""


def check_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without repetitions.

    Raises:
        UserError: If there is none.
        UnknownNameError: If one is not in ``METRICS``.
    """
    if not names:
        raise UserError(f"name at least one metric of: {', '.join(METRICS)}")
    for name in names:
        if name not in METRICS:
            raise UnknownNameError(f"unknown metric {name!r}; there are: {', '.join(METRICS)}")
    return tuple(dict.fromkeys(names))


def check_rule(text: str) -> Rule:
    """Return the rule of this name.

    Raises:
        UserError: If there is none.
    """
    for rule in RULES:
        if rule == text:
            return rule
    raise UserError(f"unknown rule {text!r}; allowed are {', '.join(RULES)}")


def is_missed(distance: float | None) -> bool:
    """Tell whether a distance stands for an empty mask: infinite, or the published 999."""
    return distance is not None and (math.isinf(distance) or distance == PUBLISHED_MISSING)


def dice(prediction: ArrayLike, truth: ArrayLike, *, rule: Rule = "standard") -> float | None:
    """Return the Dice similarity coefficient of two masks, 0 to 1.

    Args:
        prediction: Mask of any shape; everything but 0 counts as inside.
        truth: Mask of the same shape.
        rule: ``"standard"``: ``2 overlap / (sum of sizes)``; a case whose truth is empty cannot
            be scored. ``"published"``: as in the authors' code, ``2 overlap / (sum of sizes + 1)``,
            which is 0 where the truth is empty.

    Returns:
        The coefficient, or None where the truth is empty and the rule leaves such cases out.

    Raises:
        UserError: If the shapes differ or the rule is unknown.

    Example:
        >>> dice([1, 1, 0, 0], [0, 1, 1, 0])
        0.5
        >>> dice([1, 0], [0, 0]) is None
        True
    """
    check_rule(rule)
    p, y = _pair(prediction, truth)
    overlap = int(np.count_nonzero(p & y))
    size = int(np.count_nonzero(p)) + int(np.count_nonzero(y))
    if rule == "published":
        return 2 * overlap / (size + 1)
    return 2 * overlap / size if y.any() else None


def surface_distances(
    prediction: ArrayLike, truth: ArrayLike, *, spacing: Sequence[float] | None = None
) -> SurfaceDistances | None:
    """Measure the distances between the surfaces of two masks.

    The surface of a mask is its voxels with a neighbour across a face that is outside, or beyond
    the array. Distances are Euclidean, between voxel centres.

    Args:
        prediction: Mask of any number of axes; everything but 0 counts as inside.
        truth: Mask of the same shape.
        spacing: Millimetres between voxels along each axis; None measures in voxels.

    Returns:
        The distances; None if a mask is empty.

    Raises:
        UserError: If the shapes differ, or the spacing is not one positive length an axis.
    """
    p, y = _pair(prediction, truth)
    step = np.ones(p.ndim) if spacing is None else np.asarray(spacing, np.float64)
    if step.shape != (p.ndim,) or not (np.isfinite(step).all() and (step > 0).all()):
        raise UserError(f"spacing is one positive length for each of {p.ndim} axes, not {spacing}")
    one, other = _surface(p), _surface(y)
    if not len(one) or not len(other):
        return None
    return SurfaceDistances(_nearest(one, other, step), _nearest(other, one, step))


def measure(
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    spacing: Sequence[float],
    metrics: Sequence[str] = tuple(METRICS),
    rule: Rule = "standard",
    tolerance: float = TOLERANCE,
) -> Scores:
    """Score a mask by several metrics.

    Args:
        prediction: Mask; everything but 0 counts as inside.
        truth: Mask of the same shape.
        spacing: Millimetres along each axis.
        metrics: Names of ``METRICS``.
        rule: How empty masks are scored. ``"standard"``: None where the truth is empty; where only
            the prediction is, shares are 0 and distances infinite. ``"published"``: shares are 0,
            distances 0 where both masks are empty and 999 where one is.
        tolerance: Tolerance of the normalised surface Dice, in mm.

    Returns:
        The value of each metric; where the truth is empty also ``FALSE_ML``.

    Raises:
        UserError: If the shapes differ, or a metric, the spacing, the rule or the tolerance is
            impossible.

    Example:
        >>> measure([1, 1, 0], [1, 1, 1], spacing=[2.0], metrics=["dice", "hd"])
        {'dice': 0.8, 'hd': 2.0}
        >>> measure([1, 0], [0, 0], spacing=[500.0], metrics=["dice"])
        {'dice': None, 'false_ml': 0.5}
    """
    check_rule(rule)
    if not tolerance >= 0:
        raise UserError(f"a tolerance is 0 mm or more, not {tolerance}")
    p, y = _pair(prediction, truth)
    names = check_metrics(metrics)
    units = dict.fromkeys(METRICS[n].unit == "voxels" for n in names if METRICS[n].of is not None)
    distances = {
        voxels: surface_distances(p, y, spacing=None if voxels else spacing) for voxels in units
    }
    scores: Scores = {}
    for name in names:
        metric = METRICS[name]
        if metric.of is None:
            scores[name] = dice(p, y, rule=rule)
        elif (found := distances[metric.unit == "voxels"]) is not None:
            scores[name] = metric.of(found, tolerance)
        else:
            scores[name] = _of_empty(metric, bool(p.any()), bool(y.any()), rule)
    if not y.any():
        scores[FALSE_ML] = int(np.count_nonzero(p)) * math.prod(spacing) / 1000
    return scores


def _of_empty(metric: Metric, prediction: bool, truth: bool, rule: Rule) -> float | None:
    """Return the value of a surface metric where at least one mask holds nothing."""
    if rule == "published":
        return PUBLISHED_MISSING if metric.is_distance and (prediction or truth) else 0.0
    if not truth:
        return None
    return math.inf if metric.is_distance else 0.0


def _pair(prediction: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    p, y = np.asarray(prediction) != 0, np.asarray(truth) != 0
    if p.shape != y.shape:
        raise UserError(f"prediction and truth differ in shape: {p.shape} and {y.shape}")
    return p, y


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the ``(N, axes)`` positions of a mask's surface voxels."""
    axes = range(mask.ndim)
    box, first = [], []
    for axis in axes:
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis)))
        if not len(filled):
            return np.empty((0, mask.ndim), np.int64)
        box.append(slice(filled[0], filled[-1] + 1))
        first.append(filled[0])
    framed = np.pad(mask[tuple(box)], 1)
    middle = (slice(1, -1),) * mask.ndim
    inner = framed[middle].copy()
    for axis in axes:
        for shifted in (slice(None, -2), slice(2, None)):
            inner &= framed[(*middle[:axis], shifted, *middle[axis + 1 :])]
    return np.argwhere(framed[middle] & ~inner) + np.array(first)


def _nearest(
    points: NDArray[np.int64], others: NDArray[np.int64], step: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each point's distance to the nearest of the others."""
    from scipy.spatial import KDTree

    _, index = KDTree(others * step, leafsize=_LEAF).query(points * step)
    # Measured anew from whole voxels, so that 3 steps of 0.8 mm are 2.4 mm wherever they lie.
    return np.sqrt((((points - others[index]) * step) ** 2).sum(axis=1))
