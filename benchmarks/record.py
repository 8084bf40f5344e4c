"""What every benchmark shares: one long table of results, and the name of the machine."""

from __future__ import annotations

import csv
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

COLUMNS = (
    *("table", "row", "setting", "seed", "case", "category"),
    *("metric", "value", "steps", "seconds", "machine"),
)


def write(name: str, rows: list[dict[str, object]]) -> Path:
    """Write results/NAME.csv; columns that a row lacks stay empty."""
    path = Path(__file__).parent / "results" / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows({"machine": machine(), **row} for row in rows)
    return path


def machine() -> str:
    """Name processor, cores and torch, and say how busy the machine is besides."""
    import torch

    model = platform.processor() or "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if "model name" in x), model)
    if torch.cuda.is_available():
        model = torch.cuda.get_device_name()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}, {os.cpu_count()} cores, torch {torch.__version__}{load}"


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


def memory_gib(kind: str = "VmHWM") -> float:
    """Return the most memory that this process has held since, or with "VmRSS" what it holds."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) / 2**20
