"""A table as it is printed: ours, the paper's beside it and marked so, and the intervals."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from statistics import fmean

import torch
from long_table import LongTable
from settings import SETTINGS, Row, Table

from mots_pretrained.config import ModelConfig
from mots_pretrained.evaluation.domains import domain_means, domain_text
from mots_pretrained.evaluation.paired import compare
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.seeds import Spread, over_seeds
from mots_pretrained.evaluation.table import aligned
from mots_pretrained.evaluation.table9 import MethodScores, table9_text
from mots_pretrained.networks import build
from mots_pretrained.tasks import MOTS_CATEGORIES


def parameters(config: ModelConfig, *, generated: bool = False) -> int:
    """Count a network's parameters, or those that its head is generated."""
    if generated:
        return config.head.parameters
    with torch.device("meta"):
        return sum(p.numel() for p in build(config).parameters())


def table_text(table: Table, results: LongTable) -> str:
    """Return the table, a line a row that has results."""
    what = "generated" if table.generated else "M parameters"
    head = ["row", what, f"{what}, paper", "mDice", "mDice, paper", "mHD mm", "mHD, paper"]
    head += ["missed", f"mDice less {table.final}'s, 95 % interval"]
    lines = [head]
    final = results.results(table.final)
    for row in table.rows:
        found = results.results(row.name)
        if not found:
            continue
        dice = over_seeds([one.table("dice").mean_over_categories for one in found.values()])
        hd = over_seeds([one.table("hd").mean_over_categories for one in found.values()])
        missed = sum(one.missed(name) for one in found.values() for name in MOTS_CATEGORIES)
        cells = [_count(table, row), figure_text(row.paper, "parameters")]
        cells += [spread_text(dice, 100), figure_text(row.paper, "dice")]
        cells += [spread_text(hd, 1), figure_text(row.paper, "hd"), str(missed)]
        lines.append([row.name, *cells, difference_text(found, final, row.name == table.final)])
    return aligned(lines)


def elsewhere_text(table: Table, results: LongTable) -> str:
    """Return what the paper could not measure: Dice where a case's collection has no labels."""
    lines = [["row", "mDice, labelled there", "mDice, labelled elsewhere"]]
    for row in table.rows:
        both = [results.results(row.name, elsewhere=flag) for flag in (False, True)]
        means = [[one.table().mean_over_categories for one in part.values()] for part in both]
        if means[1]:
            lines.append([row.name, *(spread_text(over_seeds(values), 100) for values in means)])
    if len(lines) == 1:
        return ""
    whole = [
        _joined(one, results.results(table.final, elsewhere=True)[seed])
        for seed, one in results.results(table.final).items()
    ]
    by_domain = domain_text(domain_means(whole)) if whole else ""
    return f"{aligned(lines)}\n\n{table.final}, Dice by domain\n{by_domain}"


def by_category_text(table: Table, results: LongTable) -> str:
    """Return Table 9 in the paper's shape, the paper's lines marked."""
    methods = {row.name: _scores(results.results(row.name)) for row in table.rows}
    return table9_text({k: v for k, v in methods.items() if v.dice}, paper=True)


def case_means(
    results: Mapping[int, Results], metric: str = "dice"
) -> dict[tuple[str, str], float]:
    """Return each case's mean over seeds by case and category; what was missed is left out."""
    values: dict[tuple[str, str], list[float]] = {}
    for one in results.values():
        for case, scores in one.cases.items():
            for category, found in scores.items():
                if (value := found[metric]) is not None and isfinite(value):
                    values.setdefault((case, category), []).append(value)
    return {key: fmean(found) for key, found in values.items()}


def difference_text(
    found: Mapping[int, Results],
    final: Mapping[int, Results],
    is_final: bool,
    *,
    metric: str = "dice",
    factor: float = 100.0,
) -> str:
    """Return how much more a row scores than the final one, and the difference's interval."""
    own, best = case_means(found, metric), case_means(final, metric)
    if is_final or not own.keys() & best.keys():
        return ""
    mean = compare(own, best)[-1]
    low, high = factor * mean.low, factor * mean.high
    interval = f"[{low:+.2f}, {high:+.2f}]" if isfinite(low) else "[too few cases]"
    return f"{factor * mean.difference:+.2f} {interval}{'*' if mean.decided else ' '}"


def _scores(results: Mapping[int, Results]) -> MethodScores:
    by_metric = {}
    for metric, factor in (("dice", 100.0), ("hd", 1.0)):
        spreads = {
            name: over_seeds([one.mean(name, metric) for one in results.values()])
            for name in MOTS_CATEGORIES
        }
        by_metric[metric] = {k: factor * v.mean for k, v in spreads.items() if v is not None}
    return MethodScores(by_metric["dice"], by_metric["hd"])


def _joined(own: Results, elsewhere: Results) -> Results:
    joined = Results(own.categories, own.metrics, own.rule, own.tolerance)
    for case, scores in own.cases.items():
        joined.add(case, {**scores, **elsewhere.cases.get(case, {})}, group=own.groups[case])
    return joined


def _count(table: Table, row: Row) -> str:
    """Return our count at the paper's size, whatever the setting."""
    count = parameters(row.change(SETTINGS["paper"].base), generated=table.generated)
    return str(count) if table.generated else f"{count / 1e6:.2f}"


def figure_text(paper: Mapping[str, float], what: str) -> str:
    """Return what the paper prints, or a dash."""
    if what not in paper:
        return "-"
    value = paper[what]
    whole = what == "parameters" and value == int(value) and value >= 10
    return f"{value:.0f}" if whole else f"{value:.2f}"


def spread_text(spread: Spread | None, factor: float) -> str:
    """Return mean and deviation, or a dash."""
    if spread is None:
        return "-"
    return f"{factor * spread.mean:.2f} ± {factor * spread.deviation:.2f}"
