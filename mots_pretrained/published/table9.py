"""Table 9: methods side by side, Dice and Hausdorff distance of every organ and tumour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mots_pretrained.evaluation.metrics import Rule
from mots_pretrained.evaluation.results import Results, aligned, shown
from mots_pretrained.tasks import MOTS_CATEGORIES, MOTS_TASKS

_AT_ONCE = 3  # tasks a block, as the paper prints them


@dataclass(frozen=True)
class MethodScores:
    """One row of Table 9.

    Attributes:
        dice: Percent by category; None or missing where there is none.
        hd: Hausdorff distance by category, likewise.
    """

    dice: Mapping[str, float | None]
    hd: Mapping[str, float | None]


def _paper(dice: Sequence[float], hd: Sequence[float]) -> MethodScores:
    return MethodScores(
        dict(zip(MOTS_CATEGORIES, dice, strict=True)), dict(zip(MOTS_CATEGORIES, hd, strict=True))
    )


PAPER_TABLE_9: dict[str, MethodScores] = {
    "Multi-Nets": _paper(
        (96.54, 63.90, 96.52, 78.07, 62.85, 71.56, 83.18, 56.17, 42.39, 61.68, 94.37),
        (4.91, 34.14, 2.96, 9.01, 12.35, 35.63, 6.32, 18.41, 72.56, 40.18, 2.18),
    ),
    "TAL": _paper(
        (96.21, 64.10, 96.01, 78.87, 64.64, 73.87, 83.39, 60.93, 45.14, 67.59, 94.72),
        (5.53, 33.21, 3.38, 8.63, 11.56, 28.36, 5.35, 9.56, 57.98, 21.51, 2.07),
    ),
    "Multi-Head": _paper(
        (96.77, 64.33, 96.84, 82.39, 65.21, 74.62, 84.59, 64.11, 46.65, 68.63, 95.47),
        (4.61, 30.75, 2.58, 6.78, 11.13, 26.73, 4.19, 8.73, 40.67, 20.01, 1.51),
    ),
    "Cond-Input": _paper(
        (96.67, 65.61, 96.97, 83.17, 65.14, 74.98, 84.24, 63.32, 46.03, 69.67, 95.15),
        (4.79, 28.19, 2.14, 6.28, 11.34, 24.39, 5.87, 8.91, 42.45, 19.49, 1.59),
    ),
    "Cond-Dec": _paper(
        (96.23, 65.25, 96.43, 83.43, 65.38, 72.26, 83.86, 62.97, 50.67, 63.77, 94.33),
        (5.28, 29.63, 2.98, 5.97, 10.98, 28.79, 5.22, 9.12, 34.54, 35.15, 2.78),
    ),
    "DoDNet": _paper(
        (96.86, 65.99, 97.31, 83.45, 65.80, 77.07, 85.39, 60.22, 47.66, 72.65, 93.94),
        (3.88, 27.95, 1.68, 4.47, 10.51, 32.96, 5.51, 9.31, 36.39, 7.12, 2.92),
    ),
    "TransDoDNet": _paper(
        (97.01, 66.27, 97.03, 83.57, 65.43, 76.78, 84.88, 64.63, 58.64, 70.82, 95.82),
        (3.47, 24.94, 1.76, 4.65, 10.83, 22.57, 6.26, 8.34, 27.26, 14.28, 1.38),
    ),
}
"""The figures that the paper prints, on the 235 test scans of MOTS."""

PAPER_MEANS: dict[str, tuple[float, float]] = {
    "Multi-Nets": (73.38, 21.70),
    "TAL": (75.04, 17.01),
    "Multi-Head": (76.33, 14.34),
    "Cond-Input": (76.45, 14.13),
    "Cond-Dec": (75.87, 15.49),
    "DoDNet": (76.94, 12.97),
    "TransDoDNet": (78.26, 11.43),
}
"""The paper's "Average score", mDice and mHD, as printed."""


def hausdorff_column(rule: Rule) -> str:
    """Return the metric in the columns HD: the maximum in mm, or what the published code takes."""
    return "hd95_published" if rule == "published" else "hd"


def method_scores(results: Results) -> MethodScores:
    """Return the row of an evaluation; Dice and ``hausdorff_column`` must be measured."""
    hd, names = hausdorff_column(results.rule), results.categories
    dice = {name: results.mean(name, "dice") for name in names}
    return MethodScores(
        {name: None if mean is None else 100 * mean for name, mean in dice.items()},
        {name: results.mean(name, hd) for name in names},
    )


def table9_text(methods: Mapping[str, MethodScores]) -> str:
    """Return methods in the shape of Table 9, below the paper's own lines, which are marked.

    The table has two blocks of tasks, a method a line; the averages are the last columns. A last
    line tells of methods that lack a category, so that their averages are of fewer.

    Args:
        methods: Scores by the method's name.
    """
    rows = {f"{name} (paper)": scores for name, scores in PAPER_TABLE_9.items()}
    means: dict[str, tuple[float | None, float | None]] = {
        f"{name} (paper)": mean for name, mean in PAPER_MEANS.items()
    }
    for name, scores in methods.items():
        rows[name] = scores
        means[name] = _mean(scores.dice), _mean(scores.hd)
    blocks = []
    for first in (0, _AT_ONCE):
        last = first + _AT_ONCE if first == 0 else len(MOTS_TASKS)
        columns = [
            (f"{number} {metric} {kind}", metric, name)
            for number, task in enumerate(MOTS_TASKS[first:last], start=first + 1)
            for metric in ("Dice", "HD")
            for kind, name in (("organ", task.organ), ("tumour", task.tumour))
            if name is not None
        ]
        heads = ["method", *(head for head, _, _ in columns)]
        lines = [[method, *_cells(scores, columns)] for method, scores in rows.items()]
        if last == len(MOTS_TASKS):
            heads += ["mDice", "mHD"]
            for line in lines:
                line += (shown(mean, 2) for mean in means[line[0]])
        named = ", ".join(f"{n} {t.name}" for n, t in enumerate(MOTS_TASKS, 1) if first < n <= last)
        blocks.append(f"Tasks {named}\n{aligned([heads, *lines])}")
    counts = {name: (len(_known(s.dice)), len(_known(s.hd))) for name, s in methods.items()}
    every = len(MOTS_CATEGORIES)
    fewer = [
        f"{name}: mDice over {dice}, mHD over {hd} of {every} categories, the paper's over all"
        for name, (dice, hd) in counts.items()
        if min(dice, hd) < every
    ]
    return "\n\n".join(blocks + ["\n".join(fewer)] * bool(fewer))


def _cells(scores: MethodScores, columns: Sequence[tuple[str, str, str]]) -> list[str]:
    by_metric = {"Dice": scores.dice, "HD": scores.hd}
    return [shown(by_metric[metric].get(name), 2) for _, metric, name in columns]


def _known(values: Mapping[str, float | None]) -> list[float]:
    """Return the values there are of the table's categories."""
    of_table = (values.get(name) for name in MOTS_CATEGORIES)
    return [value for value in of_table if value is not None]


def _mean(values: Mapping[str, float | None]) -> float | None:
    return fmean(_known(values)) if _known(values) else None
