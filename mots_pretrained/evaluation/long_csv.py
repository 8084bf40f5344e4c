"""The long table of results, a value a line, that evaluations and benchmarks write alike."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from statistics import fmean

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.evaluation.metrics import METRICS
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.rules import is_missed

COLUMNS = (
    *("table", "row", "setting", "seed", "case", "category"),
    *("metric", "value", "steps", "seconds", "machine"),
)

CaseScores = dict[tuple[str, str], float]
"""A metric's value by case and category; what could not be scored is not there."""


def write_long_csv(
    path: str | os.PathLike[str],
    results: Mapping[int, Results],
    *,
    row: str,
    setting: str = "",
    machine: str = "",
) -> Path:
    """Write every value of every case; the file appears whole or not at all.

    Args:
        path: Where to write.
        results: By seed.
        row: Who made the predictions: the model, or the folder.
        setting: What was scored, and how.
        machine: Where the seconds were measured.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise MissingFileError(f"no such folder: {path.parent}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for seed, one in results.items():
            for case, scores in one.cases.items():
                seconds = f"{one.seconds[case]:.3f}" if case in one.seconds else ""
                for category, found in scores.items():
                    for metric, value in found.items():
                        shown = "" if value is None else repr(float(value))
                        where = ("evaluate", row, setting, seed, case, category)
                        table.writerow((*where, metric, shown, "", seconds, machine))
    os.replace(temporary, path)
    return path


def case_scores(results: Mapping[int, Results], *, metric: str = "dice") -> CaseScores:
    """Return an evaluation's scores as ``read_case_scores`` would read them back."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    for seed, one in results.items():
        for case, scores in one.table(metric).cases.items():
            for category, score in scores.items():
                found = float("nan") if score is None else score
                values.setdefault((case, category), {})[str(seed)] = found
    return _means(values)


def read_case_scores(
    path: str | os.PathLike[str],
    *,
    metric: str = "dice",
    table: str | None = None,
    row: str | None = None,
    setting: str | None = None,
) -> CaseScores:
    """Read one method's scores out of a long table, each case's mean over its seeds.

    Cells without a value, infinite ones and the published 999 of a distance are left out.

    Args:
        path: The CSV file.
        metric: Which metric.
        table: Only the lines of this table; all by default, as for the next two.
        row: Only those of this method.
        setting: Only those of this setting.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no long table, holds none of what is wanted, or holds a case several
            times because more than one method was meant.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no such file: {path}; write one with: mots evaluate -o")
    wanted = {"metric": metric, "table": table, "row": row, "setting": setting}
    values: dict[tuple[str, str], dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (lines.fieldnames or ())]:
            raise UserError(f"{path} has no column {missing[0]!r}; wanted are {','.join(COLUMNS)}")
        for line in lines:
            if any(want is not None and line[key] != want for key, want in wanted.items()):
                continue
            seeds = values.setdefault((line["case"], line["category"]), {})
            if line["seed"] in seeds:
                raise UserError(
                    f"{path} has {line['case']} {line['category']} twice for seed "
                    f"{line['seed'] or '-'}; say which table, row or setting is meant"
                )
            seeds[line["seed"]] = _number(line["value"], metric, path)
    if not values:
        named = ", ".join(f"{key} {want}" for key, want in wanted.items() if want is not None)
        raise UserError(f"{path} holds no line of {named}")
    return _means(values)


def _number(text: str, metric: str, path: Path) -> float:
    """Read a cell; not-a-number stands for what is left out."""
    try:
        value = float(text) if text else float("nan")
    except ValueError:
        raise UserError(f"{path} holds {text!r} where a number should be") from None
    is_distance = metric in METRICS and METRICS[metric].unit != "share"
    return float("nan") if is_distance and is_missed(value) else value


def _means(values: Mapping[tuple[str, str], Mapping[str, float]]) -> CaseScores:
    scores: CaseScores = {}
    for key, seeds in values.items():
        known = [value for value in seeds.values() if isfinite(value)]
        if known:
            scores[key] = fmean(known)
    return scores
