"""The long table of results, one value a line, that evaluations and benchmarks write alike."""

from __future__ import annotations

import csv
import io
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.evaluation.metrics import FALSE_ML, METRICS
from mots_pretrained.evaluation.results import Results, ScoredCase
from mots_pretrained.files import write_text

COLUMNS = (
    *("table", "row", "setting", "seed", "case", "category"),
    *("metric", "value", "steps", "seconds", "machine"),
)

MISSING = "missing"
"""Metric of the line of a case that has a truth but no prediction; it has no value."""

_INSTRUCTIONS = {
    "amx_bf16": "AMX bf16",
    "avx512_bf16": "AVX-512 bf16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}  # Linux's flag of each, the newest first

Line = dict[str, str]
"""A line of the table: text by column; columns that it lacks are empty."""


def to_lines(
    results: Results,
    *,
    table: str,
    row: str,
    setting: str = "",
    steps: str = "",
    machine: str = "",
) -> list[Line]:
    """Return every value of every case as a line.

    Args:
        results: The scores.
        table: Name of the table.
        row: Who made the predictions: the model, the method, or the folder.
        setting: What was scored, and how.
        steps: Steps of the training behind it.
        machine: Where the seconds were measured.
    """
    shared = {"table": table, "row": row, "setting": setting, "steps": steps, "machine": machine}
    lines = [
        {
            **shared,
            "seed": str(case.seed),
            "case": case.name,
            "category": category,
            "metric": metric,
            "value": "" if value is None else repr(float(value)),
            "seconds": "" if case.seconds is None else f"{case.seconds:.3f}",
        }
        for case in results.cases
        for category, scores in case.scores.items()
        for metric, value in scores.items()
    ]
    return lines + [{**shared, "case": name, "metric": MISSING} for name in results.missing]


def from_lines(lines: Iterable[Line]) -> Results:
    """Return the scores in the lines of one row; lines of other metrics are passed over.

    Raises:
        UserError: If a case is there several times for a seed, or a value is no number.
    """
    found: dict[tuple[int, str], dict[str, dict[str, float | None]]] = {}
    for line in lines:
        if line["metric"] not in METRICS and line["metric"] != FALSE_ML:
            continue
        seed, case, category = line["seed"] or "0", line["case"], line["category"]
        if not seed.isdecimal():
            raise UserError(f"a line of case {case} has {seed!r} where a seed should be")
        scores = found.setdefault((int(seed), case), {}).setdefault(category, {})
        if line["metric"] in scores:
            raise UserError(
                f"{case} {category} is there twice for seed {seed}; say which table, row or "
                "setting is meant"
            )
        scores[line["metric"]] = _number(line["value"])
    categories = dict.fromkeys(name for scores in found.values() for name in scores)
    measured = {m for case in found.values() for scores in case.values() for m in scores}
    cases = [ScoredCase(name, scores, seed) for (seed, name), scores in found.items()]
    return Results(tuple(categories), tuple(m for m in METRICS if m in measured), cases=cases)


def write_lines(path: str | os.PathLike[str], lines: Iterable[Line]) -> Path:
    """Write a long table, whole or not at all.

    Raises:
        MissingFileError: If there is no such folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise MissingFileError(f"no such folder: {path.parent}; make it, or write elsewhere")
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    write_text(path, text.getvalue())
    return path


def read_lines(
    path: str | os.PathLike[str],
    *,
    table: str | None = None,
    row: str | None = None,
    setting: str | None = None,
) -> list[Line]:
    """Read the lines of a long table.

    Args:
        path: The CSV file.
        table: Only the lines of this table; all by default, as for the next two.
        row: Only those of this row.
        setting: Only those of this setting.

    Raises:
        MissingFileError: If there is no such file.
        UserError: If it is no long table, or holds no such line.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no such file: {path}; write one with: mots evaluate -o")
    with path.open(newline="", encoding="utf-8") as file, _reading(path):
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise UserError(f"{path} has no column {missing[0]!r}; wanted are {','.join(COLUMNS)}")
        wanted = {"table": table, "row": row, "setting": setting}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        lines = [line for line in reader if all(line[k] == value for k, value in wanted.items())]
    if not lines:
        named = "".join(f" of {key} {value}" for key, value in wanted.items())
        raise UserError(f"{path} holds no line{named}")
    return lines


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a damaged table raises into one plain line."""
    try:
        yield
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no table of results ({error!s:.200})") from None


def machine() -> str:
    """Name the processor, its cores, the versions that matter, and how busy it is besides.

    A processor's name is followed by the newest of its vector instructions (Linux on x86), since
    kinds of the same name can differ threefold by these.
    """
    cpuinfo = Path("/proc/cpuinfo")
    model = _processor(cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else "")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        model = torch.cuda.get_device_name()
    names = [model, f"{os.cpu_count()} cores"]
    for package in ("torch", "mots_pretrained"):
        try:
            names.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    if hasattr(os, "getloadavg"):
        names.append(f"load {os.getloadavg()[0]:.1f}")
    return ", ".join(names)


def _processor(cpuinfo: str) -> str:
    lines = [line.partition(":")[::2] for line in cpuinfo.splitlines()]
    told = {key.strip(): value.strip() for key, value in lines}
    model = told.get("model name") or platform.processor() or platform.machine()
    flags = told.get("flags", "").split()
    newest = next((name for flag, name in _INSTRUCTIONS.items() if flag in flags), "")
    return f"{model} ({newest})" if newest else model


def _number(text: str) -> float | None:
    try:
        value = float(text) if text else float("nan")
    except ValueError:
        raise UserError(f"the table holds {text!r} where a number should be") from None
    return None if value != value else value
