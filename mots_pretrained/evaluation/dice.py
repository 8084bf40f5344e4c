"""The Dice similarity coefficient of a mask, with the rule for empty ones stated (Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.rules import Rule, as_rule


def dice(prediction: ArrayLike, truth: ArrayLike, *, rule: Rule = "standard") -> float | None:
    """Return how well a predicted mask covers the true one, 0 to 1.

    Args:
        prediction: Mask of any shape; everything but 0 counts as inside.
        truth: Mask of the same shape.
        rule: ``"standard"``: ``2 overlap / (sum of sizes)``; a case whose truth is empty cannot
            be scored. ``"published"``: the authors' code, ``2 overlap / (sum of sizes + 1)``,
            which scores an empty truth 0 whatever is predicted.

    Returns:
        The coefficient, or None where the truth is empty and the rule leaves such cases out.

    Raises:
        ValueError: If the shapes differ or the rule is unknown.

    Example:
        >>> dice([1, 1, 0, 0], [0, 1, 1, 0])
        0.5
        >>> dice([1, 0], [0, 0]) is None
        True
    """
    as_rule(rule)
    p, y = np.asarray(prediction) != 0, np.asarray(truth) != 0
    if p.shape != y.shape:
        raise UserError(f"prediction and truth differ in shape: {p.shape} and {y.shape}")
    overlap = int(np.count_nonzero(p & y))
    size = int(np.count_nonzero(p)) + int(np.count_nonzero(y))
    if rule == "published":
        return 2 * overlap / (size + 1)
    return 2 * overlap / size if y.any() else None


def label_dice(
    prediction: NDArray[np.integer],
    truth: NDArray[np.integer],
    values: Mapping[str, int],
    *,
    rule: Rule = "standard",
) -> dict[str, float | None]:
    """Return the Dice of every class of a label map.

    Args:
        prediction: Label map of any shape.
        truth: Label map of the same shape and the same values.
        values: The value of each class, by name.
        rule: As in ``dice``.

    Example:
        >>> label_dice(np.array([0, 1, 2]), np.array([1, 1, 2]), {"liver": 1, "spleen": 2})
        {'liver': 0.6666666666666666, 'spleen': 1.0}
    """
    return {
        name: dice(prediction == value, truth == value, rule=rule) for name, value in values.items()
    }
