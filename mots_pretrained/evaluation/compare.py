"""Does one method beat another? Differences case by case, with bootstrap intervals."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import aligned, shown

Method = Literal["percentile", "BCa"]
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
    method: Method = "percentile",
    resamples: int = 9999,
    seed: int = 0,
    higher_is_better: bool = True,
) -> tuple[Difference, ...]:
    """Compare two methods on the cases that both have a score for.

    Cases are drawn with replacement, whole (a case's organ and tumour stay together) and within
    the group of cases that are scored in the same categories, which a collection's are; so the
    mean over categories keeps its weights. Cases that only one method has a score for are left out.

    Args:
        first: Score by case and category.
        second: Likewise, of the other method.
        level: Of the intervals.
        method: ``"percentile"``, or ``"BCa"`` (bias-corrected and accelerated).
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
    if method not in ("percentile", "BCa"):
        raise UserError(f"unknown method {method!r}; allowed are percentile, BCa")
    keys = [key for key in first if key in second]
    if not keys:
        raise UserError("the two methods have no case and category in common")
    categories = list(dict.fromkeys(category for _, category in keys))
    groups = _groups(keys, categories, first, second)
    rows = []
    for column, name in [*enumerate(categories), (None, MEAN)]:
        interval = _interval(groups, column, level, method, resamples, seed)
        rows.append(_difference(name, keys, (first, second), interval, higher_is_better))
    return tuple(rows)


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
    """Return ``(cases, categories)`` differences of each group of alike cases; else NaN."""
    cases: dict[str, dict[int, float]] = {}
    for case, category in keys:
        difference = first[case, category] - second[case, category]
        cases.setdefault(case, {})[categories.index(category)] = difference
    alike: dict[frozenset[int], list[dict[int, float]]] = {}
    for found in cases.values():
        alike.setdefault(frozenset(found), []).append(found)
    return [
        np.array([[found.get(c, np.nan) for c in range(len(categories))] for found in group])
        for group in alike.values()
    ]


def _interval(
    groups: list[NDArray[np.float64]],
    column: int | None,
    level: float,
    method: Method,
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the interval of a category's mean difference, or of the mean over categories."""
    from scipy.stats import bootstrap

    used = [g if column is None else g[:, column : column + 1] for g in groups]
    used = [group for group in used if not np.isnan(group).all()]
    drawn = [group for group in used if len(group) > 1]
    fixed = [group for group in used if len(group) == 1]  # nothing to draw from

    def statistic(*indices: NDArray[np.intp], axis: int = -1) -> NDArray[np.float64]:
        total, count = np.zeros(used[0].shape[1]), np.zeros(used[0].shape[1])
        for group in fixed:
            total, count = total + np.nan_to_num(group[0]), count + ~np.isnan(group[0])
        for group, index in zip(drawn, indices, strict=True):
            total = total + np.nan_to_num(group)[index].sum(axis=-2)
            count = count + (~np.isnan(group))[index].sum(axis=-2)
        return (total / count).mean(axis=-1)

    if not drawn:
        return float("nan"), float("nan")
    samples = [np.arange(len(group)) for group in drawn]
    value = float(statistic(*samples))
    if all(np.array_equal(group, group[:1].repeat(len(group), 0), True) for group in drawn):
        return value, value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate BCa is NaN, and falls back below
        result = bootstrap(
            samples,
            statistic,
            n_resamples=resamples,
            confidence_level=level,
            method=method,
            vectorized=True,
            random_state=np.random.default_rng(seed),
        )
    low, high = result.confidence_interval
    if np.isnan(low) or np.isnan(high):
        tails = (1 - level) / 2, (1 + level) / 2
        low, high = np.quantile(result.bootstrap_distribution, tails)
    return float(low), float(high)


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
