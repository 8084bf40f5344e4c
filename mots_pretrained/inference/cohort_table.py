"""One table of all results of a folder, made of the scans' JSON files: a row a category."""

from __future__ import annotations

import csv
import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from mots_pretrained.files import write_text
from mots_pretrained.inference.outputs import VOLUMES

COHORT = "cohort.csv"
"""Name of the table."""

_NUMBERS = ("volume_ml", "mean", "median", "sd", "p5", "p95")
_AXES = ("x", "y", "z")
COLUMNS: tuple[str, ...] = (
    *("scan", "category"),
    *_NUMBERS,
    *(f"centroid_{axis}_mm" for axis in _AXES),
    *(f"box_{axis}_{end}_mm" for axis in _AXES for end in ("from", "to")),
    "touches_border",
    "series",
)
"""The table's columns; x, y and z run towards the right, the front and the head."""


def write_cohort(folder: str | os.PathLike[str]) -> Path:
    """Write the table of a folder's results; other processes may do so at the same time.

    Returns:
        The table's file.
    """
    folder = Path(folder)
    path = folder / COHORT
    while True:
        states = _states(folder)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for file in states:
            writer.writerows(_rows(file))
        write_text(path, text.getvalue())
        if _states(folder) == states:  # else another process has changed results meanwhile
            return path


def _states(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of change of every file of volumes."""
    found = {}
    for file in sorted(folder.glob(VOLUMES.format("*"))):
        with suppress(FileNotFoundError):  # another process replaces results
            state = file.stat()
            found[file] = state.st_size, state.st_mtime_ns
    return {file: state for file, state in found.items() if file.name[0] != "."}


def _rows(file: Path) -> list[list[Any]]:
    """Return a scan's rows; none of a file that holds no measures."""
    try:
        report = json.loads(file.read_text("utf-8"))
        series = report.get("series", "")
        return [[*_row(report["scan"], *item), series] for item in report["categories"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _row(scan: str, category: str, found: dict[str, Any]) -> list[Any]:
    centroid = found["centroid_mm"] or ("", "", "")
    low, high = found["box_mm"] or (("", "", ""), ("", "", ""))
    box = [end for pair in zip(low, high, strict=True) for end in pair]
    numbers = [_shown(found[name]) for name in _NUMBERS]
    return [scan, category, *numbers, *centroid, *box, " ".join(found["border"])]


def _shown(value: float | None) -> float | str:
    return "" if value is None else value
