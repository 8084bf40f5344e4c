"""What every benchmark shares: where its long table of results lies, and clocks."""

from __future__ import annotations

import ctypes
import resource
import time
from collections.abc import Callable
from pathlib import Path

from mots_pretrained.evaluation.table import machine, write_lines

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc

RESULTS = Path(__file__).parent / "results"
"""Folder of the CSV files."""


def write(name: str, rows: list[dict[str, object]], folder: Path = RESULTS) -> Path:
    """Write NAME.csv among the results; columns that a row lacks stay empty."""
    lines = [{"machine": machine(), **{k: str(v) for k, v in row.items()}} for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    return write_lines(folder / f"{name}.csv", lines)


def clocked(work: Callable[[], object]) -> dict[str, float]:
    """Run once; wall seconds, the process's own CPU seconds, page faults."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall_seconds": wall,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "page_faults": float(after.ru_minflt - before.ru_minflt),
    }


def least(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the smallest of each measure: what others on the machine disturb least."""
    return {key: min(run[key] for run in runs) for key in runs[0]}


def forget_peak() -> None:
    """Start measuring the peak of memory anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def give_freed_back() -> None:
    """Have glibc give arrays of a megabyte back when they are freed, so that peaks are of use."""
    mallopt = ctypes.CDLL("libc.so.6").mallopt
    settings = ((_M_MMAP_THRESHOLD, 1 << 20), (_M_TRIM_THRESHOLD, 1 << 20))
    if not all(mallopt(name, value) for name, value in settings):
        raise OSError("glibc did not take the settings of its allocator")


def memory_gib(kind: str = "VmHWM") -> float:
    """Return the most memory that this process has held since, or with "VmRSS" what it holds."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) / 2**20
