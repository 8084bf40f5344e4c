"""A table's CSV: what is done stands in it, so that nothing is done twice."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from record import COLUMNS, machine
from trial import METRICS, parts

from mots_pretrained.evaluation.results import Results
from mots_pretrained.tasks import MOTS_CATEGORIES

ELSEWHERE = " elsewhere"
"""Ends the table's name where a category is scored on a domain that does not label it."""

CURVE = "validation_dice"
"""The metric of lines that are points of a training's curve."""

Line = dict[str, str]


class LongTable:
    """The lines of one table at one setting; the file appears whole or not at all.

    Args:
        path: The CSV file; read if it is there.
        table: Name of the table.
        setting: What all its lines share: size, data, steps.
        categories: What is scored.
        metrics: How.
    """

    def __init__(
        self,
        path: Path,
        table: str,
        setting: str,
        *,
        categories: tuple[str, ...] = MOTS_CATEGORIES,
        metrics: tuple[str, ...] = METRICS,
    ) -> None:
        self.path, self.table, self.setting = path, table, setting
        self.categories, self.metrics = categories, metrics
        self.lines: list[Line] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.lines = list(csv.DictReader(file))

    def add(
        self,
        row: str,
        seed: int,
        results: Results,
        *,
        parameters: int,
        steps: int,
        seconds: float,
        curve: Sequence[tuple[int, float]] = (),
    ) -> None:
        """Add all that is known of a row and a seed; a curve is validations' Dice by step."""
        shared = {
            "row": row,
            "setting": self.setting,
            "seed": str(seed),
            "steps": str(steps),
            "seconds": f"{seconds:.1f}",
            "machine": machine(),
        }
        own, elsewhere = parts(results)
        count = {"table": self.table, "metric": "parameters", "value": str(parameters)}
        self.lines.append(dict.fromkeys(COLUMNS, "") | shared | count)
        for name, part in ((self.table, own), (self.table + ELSEWHERE, elsewhere)):
            for case, scores in part.cases.items():
                for category, found in scores.items():
                    for metric, value in found.items():
                        cell = {
                            "table": name,
                            "case": case,
                            "category": category,
                            "metric": metric,
                            "value": "" if value is None else repr(value),
                        }
                        self.lines.append(shared | cell)
        for step, value in curve:
            point = {"metric": CURVE, "value": repr(value), "steps": str(step)}
            self.lines.append(dict.fromkeys(COLUMNS, "") | shared | {"table": self.table} | point)
        self._write()

    def done_any(self, row: str) -> bool:
        """Tell whether a row was finished with some seed at this setting."""
        return any(True for _ in self._of(row))

    def done(self, row: str, seed: int) -> bool:
        """Tell whether a row was finished with a seed at this setting."""
        return any(line["seed"] == str(seed) for line in self._of(row))

    def results(self, row: str, *, elsewhere: bool = False) -> dict[int, Results]:
        """Return a row's scores by seed."""
        found: dict[int, Results] = {}
        for line in self._of(row, elsewhere=elsewhere):
            if line["metric"] not in self.metrics:
                continue
            one = found.setdefault(int(line["seed"]), Results(self.categories, self.metrics))
            case = one.cases.setdefault(line["case"], {})
            value = float(line["value"]) if line["value"] else None
            case.setdefault(line["category"], {})[line["metric"]] = value
            one.groups[line["case"]] = line["case"].split(" ")[0]
        return found

    def curve(self, row: str) -> list[tuple[int, float]]:
        """Return a row's validations as step and Dice, the mean over its seeds."""
        found: dict[int, list[float]] = {}
        for line in self._of(row):
            if line["metric"] == CURVE:
                found.setdefault(int(line["steps"]), []).append(float(line["value"]))
        return [(step, fmean(values)) for step, values in sorted(found.items())]

    def _of(self, row: str, *, elsewhere: bool = False) -> Iterable[Line]:
        table = self.table + ELSEWHERE * elsewhere
        wanted = {"table": table, "row": row, "setting": self.setting}
        return (x for x in self.lines if all(x[key] == value for key, value in wanted.items()))

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(self.lines)
        os.replace(temporary, self.path)
