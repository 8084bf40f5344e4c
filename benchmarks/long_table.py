"""A table's CSV: what is done stands in it, so that nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from trial import METRICS

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
from mots_pretrained.files import locked
from mots_pretrained.tasks import MOTS_CATEGORIES
from mots_pretrained.training.score import labelled_parts

ELSEWHERE = " elsewhere"
"""Ends the table's name where a category is scored on a domain that does not label it."""

COMPARED = " compared"
"""Ends the table's name in lines of the difference of two rows."""

CURVE = "validation_dice"
"""The metric of lines that are points of a training's curve."""


COUNTED = ("parameters", "mask")
"""Metrics of lines whose seconds are those of the whole training."""


class LongTable:
    """The lines of one table at one setting; the file appears whole or not at all.

    Args:
        path: The CSV file; read if it is there.
        table: Name of the table.
        setting: What all its lines share: size, data, steps.
        categories: What is scored; all that its lines name if there are none.
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
        self._read_at = 0, 0
        self.read()

    def read(self) -> None:
        """Read the file if another process has added to it."""
        if not self.path.exists():
            return
        state = self.path.stat()
        if (state.st_mtime_ns, state.st_size) != self._read_at:
            self.lines = read_lines(self.path)
            self._read_at = state.st_mtime_ns, state.st_size

    @property
    def seeds(self) -> list[str]:
        """Seeds of the rows that are finished at this setting."""
        mine = (x for x in self.lines if (x["table"], x["setting"]) == (self.table, self.setting))
        return sorted({line["seed"] for line in mine})

    @property
    def settings(self) -> list[str]:
        """All settings that the file has rows of the table at."""
        return list(dict.fromkeys(x["setting"] for x in self.lines if x["table"] == self.table))

    def cost_text(self) -> str:
        """Return hours of training at this setting, and the machines with their load."""
        mine = [x for x in self.lines if (x["table"], x["setting"]) == (self.table, self.setting)]
        seconds = {
            (x["row"], x["seed"]): float(x["seconds"] or 0) for x in mine if x["metric"] in COUNTED
        }
        machines, loads = set(), []
        for line in mine:
            name, _, load = line["machine"].partition(", load ")
            machines.add(name)
            loads += [float(load)] if load else []
        beside = f", load {min(loads):.1f} to {max(loads):.1f}" if loads else ""
        return (
            f"{sum(seconds.values()) / 3600:.2f} hours of training, {'; '.join(machines)}{beside}"
        )

    def add(
        self,
        row: str,
        seed: int,
        results: Results,
        *,
        parameters: int,
        steps: int,
        seconds: float,
        curve: Sequence[tuple[int, float, float]] = (),
        facts: Mapping[str, float] | None = None,
    ) -> None:
        """Add all that is known of a row and a seed.

        A curve is the step, the Dice and the seconds of training until then of each validation;
        facts are further values by the name of their metric.
        """
        shared = {
            "row": row,
            "setting": self.setting,
            "seed": str(seed),
            "steps": str(steps),
            "seconds": f"{seconds:.1f}",
            "machine": machine(),
        }
        own, elsewhere = labelled_parts(results)
        counts = {"parameters": parameters, **(facts or {})}
        new = [
            shared | {"table": self.table, "metric": metric, "value": str(value)}
            for metric, value in counts.items()
        ]
        for name, part in ((self.table, own), (self.table + ELSEWHERE, elsewhere)):
            new += [line | shared for line in to_lines(part, table=name, row=row)]
        for step, value, spent in curve:
            point = {"metric": CURVE, "value": repr(value), "steps": str(step)}
            point["seconds"] = f"{spent:.1f}"
            new.append(shared | {"table": self.table} | point)
        self.extend(new)

    def extend(self, lines: Sequence[Line]) -> None:
        """Add a row's lines to the file, unless another process has added its own of the seed."""
        with locked(self.path.parent, wait=True):  # made where missing
            self.read()
            there = {_place(line) for line in self.lines}
            self._write([*self.lines, *(x for x in lines if _place(x) not in there)])

    def compared(self, row: str, found: Difference) -> None:
        """Write the difference of two rows, in place of an earlier one unless it is the same."""
        of = {"table": self.table + COMPARED, "row": row, "setting": self.setting}
        new: list[Line] = [
            of | {"metric": metric, "value": str(getattr(found, metric)), "machine": machine()}
            for metric in ("difference", "low", "high", "cases")
        ]
        with locked(self.path.parent, wait=True):
            self.read()
            old = [x for x in self.lines if of.items() <= x.items()]
            if [(x["metric"], x["value"]) for x in old] != [(x["metric"], x["value"]) for x in new]:
                kept = [x for x in self.lines if not of.items() <= x.items()]
                self._write([*kept, *new])

    def _write(self, lines: Sequence[Line]) -> None:
        self.lines = [dict.fromkeys(COLUMNS, "") | line for line in lines]
        write_lines(self.path, self.lines)

    def done_any(self, row: str) -> bool:
        """Tell whether a row was finished with some seed at this setting."""
        return any(True for _ in self._of(row))

    def done(self, row: str, seed: int) -> bool:
        """Tell whether a row was finished with a seed at this setting."""
        self.read()
        return any(line["seed"] == str(seed) for line in self._of(row))

    def results(self, row: str, *, parts: Sequence[str] = ("",)) -> Results:
        """Return a row's scores of all seeds.

        Args:
            row: Name of the row.
            parts: What is scored: "" where a case's collection labels it, ``ELSEWHERE``, or both.
        """
        found = from_lines(line for part in parts for line in self._of(row, part=part))
        cases = [replace(case, group=case.name.split(" ")[0]) for case in found.cases]
        return Results(self.categories or found.categories, self.metrics, cases=cases)

    def curve(self, row: str, seed: int | None = None) -> list[tuple[int, float, float]]:
        """Return a row's validations as step, Dice and seconds: of a seed, or means over seeds."""
        found: dict[int, list[tuple[float, float]]] = {}
        for line in self._of(row):
            if line["metric"] == CURVE and seed in (None, int(line["seed"])):
                point = float(line["value"]), float(line["seconds"])
                found.setdefault(int(line["steps"]), []).append(point)
        means = {step: [fmean(x) for x in zip(*points, strict=True)]
                 for step, points in found.items()}  # fmt: skip
        return [(step, dice, seconds) for step, (dice, seconds) in sorted(means.items())]

    def _of(self, row: str, *, part: str = "") -> Iterable[Line]:
        wanted = {"table": self.table + part, "row": row, "setting": self.setting}
        return (x for x in self.lines if all(x[key] == value for key, value in wanted.items()))


def _place(line: Line) -> tuple[str, ...]:
    return tuple(line[key] for key in ("table", "row", "setting", "seed"))
