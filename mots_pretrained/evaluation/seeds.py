"""The same evaluation on several seeds of the test set: mean and spread (Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from mots_pretrained.evaluation.metrics import METRICS
from mots_pretrained.evaluation.results import Results, digits_of
from mots_pretrained.evaluation.table import aligned, shown


@dataclass(frozen=True)
class Spread:
    """A value over several seeds.

    Attributes:
        mean: Mean over the seeds that have a value.
        deviation: Sample standard deviation over them; 0 of a single one.
    """

    mean: float
    deviation: float


def over_seeds(values: Sequence[float | None]) -> Spread | None:
    """Return mean and spread of a value over seeds; None if no seed has one.

    Example:
        >>> over_seeds([0.5, 0.7, None])
        Spread(mean=0.6, deviation=0.141...)
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(fmean(known), stdev(known) if len(known) > 1 else 0.0)


def seeds_as_json(results: Mapping[int, Results]) -> dict[str, Any]:
    """Return one JSON object: means over seeds, their spread, and each seed's own object.

    It has ``mean_dice`` and ``dice`` by category as the object of a single evaluation has them.
    """
    first = next(iter(results.values()))
    means: dict[str, Any] = {}
    spreads: dict[str, Any] = {}
    for metric in first.metrics:
        overall, by_category = _spreads(results, metric)
        means[f"mean_{metric}"] = overall and overall.mean
        spreads[f"mean_{metric}"] = overall and overall.deviation
        means[metric] = {name: one and one.mean for name, one in by_category.items()}
        spreads[metric] = {name: one and one.deviation for name, one in by_category.items()}
    return {
        **means,
        "standard_deviation": spreads,
        "rule": first.rule,
        "tolerance_mm": first.tolerance,
        "seeds": {str(seed): one.as_json() for seed, one in results.items()},
    }


def seeds_as_text(results: Mapping[int, Results]) -> str:
    """Return means and spreads as lines of text, a category a line, the mean over them last."""
    first = next(iter(results.values()))
    found = {metric: _spreads(results, metric) for metric in first.metrics}
    rows = [("category", *(METRICS[metric].title for metric in first.metrics))]
    for name in first.categories:
        rows.append((name, *(_cell(by[name], metric) for metric, (_, by) in found.items())))
    rows.append(("mean", *(_cell(overall, metric) for metric, (overall, _) in found.items())))
    return aligned(rows)


def _spreads(
    results: Mapping[int, Results], metric: str
) -> tuple[Spread | None, dict[str, Spread | None]]:
    """Return the spread of the mean over categories, and of each category's mean."""
    tables = [one.table(metric) for one in results.values()]
    overall = over_seeds([table.mean_over_categories for table in tables])
    categories = next(iter(results.values())).categories
    return overall, {name: over_seeds([t.mean(name) for t in tables]) for name in categories}


def _cell(spread: Spread | None, metric: str) -> str:
    if spread is None:
        return "-"
    digits = digits_of(metric)
    return f"{shown(spread.mean, digits)} ± {shown(spread.deviation, digits)}"
