"""A table's CSV: what is done stands in it, so that nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from trial import METRICS, parts

from mots_pretrained.evaluation.compare import Difference
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import (
    COLUMNS,
    Line,
    from_lines,
    machine,
    read_lines,
    to_lines,
    write_lines,
)
from mots_pretrained.tasks import MOTS_CATEGORIES

ELSEWHERE = " elsewhere"
"""Ends the table's name where a category is scored on a domain that does not label it."""

COMPARED = " compared"
"""Ends the table's name in lines of the difference of two rows."""

CURVE = "validation_dice"
"""The metric of lines that are points of a training's curve."""


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
        self.lines: list[Line] = read_lines(path) if path.exists() else []

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
        facts: Mapping[str, float] | None = None,
    ) -> None:
        """Add all that is known of a row and a seed.

        A curve is validations' Dice by step; facts are further values by the name of their metric.
        """
        shared = {
            "row": row,
            "setting": self.setting,
            "seed": str(seed),
            "steps": str(steps),
            "seconds": f"{seconds:.1f}",
            "machine": machine(),
        }
        own, elsewhere = parts(results)
        for metric, value in {"parameters": parameters, **(facts or {})}.items():
            self.lines.append(shared | {"table": self.table, "metric": metric, "value": str(value)})
        for name, part in ((self.table, own), (self.table + ELSEWHERE, elsewhere)):
            self.lines += [line | shared for line in to_lines(part, table=name, row=row)]
        for step, value in curve:
            point = {"metric": CURVE, "value": repr(value), "steps": str(step)}
            self.lines.append(shared | {"table": self.table} | point)
        self._write()

    def compared(self, row: str, found: Difference) -> None:
        """Write the difference of two rows, in place of an earlier one."""
        of = {"table": self.table + COMPARED, "row": row, "setting": self.setting}
        self.lines = [x for x in self.lines if any(x[key] != value for key, value in of.items())]
        for metric in ("difference", "low", "high", "cases"):
            value = str(getattr(found, metric))
            self.lines.append(of | {"metric": metric, "value": value, "machine": machine()})
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lines = [dict.fromkeys(COLUMNS, "") | line for line in self.lines]
        write_lines(self.path, self.lines)

    def done_any(self, row: str) -> bool:
        """Tell whether a row was finished with some seed at this setting."""
        return any(True for _ in self._of(row))

    def done(self, row: str, seed: int) -> bool:
        """Tell whether a row was finished with a seed at this setting."""
        return any(line["seed"] == str(seed) for line in self._of(row))

    def results(self, row: str, *, parts: Sequence[str] = ("",)) -> Results:
        """Return a row's scores of all seeds.

        Args:
            row: Name of the row.
            parts: What is scored: "" where a case's collection labels it, ``ELSEWHERE``, or both.
        """
        found = from_lines(line for part in parts for line in self._of(row, part=part))
        cases = [replace(case, group=case.name.split(" ")[0]) for case in found.cases]
        return Results(self.categories, self.metrics, cases=cases)

    def curve(self, row: str) -> list[tuple[int, float]]:
        """Return a row's validations as step and Dice, the mean over its seeds."""
        found: dict[int, list[float]] = {}
        for line in self._of(row):
            if line["metric"] == CURVE:
                found.setdefault(int(line["steps"]), []).append(float(line["value"]))
        return [(step, fmean(values)) for step, values in sorted(found.items())]

    def _of(self, row: str, *, part: str = "") -> Iterable[Line]:
        wanted = {"table": self.table + part, "row": row, "setting": self.setting}
        return (x for x in self.lines if all(x[key] == value for key, value in wanted.items()))
