"""Does one method beat another? Differences case by case, with Student's intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import Results, aligned, shown

MEAN = "mean"
"""What the mean over the categories is called among them."""


@dataclass(frozen=True)
class Difference:
    """How much more one method scores than another, on the same cases.

    Attributes:
        category: The category, or ``MEAN`` for the mean over the categories' means.
        cases: How many cases both methods have a score for.
        first: Mean of the first method over these cases.
        second: Mean of the second.
        difference: The first less the second.
        low: Lower end of its confidence interval; NaN where there was one case only.
        high: Upper end.
        better: Cases (for the mean: categories) in which the first is better.
        worse: Those in which it is worse.
    """

    category: str
    cases: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    better: int
    worse: int

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare(
    first: Mapping[tuple[str, str], float],
    second: Mapping[tuple[str, str], float],
    *,
    level: float = 0.95,
    higher_is_better: bool = True,
) -> tuple[Difference, ...]:
    """Compare two methods on the cases that both have a score for.

    Cases that only one method has a score for are left out. An interval is Student's: of a category
    the plain one of paired differences, of the mean over categories from each case's part in it, so
    that a case's organ and tumour stay together, with Welch's and Satterthwaite's degrees of
    freedom, which are few where much of the variance is of a category of few cases.

    Args:
        first: Score by case and category.
        second: Likewise, of the other method.
        level: Of the intervals.
        higher_is_better: Whether more is better; of a distance it is not.

    Returns:
        One difference a category, in the order of ``first``, and the one of the mean, last. A
        category of one case varies nothing: it has no interval, and the mean's is too narrow for
        it. Where all differences are the same, the interval is a point.

    Raises:
        ValueError: If the methods have no case in common, or an argument is impossible.

    Example:
        >>> ours = {("a", "liver"): 0.9, ("b", "liver"): 0.8}
        >>> theirs = {("a", "liver"): 0.6, ("b", "liver"): 0.7}
        >>> round(compare(ours, theirs)[0].difference, 3)
        0.2
    """
    if not 0 < level < 1:
        raise UserError(f"a level lies between 0 and 1, not {level}")
    keys = [key for key in first if key in second]
    if not keys:
        raise UserError("the two methods have no case and category in common")
    row_of, column_of = (
        {name: place for place, name in enumerate(dict.fromkeys(names))}
        for names in zip(*keys, strict=True)
    )
    more = np.full((len(row_of), len(column_of)), np.nan)
    for case, category in keys:
        more[row_of[case], column_of[category]] = first[case, category] - second[case, category]
    rows = []
    each = [(slice(c, c + 1), name) for name, c in column_of.items()]
    for columns, name in [*each, (slice(None), MEAN)]:
        interval = _interval(more[:, columns], level)
        rows.append(_difference(name, keys, (first, second), interval, higher_is_better))
    return tuple(rows)


def paired(
    first: Results, second: Results, metric: str = "dice"
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Return a metric of two results by case and category, for ``compare``.

    Each is the mean over the seeds that both have, of the values that both have there; where no
    seed is in common, over all seeds of each.
    """
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    if not seeds:
        return first.by_case(metric), second.by_case(metric)
    found: tuple[dict[tuple[str, str], list[float]], ...] = ({}, {})
    for seed in seeds:
        one, other = (results.of(seed=seed).by_case(metric) for results in (first, second))
        for key in (key for key in one if key in other):
            for scores, values in zip(found, (one, other), strict=True):
                scores.setdefault(key, []).append(values[key])
    ours, theirs = ({key: fmean(v) for key, v in scores.items()} for scores in found)
    return ours, theirs


def comparison_text(differences: Iterable[Difference], *, names: tuple[str, str]) -> str:
    """Return differences as lines of text; a star marks an interval that leaves out 0."""
    rows = [("category", *names, "difference", "interval", "better", "worse", "cases")]
    for d in differences:
        ends = "-" if np.isnan(d.low) else f"[{d.low:+.3f}, {d.high:+.3f}]"
        interval = f"{ends}{'*' if d.decided else ' '}"
        counts = str(d.better), str(d.worse), str(d.cases)
        rows.append(
            (d.category, shown(d.first), shown(d.second), f"{d.difference:+.3f}", interval, *counts)
        )
    return aligned(rows)


def _interval(more: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Return the interval of the mean over categories of their mean differences.

    Args:
        more: ``(cases, categories)`` differences, NaN where a case has none.
        level: Of the interval.
    """
    from scipy.stats import t

    there = ~np.isnan(more)
    count, means = there.sum(axis=0), np.nanmean(more, axis=0)
    if count.max() < 2:
        return float("nan"), float("nan")
    free = np.maximum(count - 1, 1)
    parts = np.where(there, more - means, 0) * np.sqrt(count / free) / (count * len(count))
    variance = (parts.sum(axis=1) ** 2).sum()
    # Satterthwaite: what a case would add if its categories went up and down together
    deviations = np.sqrt((parts**2).sum(axis=0) / count)
    added = (there * deviations).sum(axis=1) ** 2
    rarest = np.where(there & (count > 1), count / free, 1).max(axis=1)
    spread = (added**2 * rarest).sum()
    degrees = max(1.0, added.sum() ** 2 / spread) if spread else 1.0
    half = float(t.ppf((1 + level) / 2, degrees) * np.sqrt(variance))
    return float(means.mean()) - half, float(means.mean()) + half


def _difference(
    name: str,
    keys: list[tuple[str, str]],
    methods: tuple[Mapping[tuple[str, str], float], Mapping[tuple[str, str], float]],
    interval: tuple[float, float],
    higher_is_better: bool,
) -> Difference:
    by_category: dict[str, list[tuple[float, float]]] = {}
    for key in keys:
        by_category.setdefault(key[1], []).append((methods[0][key], methods[1][key]))
    if name == MEAN:
        pairs = np.array([np.mean(values, axis=0) for values in by_category.values()])
    else:
        pairs = np.array(by_category[name])
    ours, theirs = pairs.mean(axis=0)
    more = pairs[:, 0] - pairs[:, 1]
    gain = more if higher_is_better else -more
    return Difference(
        category=name,
        cases=len({case for case, _ in keys}) if name == MEAN else len(pairs),
        first=float(ours),
        second=float(theirs),
        difference=float(more.mean()),
        low=interval[0],
        high=interval[1],
        better=int((gain > 0).sum()),
        worse=int((gain < 0).sum()),
    )
