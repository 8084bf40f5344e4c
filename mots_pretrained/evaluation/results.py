"""Several metrics of many cases by category: means, counts, one JSON object, one text table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.evaluation.metrics import METRICS, Scores
from mots_pretrained.evaluation.rules import Rule, is_missed
from mots_pretrained.evaluation.surface_dice import TOLERANCE
from mots_pretrained.evaluation.table import Table, aligned, shown


@dataclass
class Results:
    """Collects one case's scores after another's.

    Attributes:
        categories: All categories, in the order of the rows.
        metrics: Names of ``METRICS``, in the order of the columns.
        rule: How empty masks were scored.
        tolerance: Of the normalised surface Dice, in mm.
        cases: By case, category and metric; a case need not have all categories.
        groups: The collection or domain that each case belongs to, if any.
        seconds: How long each case took, where that was measured.

    Example:
        >>> results = Results(("liver",), ("dice", "hd"))
        >>> results.add("case 1", {"liver": {"dice": 0.75, "hd": 4.0}})
        >>> results.add("case 2", {"liver": {"dice": 0.0, "hd": float("inf")}})  # found nothing
        >>> results.mean("liver"), results.mean("liver", "hd"), results.missed("liver")
        (0.375, 4.0, 1)
    """

    categories: tuple[str, ...]
    metrics: tuple[str, ...] = ("dice",)
    rule: Rule = "standard"
    tolerance: float = TOLERANCE
    cases: dict[str, dict[str, Scores]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(
        self,
        case: str,
        scores: Mapping[str, Scores],
        *,
        group: str = "",
        seconds: float | None = None,
    ) -> None:
        """Add a case.

        Raises:
            KeyError: If it has a category that the results have not.
            ValueError: If there is a case of that name already.
        """
        strange = [name for name in scores if name not in self.categories]
        if strange:
            raise UnknownNameError(f"{case}: unknown category {strange[0]!r}")
        if case in self.cases:
            raise UserError(f"case {case!r} is there twice")
        self.cases[case] = {name: dict(values) for name, values in scores.items()}
        if group:
            self.groups[case] = group
        if seconds is not None:
            self.seconds[case] = seconds

    def table(self, metric: str = "dice") -> Table:
        """Return one metric's table; a distance that one mask was empty for is left out of it."""
        table = Table(self.categories, self.rule)
        for case, scores in self.cases.items():
            values = {name: found[metric] for name, found in scores.items()}
            if METRICS[metric].unit != "share":
                values = {n: None if is_missed(value) else value for n, value in values.items()}
            table.add(case, values)
        return table

    def mean(self, category: str, metric: str = "dice") -> float | None:
        """Return a category's mean over its scored cases; None if there is none."""
        return self.table(metric).mean(category)

    @property
    def mean_dice(self) -> float | None:
        """Mean over the categories' mean Dice; None if nothing was scored."""
        return self.table().mean_dice

    def missed(self, category: str) -> int:
        """Return how many distances were left out because one mask was empty."""
        distances = [name for name in self.metrics if METRICS[name].unit != "share"]
        return sum(
            is_missed(scores[category][distances[0]])
            for scores in self.cases.values()
            if distances and category in scores
        )

    def as_json(self) -> dict[str, Any]:
        """Return one JSON object: means by metric and category, counts and every case."""
        values: dict[str, Any] = {}
        for metric in self.metrics:
            table = self.table(metric)
            values[f"mean_{metric}"] = table.mean_over_categories
            values[metric] = {name: table.mean(name) for name in self.categories}
        first = self.table(self.metrics[0])
        missed = {name: self.missed(name) for name in self.categories}
        return {
            **values,
            "scored": {name: len(first.scored(name)) for name in self.categories},
            "left_out": {name: first.left_out(name) - self._unfound(name) for name in missed},
            "missed": missed,
            "rule": self.rule,
            "tolerance_mm": self.tolerance,
            "cases": self._json_cases(),
        }

    def as_text(self) -> str:
        """Return the means as lines of text, a category a line, the mean over them last."""
        tables = {metric: self.table(metric) for metric in self.metrics}
        first = tables[self.metrics[0]]
        titles = [METRICS[metric].title for metric in self.metrics]
        rows: list[Sequence[str]] = [("category", *titles, "cases", "left out", "missed")]
        for name in self.categories:
            means = [shown(table.mean(name), digits_of(m)) for m, table in tables.items()]
            left_out = first.left_out(name) - self._unfound(name)
            counts = str(len(first.scored(name))), str(left_out or ""), str(self.missed(name) or "")
            rows.append((name, *means, *counts))
        means = [shown(table.mean_over_categories, digits_of(m)) for m, table in tables.items()]
        rows.append(("mean", *means, str(len(self.cases)), "", ""))
        return aligned(rows)

    def _unfound(self, category: str) -> int:
        """Return how many left out of the first metric's table are missed, not unscorable."""
        return self.missed(category) if METRICS[self.metrics[0]].unit != "share" else 0

    def _json_cases(self) -> dict[str, dict[str, Scores]]:
        """Return every case; JSON has no infinity, so a missed distance is null there."""
        return {
            case: {
                name: {m: None if value == float("inf") else value for m, value in found.items()}
                for name, found in scores.items()
            }
            for case, scores in self.cases.items()
        }


def digits_of(metric: str) -> int:
    """Return how many decimals a metric is shown with."""
    return 3 if METRICS[metric].unit == "share" else 2
