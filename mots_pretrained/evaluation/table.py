"""Scores of many cases by category, as a table and as one JSON object (Table 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.evaluation.rules import Rule

Scores = Mapping[str, float | None]
"""Dice by category; None where the truth is empty and the case is left out of the mean."""


@dataclass
class Table:
    """Collects one case's scores after another's.

    Attributes:
        categories: All categories, in the order of the rows.
        rule: How empty masks were scored.
        cases: Each case's scores; a case need not have all categories.

    Example:
        >>> table = Table(("liver", "spleen"))
        >>> table.add("case 1", {"liver": 0.75})
        >>> table.add("case 2", {"liver": None, "spleen": 0.25})
        >>> table.mean_dice, table.left_out("liver")
        (0.5, 1)
    """

    categories: tuple[str, ...]
    rule: Rule = "standard"
    cases: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def add(self, case: str, scores: Scores) -> None:
        """Add a case.

        Raises:
            KeyError: If it has a category that the table has not.
            ValueError: If there is a case of that name already.
        """
        strange = [name for name in scores if name not in self.categories]
        if strange:
            raise UnknownNameError(f"{case}: unknown category {strange[0]!r}")
        if case in self.cases:
            raise UserError(f"case {case!r} is there twice")
        self.cases[case] = dict(scores)

    def scored(self, category: str) -> list[float]:
        """Return the scores that make up a category's mean."""
        found = (scores.get(category) for scores in self.cases.values())
        return [score for score in found if score is not None]

    def left_out(self, category: str) -> int:
        """Return how many cases had an empty truth and so no score."""
        return sum(
            category in scores and scores[category] is None for scores in self.cases.values()
        )

    def mean(self, category: str) -> float | None:
        """Return a category's mean over its scored cases; None if there is none."""
        scores = self.scored(category)
        return fmean(scores) if scores else None

    @property
    def mean_dice(self) -> float | None:
        """Mean over the categories' mean Dice; None if nothing was scored."""
        return self.mean_over_categories

    @property
    def mean_over_categories(self) -> float | None:
        """Mean over the categories' means; None if nothing was scored."""
        means = [mean for mean in map(self.mean, self.categories) if mean is not None]
        return fmean(means) if means else None

    def as_json(self) -> dict[str, Any]:
        """Return one JSON object: ``mean_dice``, ``dice`` by category, counts and every case."""
        return {
            "mean_dice": self.mean_dice,
            "dice": {category: self.mean(category) for category in self.categories},
            "scored": {category: len(self.scored(category)) for category in self.categories},
            "left_out": {category: self.left_out(category) for category in self.categories},
            "rule": self.rule,
            "cases": self.cases,
        }

    def as_text(self) -> str:
        """Return the table as lines of text, a category a line, the mean last."""
        rows: list[Sequence[str]] = [("category", "Dice", "cases", "left out")]
        for category in self.categories:
            counts = str(len(self.scored(category))), str(self.left_out(category) or "")
            rows.append((category, shown(self.mean(category)), *counts))
        rows.append(("mean", shown(self.mean_dice), str(len(self.cases)), ""))
        return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines of text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    )


def shown(score: float | None, digits: int = 3) -> str:
    """Return a score as text, or a dash where there is none."""
    return "-" if score is None else f"{score:.{digits}f}"
