"""What a score is where a mask is empty: our rule, and the published code's (Sec. 4.1)."""

from __future__ import annotations

import math
from typing import Literal

from mots_pretrained.errors import UserError

Rule = Literal["standard", "published"]
RULES: tuple[Rule, ...] = ("standard", "published")

PUBLISHED_MISSING = 999.0
"""What the published code writes for a distance where one mask is empty, and leaves out of means.

Ours is infinity, left out of means and counted as missed.
"""


def as_rule(text: str) -> Rule:
    """Return the rule of a name.

    Raises:
        ValueError: If there is none.
    """
    for rule in RULES:
        if rule == text:
            return rule
    raise UserError(f"unknown rule {text!r}; allowed are {', '.join(RULES)}")


def distance_of_empty(prediction: bool, truth: bool, rule: Rule) -> float | None:
    """Return the score of a distance between masks of which at least one is empty.

    Args:
        prediction: Whether the prediction holds anything.
        truth: Whether the truth does.
        rule: ``"standard"``: None where the truth is empty, the case cannot be scored; infinity
            where only the prediction is. ``"published"``: 0 where both are empty, else 999.

    Example:
        >>> distance_of_empty(True, False, "standard"), distance_of_empty(True, False, "published")
        (None, 999.0)
    """
    if rule == "published":
        return PUBLISHED_MISSING if prediction or truth else 0.0
    return math.inf if truth else None


def is_missed(score: float | None) -> bool:
    """Tell whether a distance says that one of two masks was empty."""
    return score is not None and (math.isinf(score) or score == PUBLISHED_MISSING)
