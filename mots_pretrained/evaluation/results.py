"""Scores of many cases by category: means over cases and seeds, false volumes, JSON and text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median, stdev
from typing import Any

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.evaluation.metrics import (
    FALSE_ML,
    METRICS,
    TOLERANCE,
    Rule,
    Scores,
    is_missed,
)
from mots_pretrained.tasks import MOTS_TASKS, Task


@dataclass(frozen=True)
class ScoredCase:
    """Scores of one case.

    Attributes:
        name: Name of the case.
        scores: Value by category and metric; a case need not have all categories.
        seed: Seed of the run or of the test set that it belongs to.
        group: Collection or domain that it belongs to, if any.
        seconds: Seconds that predicting and scoring took, where measured.
    """

    name: str
    scores: Mapping[str, Scores]
    seed: int = 0
    group: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; the deviation of a single one is 0."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Return the spread of the values that are known; None if there is none.

        Example:
            >>> Spread.of([0.5, 0.7, None])
            Spread(mean=0.6, deviation=0.141...)
        """
        known = [value for value in values if value is not None]
        if not known:
            return None
        return cls(fmean(known), stdev(known) if len(known) > 1 else 0.0)


@dataclass
class Results:
    """Collects the scores of one case after another; ``of`` gives those of a seed or a group.

    Means are over a seed's cases first, then over seeds. A case whose truth lacks a category is
    left out of its mean under the standard rule; what was predicted there is its false volume.

    Attributes:
        categories: All categories, in the order of the rows.
        metrics: Names of ``METRICS``, in the order of the columns.
        rule: How empty masks were scored.
        tolerance: Tolerance of the normalised surface Dice, in mm.
        cases: The cases scored.
        missing: Cases that have a truth but no prediction.

    Example:
        >>> results = Results(("liver",), ("dice", "hd"))
        >>> results.add("case 1", {"liver": {"dice": 0.75, "hd": 4.0}})
        >>> results.add("case 2", {"liver": {"dice": 0.0, "hd": float("inf")}})  # found nothing
        >>> results.add("case 3", {"liver": {"dice": None, "hd": None, "false_ml": 0.0}})
        >>> results.mean("liver"), results.mean("liver", "hd"), results.missed("liver")
        (0.375, 4.0, 1)
        >>> results.absent_cases("liver"), results.clean_share("liver")
        (1, 1.0)
    """

    categories: tuple[str, ...]
    metrics: tuple[str, ...] = ("dice",)
    rule: Rule = "standard"
    tolerance: float = TOLERANCE
    cases: list[ScoredCase] = field(default_factory=list)
    missing: tuple[str, ...] = ()

    def add(
        self,
        case: str,
        scores: Mapping[str, Scores],
        *,
        seed: int = 0,
        group: str = "",
        seconds: float | None = None,
    ) -> None:
        """Add a case; arguments as in ``ScoredCase``.

        Raises:
            UnknownNameError: If it has a category that the results have not.
            UserError: If the seed has a case of that name already.
        """
        strange = [name for name in scores if name not in self.categories]
        if strange:
            raise UnknownNameError(f"{case}: unknown category {strange[0]!r}")
        if any(known.name == case and known.seed == seed for known in self.cases):
            raise UserError(f"case {case!r} is there twice")
        copied = {name: dict(values) for name, values in scores.items()}
        self.cases.append(ScoredCase(case, copied, seed, group, seconds))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its cases, in their order."""
        return tuple(dict.fromkeys(case.seed for case in self.cases))

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of its cases, in their order."""
        return tuple(dict.fromkeys(case.group for case in self.cases))

    def of(
        self,
        *,
        seed: int | None = None,
        group: str | None = None,
        categories: Sequence[str] | None = None,
    ) -> Results:
        """Return the results of one seed, one group, or some categories."""
        chosen = self.categories if categories is None else tuple(categories)
        kept = [
            replace(case, scores={n: v for n, v in case.scores.items() if n in chosen})
            for case in self.cases
            if (seed is None or case.seed == seed) and (group is None or case.group == group)
        ]
        return replace(self, categories=chosen, cases=[case for case in kept if case.scores])

    def values(self, category: str, metric: str = "dice") -> list[float]:
        """Return the values that make up a category's mean: all but of cases left out or missed."""
        is_distance = metric in METRICS and METRICS[metric].is_distance
        found = (case.scores.get(category, {}).get(metric) for case in self.cases)
        return [x for x in found if x is not None and not (is_distance and is_missed(x))]

    def spread(self, category: str | None, metric: str = "dice") -> Spread | None:
        """Return mean and deviation over seeds of a category's mean over its cases.

        Args:
            category: A category; None for the mean over the categories' means.
            metric: Name of the metric.

        Returns:
            None if nothing was scored.
        """
        return Spread.of(one._mean(category, metric) for one in self._by_seed())

    def mean(self, category: str | None, metric: str = "dice") -> float | None:
        """Return the mean of ``spread``; None if nothing was scored."""
        spread = self.spread(category, metric)
        return None if spread is None else spread.mean

    @property
    def mean_dice(self) -> float | None:
        """Mean over the categories' mean Dice; None if nothing was scored."""
        return self.mean(None, "dice")

    def scored(self, category: str) -> int:
        """Return how many cases the rule does not leave out, missed ones included."""
        found = (case.scores.get(category, {}) for case in self.cases)
        return sum(any(one.get(name) is not None for name in self.metrics) for one in found)

    def missed(self, category: str) -> int:
        """Return in how many cases a distance was left out because one mask was empty."""
        distances = [name for name in self.metrics if METRICS[name].is_distance]
        if not distances:
            return 0
        return sum(is_missed(c.scores.get(category, {}).get(distances[0])) for c in self.cases)

    def false_volumes(self, category: str | None) -> list[float]:
        """Return the predicted volume in ml in each case whose truth lacks a category.

        Args:
            category: A category; None for all of them together, as in the next three.
        """
        names = self.categories if category is None else (category,)
        return [volume for name in names for volume in self.values(name, FALSE_ML)]

    def absent_cases(self, category: str | None) -> int:
        """Return how many cases have a truth for a category, and an empty one."""
        return len(self.false_volumes(category))

    def false_volume(self, category: str | None) -> float | None:
        """Return the median predicted volume in ml over the cases without the category."""
        volumes = self.false_volumes(category)
        return median(volumes) if volumes else None

    def clean_share(self, category: str | None) -> float | None:
        """Return the share without a predicted voxel among the cases without the category."""
        volumes = self.false_volumes(category)
        return sum(volume == 0 for volume in volumes) / len(volumes) if volumes else None

    def by_case(self, metric: str = "dice") -> dict[tuple[str, str], float]:
        """Return a metric by case and category, the mean over seeds; not what is left out."""
        found: dict[tuple[str, str], list[float]] = {}
        for case in self.cases:
            one = replace(self, cases=[case])
            for name in case.scores:
                found.setdefault((case.name, name), []).extend(one.values(name, metric))
        return {key: fmean(values) for key, values in found.items() if values}

    def by_group(self, metric: str = "dice") -> dict[str, dict[str, float | None]]:
        """Return a metric's mean by group and category."""
        return {
            group: {name: self.of(group=group).mean(name, metric) for name in self.categories}
            for group in self.groups
        }

    def as_json(self) -> dict[str, Any]:
        """Return one object for JSON: means by metric and category, counts and every case.

        With several seeds it holds the deviation over them, and the object of each under
        ``seeds`` in place of ``cases``.
        """
        values: dict[str, Any] = {}
        deviations: dict[str, Any] = {}
        for metric in self.metrics:
            overall = self.spread(None, metric)
            spreads = {name: self.spread(name, metric) for name in self.categories}
            values[f"mean_{metric}"] = overall and overall.mean
            values[metric] = {name: one and one.mean for name, one in spreads.items()}
            deviations[f"mean_{metric}"] = overall and overall.deviation
            deviations[metric] = {name: one and one.deviation for name, one in spreads.items()}
        names = self.categories
        values |= {
            "scored": {name: self.scored(name) for name in names},
            "missed": {name: self.missed(name) for name in names},
            "absent_cases": {name: self.absent_cases(name) for name in names},
            "false_volume_ml": {name: self.false_volume(name) for name in names},
            "clean_share": {name: self.clean_share(name) for name in names},
            "missing": list(self.missing),
            "rule": self.rule,
            "tolerance_mm": self.tolerance,
        }
        if len(self.seeds) > 1:
            values["standard_deviation"] = deviations
            return values | {"seeds": {str(s): self.of(seed=s).as_json() for s in self.seeds}}
        return values | {"cases": {case.name: _json(case.scores) for case in self.cases}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Results:
        """Read an object of ``as_json`` that has one seed; infinite distances have become None."""
        metrics = tuple(name for name in METRICS if name in values)
        results = cls(tuple(values[metrics[0]]), metrics, values["rule"], values["tolerance_mm"])
        for case, scores in values["cases"].items():
            results.add(case, scores)
        return results

    def as_text(self) -> str:
        """Return a table of means, a category a line, the mean over them last.

        The columns without, clean and false ml are of the cases without the category: how many,
        the share of them without a predicted voxel, and the median predicted volume.
        """
        head = ["category", *(METRICS[metric].title for metric in self.metrics), "cases"]
        rows = [head + ["missed", "without", "clean", "false ml"]]
        for name in (*self.categories, None):
            row = [name or "mean", *(self._cell(name, metric) for metric in self.metrics)]
            row += self._counts(name)
            if absent := self.absent_cases(name):
                volume = shown(self.false_volume(name), 2)
                row += [str(absent), shown(self.clean_share(name), 2), volume]
            rows.append(row + [""] * (len(rows[0]) - len(row)))
        kept = [column for column in zip(*rows, strict=True) if any(column[1:])]
        return aligned([*zip(*kept, strict=True)])

    def groups_as_text(self, metric: str = "dice", *, tasks: Sequence[Task] = MOTS_TASKS) -> str:
        """Return a metric's means, a category a line and a group a column.

        A star marks the categories that the group's own collection labels, as a task of its name
        says. The last lines are the means over these, and over the others.
        """
        own = {task.name: task.categories for task in tasks}
        groups = {group: self.of(group=group) for group in self.groups}
        digits = METRICS[metric].digits

        def cell(group: str, name: str) -> str:
            mark = "*" if name in own.get(group, ()) else " "
            return shown(groups[group].mean(name, metric), digits) + mark

        rows = [[METRICS[metric].title, *groups]]
        rows += [[name, *(cell(group, name) for group in groups)] for name in self.categories]
        for title, labelled in (("labelled there*", True), ("labelled elsewhere", False)):
            chosen = {
                group: [n for n in self.categories if (n in own.get(group, ())) is labelled]
                for group in groups
            }
            means = (one.of(categories=chosen[g]).mean(None, metric) for g, one in groups.items())
            rows.append([f"mean, {title}", *(f"{shown(mean, digits)} " for mean in means)])
        return aligned(rows)

    def of_categories(self, metric: str) -> str:
        """Return " (9 of 11)" where a metric's mean leaves out categories that were scored.

        A distance leaves out what a seed found in none of its cases, so its mean may be the better
        for it.
        """

        def is_scored(one: Results, name: str) -> bool:
            return any(case.scores.get(name, {}).get(metric) is not None for case in one.cases)

        scored = [name for name in self.categories if is_scored(self, name)]
        left_out = {
            name
            for one in self._by_seed()
            for name in scored
            if is_scored(one, name) and one._mean(name, metric) is None
        }
        return f" ({len(scored) - len(left_out)} of {len(scored)})" if left_out else ""

    def _by_seed(self) -> list[Results]:
        seeds = self.seeds
        return [self] if len(seeds) < 2 else [self.of(seed=seed) for seed in seeds]

    def _mean(self, category: str | None, metric: str) -> float | None:
        """Return a mean over the cases of a single seed."""
        if category is not None:
            values = self.values(category, metric)
        else:
            means = (self._mean(name, metric) for name in self.categories)
            values = [mean for mean in means if mean is not None]
        return fmean(values) if values else None

    def _counts(self, category: str | None) -> tuple[str, str]:
        if category is not None:
            missed = self.missed(category)
            return str(self.scored(category)), str(missed or "")
        of = f" of {len(self.cases) + len(self.missing)}" if self.missing else ""
        return f"{len(self.cases)}{of}", ""

    def _cell(self, category: str | None, metric: str) -> str:
        digits, spread = METRICS[metric].digits, self.spread(category, metric)
        if spread is None:
            return "-"
        mean = shown(spread.mean, digits)
        if len(self.seeds) > 1:
            mean += f" ± {shown(spread.deviation, digits)}"
        return mean + self.of_categories(metric) if category is None else mean


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


def _json(scores: Mapping[str, Scores]) -> dict[str, Scores]:
    """Replace infinite distances by None, since JSON has no infinity."""
    return {
        name: {m: None if x is not None and math.isinf(x) else x for m, x in found.items()}
        for name, found in scores.items()
    }
