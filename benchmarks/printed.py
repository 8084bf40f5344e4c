"""A table as it is printed: ours, the paper's beside it and marked so, and the intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from statistics import fmean

import torch
from long_table import ELSEWHERE, LongTable
from settings import SETTINGS
from tables import Row, Table

from mots_pretrained.config import ModelConfig
from mots_pretrained.evaluation.compare import Difference, compare, paired
from mots_pretrained.evaluation.metrics import METRICS
from mots_pretrained.evaluation.results import Results, aligned, shown
from mots_pretrained.networks import build
from mots_pretrained.published.table9 import method_scores, table9_text

FALSE_TUMOURS = ("clean", "false ml")
"""Share of tumours' absences without a predicted voxel, and mean volume predicted there."""


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
    head += ["missed", *FALSE_TUMOURS, "seeds", f"mDice less {table.final}'s, 95 % interval"]
    lines = [head]
    final = results.results(table.final)
    for row in table.rows:
        found = results.results(row.name)
        if not found.cases:
            continue
        cells = [_count(table, row), figure_text(row.paper, "parameters")]
        cells += [mean_text(found), figure_text(row.paper, "dice")]
        cells += [mean_text(found, "hd"), figure_text(row.paper, "hd")]
        cells += counts_text(found, results.results(row.name, parts=("", ELSEWHERE)))
        cells += [str(len(found.seeds))]
        lines.append([row.name, *cells, difference_text(found, final, row.name == table.final)])
    return aligned(lines)


def counts_text(results: Results, everywhere: Results) -> list[str]:
    """Return how many organs and tumours a seed missed, and what tumours were found falsely.

    Args:
        results: Scores whose means are printed.
        everywhere: Scores of every category on every case, among them those without it.
    """
    missed = sum(results.missed(name) for name in results.categories) / len(results.seeds)
    tumours = everywhere.of(categories=[n for n in results.categories if n.endswith("tumour")])
    volumes = tumours.false_volumes(None)
    mean = shown(fmean(volumes), 2) if volumes else "-"
    return [f"{missed:.1f}", shown(tumours.clean_share(None), 2), mean]


def elsewhere_text(table: Table, results: LongTable) -> str:
    """Return what the paper could not measure: Dice where a case's collection has no labels."""
    lines = [["row", "mDice, labelled there", "mDice, labelled elsewhere"]]
    for row in table.rows:
        both = [results.results(row.name, parts=(part,)) for part in ("", ELSEWHERE)]
        if both[1].cases:
            lines.append([row.name, *map(mean_text, both)])
    if len(lines) == 1:
        return ""
    whole = results.results(table.final, parts=("", ELSEWHERE))
    return f"{aligned(lines)}\n\n{table.final}, Dice by domain\n{whole.groups_as_text()}"


def by_category_text(table: Table, results: LongTable) -> str:
    """Return Table 9 in the paper's shape, the paper's lines marked."""
    methods = {row.name: results.results(row.name) for row in table.rows}
    return table9_text(
        {name: method_scores(found) for name, found in methods.items() if found.cases}
    )


def pairs_text(table: Table, results: LongTable) -> str:
    """Return how much more each row's mean Dice is than each other's, with the intervals."""
    found = {row.name: results.results(row.name) for row in table.rows}
    found = {name: scores for name, scores in found.items() if scores.cases}
    lines = [[a, *(difference_text(found[a], found[b], a == b) for b in found)] for a in found]
    return aligned([["row", *found], *lines])


def differences(pairs: Iterable[tuple[str, str]], results: LongTable) -> dict[str, Difference]:
    """Return how much more the first row's mean Dice is than the second's, by both names."""
    found = {
        f"{first} - {second}": paired(results.results(first), results.results(second))
        for first, second in pairs
    }
    return {
        names: compare(*scores)[-1]
        for names, scores in found.items()
        if scores[0].keys() & scores[1].keys()
    }


def difference_text(
    found: Results,
    final: Results,
    is_final: bool,
    *,
    metric: str = "dice",
    factor: float = 100.0,
) -> str:
    """Return how much more a row scores than the final one, and the difference's interval."""
    own, best = paired(found, final, metric)
    if is_final or not own.keys() & best.keys():
        return ""
    mean = compare(own, best)[-1]
    low, high = factor * mean.low, factor * mean.high
    interval = f"[{low:+.2f}, {high:+.2f}]" if isfinite(low) else "[too few cases]"
    return f"{factor * mean.difference:+.2f} {interval}{'*' if mean.decided else ' '}"


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


def mean_text(found: Results, metric: str = "dice") -> str:
    """Return mean and deviation of a metric, and of how many categories, or a dash."""
    spread = found.spread(None, metric)
    if spread is None:
        return "-"
    factor = 1 if METRICS[metric].is_distance else 100
    text = f"{factor * spread.mean:.2f} ± {factor * spread.deviation:.2f}"
    return text + found.of_categories(metric)
