"""Which lines of a CSV in benchmarks/results a figure of the pages is read off."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import from_lines

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Rows:
    """The mean value of some lines of a CSV file, or a number of a training's record."""

    file: str
    where: dict[str, str]
    digits: int = 2
    factor: float = 1.0
    every: bool = False  # whether a line without a value is a fault

    def shown(self) -> str:
        if self.file.endswith(".json"):
            record = json.loads((ROOT / self.file).read_text("utf-8"))
            return f"{self.factor * record[self.where['metric']]:.{self.digits}f}"
        lines = [x for x in lines_of(self.file) if self.where.items() <= x.items()]
        assert lines, f"{self.file} has no line of {self.where}"
        values = [float(x["value"]) for x in lines if x["value"]]  # absent organs have none
        assert not self.every or len(values) == len(lines), f"a value is missing of {self.where}"
        return f"{self.factor * fmean(values):.{self.digits}f}"


@dataclass(frozen=True)
class Reached:
    """The mean over seeds of what an arm of ``time_to_quality.py`` scores in the end."""

    arm: str

    def shown(self) -> str:
        scores = {
            line["seed"]: float(line["value"])
            for line in lines_of("time_to_quality.csv")
            if (line["row"], line["metric"]) == (self.arm, "mean_dice")
        }
        assert len(scores) == 3
        return f"{fmean(scores.values()):.2f}"


TABLE9 = "table09_evidence_phantom.csv"


@dataclass(frozen=True)
class MeanDice:
    """The mean over categories of a row of Table 9, or of another part of its CSV or another's."""

    row: str
    table: str = "table09"
    metric: str = "dice"
    digits: int = 2
    file: str = TABLE9

    def shown(self) -> str:
        results = from_lines(of_table9(self.row, self.table, self.file))
        return f"{results.mean(None, self.metric):.{self.digits}f}"


@dataclass(frozen=True)
class CleanShare:
    """Percent of tumours' absences in which a row of Table 9 finds none."""

    row: str

    def shown(self) -> str:
        every = of_table9(self.row) + of_table9(self.row, "table09 elsewhere")
        results = from_lines(every)
        names = [name for name in results.categories if name.endswith("tumour")]
        return f"{100 * results.of(categories=names).clean_share(None):.0f}"


@dataclass(frozen=True)
class Seeds:
    """How many seeds of a row Table 9 has."""

    row: str

    def shown(self) -> str:
        return str(len({line["seed"] for line in of_table9(self.row)}))


def of_table9(row: str, table: str = "table09", file: str = TABLE9) -> list[dict[str, str]]:
    return [x for x in lines_of(file) if (x["table"], x["row"]) == (table, row)]


def ahead_of(row: str) -> tuple[Rows, ...]:
    where = {"table": "table09 compared", "row": f"TransDoDNet - {row}"}
    return tuple(Rows(TABLE9, where | {"metric": m}) for m in ("difference", "low", "high"))


def transferred(table: str, row: str) -> MeanDice:
    return MeanDice(row, table, file=f"{table}_evidence_phantom.csv")


def transfer_by(table: str, pair: str, *, factor: float = 1.0) -> tuple[Rows, ...]:
    where = {"table": f"{table} compared", "row": pair}
    values = ("difference", "low", "high") if factor > 0 else ("difference", "high", "low")
    file = f"{table}_evidence_phantom.csv"
    return tuple(Rows(file, where | {"metric": m}, 3, factor) for m in values)


def ahead_by(pair: str, table: str = "organs", *, factor: float = 1.0) -> tuple[Rows, ...]:
    where = {"table": f"adaptation {table} compared", "row": pair}
    values = ("difference", "low", "high") if factor > 0 else ("difference", "high", "low")
    return tuple(Rows("adaptation.csv", where | {"metric": m}, 3, factor) for m in values)


@dataclass(frozen=True)
class Figure:
    """Words of a page, whose braces stand for rows."""

    page: str
    text: str
    rows: tuple[Rows | Reached | MeanDice | CleanShare | Seeds | OfOrgans, ...]

    def shown(self) -> str:
        return self.text.format(*(rows.shown() for rows in self.rows))


def peak(network: str, categories: str) -> Rows:
    setting = {
        "small": "transdodnet.phantom, 4 x 3 x 3 mm, windows 48x96x96; ",
        "paper": "the paper's size, 1.5 x 0.8 x 0.8 mm, windows 64x256x256; ",
    }[network] + categories
    return Rows("memory.csv", {"setting": setting, "metric": "peak_gib"}, digits=1)


def dice(model: str, category: str) -> Rows:
    where = {"table": "models", "row": model, "category": category, "metric": "dice"}
    return Rows("models.csv", where)


def minutes(model: str) -> Rows:
    return Rows(f"hub/{model}/training.json", {"metric": "seconds"}, digits=0, factor=1 / 60)


def cohort(how: str, file: str = "cohort.csv") -> tuple[Rows, ...]:
    metrics = ("wall_seconds", "cpu_seconds")
    return tuple(Rows(file, {"row": how, "metric": m}, digits=1) for m in metrics)


def inference(network: str, words: str, arm: str, *, reckoned: bool = False) -> Figure:
    """A line of the table of one scan: seconds in both precisions, and memory in float32."""
    row = {"row": f"{network}, 512x512x200"}
    rest = ", reckoned from the windows run" if reckoned else ""
    seconds = {"metric": "reckoned_seconds" if reckoned else "seconds"}
    name = "shipped" if network == "shipped" else "paper's size"
    return Figure(
        "docs/cost.md",
        f"| {name} | {words} | {{}} | {{}} | {{}}",
        (
            *(
                Rows(
                    "inference.csv",
                    row | seconds | {"setting": f"{arm}, {precision}, 2 threads{rest}"},
                    digits=1,
                )
                for precision in ("float32", "bfloat16")
            ),
            Rows(
                "inference.csv",
                row | {"metric": "peak_gib_above", "setting": f"{arm}, float32, 2 threads"},
            ),
        ),
    )


def adapted(table: str, row: str) -> Rows:
    return Rows("adaptation.csv", {"table": f"adaptation {table}", "row": row, "metric": "dice"})


KNOWN = ("spleen", "right_kidney", "left_kidney", "liver", "pancreas")
"""Organs of BCV that MOTS has, too; its kidneys are one class."""


@dataclass(frozen=True)
class OfOrgans:
    """The mean Dice of a row of ``adaptation.py`` over some organs and all scans."""

    table: str
    row: str
    known: bool

    def shown(self) -> str:
        where = adapted(self.table, self.row).where
        lines = [x for x in lines_of("adaptation.csv") if where.items() <= x.items()]
        chosen = [x for x in lines if (x["category"] in KNOWN) == self.known]
        return f"{fmean(float(x['value']) for x in chosen if x['value']):.2f}"


def adapted_parts(table: str, row: str) -> tuple[Rows | OfOrgans, ...]:
    """The mean over all organs, over those that pretraining was told of, and over the others."""
    return (
        adapted(table, row),
        OfOrgans(table, row, known=True),
        OfOrgans(table, row, known=False),
    )


def minutes_to(aim: float, arm: str) -> Rows:
    where = {"row": arm, "metric": f"minutes_to_{aim}"}
    return Rows("time_to_quality.csv", where, digits=1, every=True)


def stored(how: str) -> Rows:
    return Rows("store.csv", {"setting": how, "metric": "megabytes"}, digits=0)


def scores(model: str) -> dict[str, float]:
    """Return a model's Dice by category: of its cases where these are known, else as noted."""
    for name in ("models.csv", "models_0_1_0.csv"):
        if (RESULTS / name).is_file():
            lines = [x for x in lines_of(name) if x["table"] == "models" and x["row"] == model]
            if lines and lines[0]["case"]:
                return means(from_lines(lines))
            if lines:
                return {line["category"]: float(line["value"]) for line in lines}
    return {}


def means(results: Results) -> dict[str, float]:
    found = {name: results.mean(name) for name in results.categories}
    return {name: value for name, value in found.items() if value is not None}


@cache
def lines_of(name: str) -> tuple[dict[str, str], ...]:
    with (RESULTS / name).open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))
