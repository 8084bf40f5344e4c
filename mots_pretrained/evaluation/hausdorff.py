"""The Hausdorff distance: the largest distance between two surfaces, or a percentile (Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.rules import Rule, as_rule, distance_of_empty
from mots_pretrained.evaluation.surface_distance import SurfaceDistances, surface_distances


def hausdorff(
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    spacing: Sequence[float] | None = None,
    percentile: float = 100.0,
    rule: Rule = "standard",
) -> float | None:
    """Return how far the surfaces of two masks lie apart where they do so most.

    Args:
        prediction: Mask; everything but 0 counts as inside.
        truth: Mask of the same shape.
        spacing: Millimetres along each axis; without it the result is in voxels.
        percentile: Taken each way, of which the larger counts: 100 is the maximum, as the paper
            says; the published code computes 95, in voxels.
        rule: What to return where a mask is empty; see ``rules.distance_of_empty``.

    Raises:
        ValueError: If the shapes differ, or the spacing, the percentile or the rule is impossible.

    Example:
        >>> hausdorff([1, 1, 0, 0], [1, 1, 1, 1], spacing=[1.5])
        3.0
    """
    as_rule(rule)
    if not 0 <= percentile <= 100:
        raise UserError(f"a percentile goes from 0 to 100, not {percentile}")
    distances = surface_distances(prediction, truth, spacing=spacing)
    if distances is None:
        return distance_of_empty(bool(np.any(prediction)), bool(np.any(truth)), rule)
    return hausdorff_of(distances, percentile=percentile)


def hausdorff_of(distances: SurfaceDistances, *, percentile: float = 100.0) -> float:
    """Return the larger of the two ways' percentiles."""
    ways = (distances.to_truth, distances.to_prediction)
    return max(float(np.percentile(way, percentile)) for way in ways)
