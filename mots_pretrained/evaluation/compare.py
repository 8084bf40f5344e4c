"""Does one method beat another? Differences case by case, with bootstrap intervals."""

from __future__ import annotations

import math
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
    resamples: int = 9999,
    seed: int = 0,
    higher_is_better: bool = True,
) -> tuple[Difference, ...]:
    """Compare two methods on the cases that both have a score for.

    Cases are drawn with replacement, whole (a case's organ and tumour stay together) and within
    their group: cases that share a category, or are joined by others that do, as a collection's
    are. Cases that only one method has a score for are left out. An interval is Student's, with
    the bootstrap's standard error times the root of n / (n - 1), which it is too small by
    (Hesterberg 2015); so it is wide enough for few cases, too.

    Args:
        first: Score by case and category.
        second: Likewise, of the other method.
        level: Of the intervals.
        resamples: How many times the cases are drawn.
        seed: Of the drawing; the same seed gives the same intervals.
        higher_is_better: Whether more is better; of a distance it is not.

    Returns:
        One difference a category, in the order of ``first``, and the one of the mean, last. A group
        of one case varies nothing: its category has no interval, and the mean's is too narrow for
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
    categories = list(dict.fromkeys(category for _, category in keys))
    groups = _groups(keys, categories, first, second)
    rows = []
    for column, name in [*enumerate(categories), (None, MEAN)]:
        interval = _interval(groups, column, level, resamples, seed)
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


def _groups(
    keys: list[tuple[str, str]],
    categories: list[str],
    first: Mapping[tuple[str, str], float],
    second: Mapping[tuple[str, str], float],
) -> list[NDArray[np.float64]]:
    """Return ``(cases, categories)`` differences, else NaN, of cases joined by their categories."""
    cases: dict[str, dict[int, float]] = {}
    for case, category in keys:
        difference = first[case, category] - second[case, category]
        cases.setdefault(case, {})[categories.index(category)] = difference
    groups: list[tuple[set[int], list[dict[int, float]]]] = []
    for found in cases.values():
        joined = [group for group in groups if group[0] & found.keys()]
        apart = [group for group in groups if not group[0] & found.keys()]
        known = set(found).union(*(group[0] for group in joined))
        groups = [*apart, (known, [*(one for group in joined for one in group[1]), found])]
    return [
        np.array([[found.get(c, np.nan) for c in range(len(categories))] for found in group])
        for _, group in groups
    ]


def _interval(
    groups: list[NDArray[np.float64]],
    column: int | None,
    level: float,
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the interval of a category's mean difference, or of the mean over categories."""
    from scipy.stats import t

    if column is not None:
        own = (group[:, column : column + 1] for group in groups)
        groups = [group[~np.isnan(group[:, 0])] for group in own]
        groups = [group for group in groups if len(group)]
    count = sum(map(len, groups))
    free = count - len(groups)
    if not free:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    total = np.zeros((resamples, groups[0].shape[1]))
    scored = np.zeros_like(total)
    for group in groups:
        drawn = rng.multinomial(len(group), np.full(len(group), 1 / len(group)), size=resamples)
        total += drawn @ np.nan_to_num(group)
        scored += drawn @ ~np.isnan(group)
    every = np.concatenate(groups)
    known = np.nanmean(every, axis=0)  # which a category keeps in draws without a case of it
    means = np.divide(total, scored, out=known + np.zeros_like(total), where=scored > 0)
    error = means.mean(axis=1).std() * math.sqrt(count / free)
    half = float(t.ppf((1 + level) / 2, free) * error)
    return float(known.mean()) - half, float(known.mean()) + half


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
