"""Benchmarks as programs: their folder, the commands that run tables, and the values they write."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def command(script: str, table: str, folder: Path, *more: str) -> list[str]:
    """Return the command that runs a table at the smoke setting, all its files in a folder."""
    where = ["--results", str(folder / "results"), "--work", str(folder / "work")]
    return [sys.executable, str(BENCHMARKS / script), table, "--smoke", *where, *more]


def read(path: Path) -> list[dict[str, str]]:
    """Return the lines of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def values(path: Path) -> list[tuple[str, ...]]:
    """Return what a run made again must have again: all but how long it took."""
    keys = ("table", "row", "case", "category", "metric", "value")
    return [tuple(line[key] for key in keys) for line in read(path)]
