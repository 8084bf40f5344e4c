"""Normalised surface Dice: the share of two surfaces that lie within a tolerance of each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.rules import Rule, as_rule
from mots_pretrained.evaluation.surface_distance import SurfaceDistances, surface_distances

TOLERANCE = 2.0
"""Millimetres within which surfaces count as the same, where nothing else is asked for."""


def surface_dice(
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    spacing: Sequence[float] | None = None,
    tolerance: float = TOLERANCE,
    rule: Rule = "standard",
) -> float | None:
    """Return the share of surface voxels, of both masks, that the other's surface comes near to.

    Source: Nikolov et al., arXiv 1809.04430; surface voxels are counted, as MONAI does by default,
    and not weighed by their area.

    Args:
        prediction: Mask; everything but 0 counts as inside.
        truth: Mask of the same shape.
        spacing: Millimetres along each axis; without it the tolerance is in voxels.
        tolerance: Millimetres; a surface exactly as far away is still near.
        rule: Empty masks score as they do in ``dice.dice``; the published code has no such metric.

    Returns:
        0 to 1, or None where the truth is empty and the rule leaves such cases out.

    Example:
        >>> surface_dice([1, 1, 0, 0], [1, 1, 1, 1], spacing=[1.0], tolerance=1)
        0.75
    """
    as_rule(rule)
    if not tolerance >= 0:
        raise UserError(f"a tolerance is 0 mm or more, not {tolerance}")
    distances = surface_distances(prediction, truth, spacing=spacing)
    if distances is None:
        return share_of_empty(bool(np.any(truth)), rule)
    return surface_dice_of(distances, tolerance=tolerance)


def surface_dice_of(distances: SurfaceDistances, *, tolerance: float = TOLERANCE) -> float:
    """Return the share of distances that are within the tolerance."""
    ways = (distances.to_truth, distances.to_prediction)
    near = sum(int(np.count_nonzero(way <= tolerance)) for way in ways)
    return near / sum(map(len, ways))


def share_of_empty(truth: bool, rule: Rule) -> float | None:
    """Return the score where at least one mask is empty: 0, or None where it cannot be scored."""
    return 0.0 if truth or rule == "published" else None
