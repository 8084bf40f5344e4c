"""Hurts real commands in real processes, and counts what became of them.

``python tests/faults/drive.py`` prints the table; exit status 1 says that something was lost. With
names of commands or parts of faults' names as arguments, only these rows are run; with a file's
name ending in .json, a report is written there.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parents[2])]
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[_name] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["MPLBACKEND"] = "Agg"

from faults import damage, kills, places
from faults.processes import own_mounts, unmount_all
from faults.world import COMMANDS, SEED, World, build, serve

ALL = COMMANDS
FOUR = COMMANDS[:4]

Hurt = Callable[[World, str, random.Random], None]


@dataclass(frozen=True)
class Row:
    """A fault, what does it, and how often to each command."""

    fault: str
    hurt: Hurt
    times: dict[str, int]


def _each(hurt: Any) -> Hurt:
    """Let a file be cut short, changed in one bit and emptied, by turns."""
    turn = [0]

    def one(world: World, command: str, rng: random.Random) -> None:
        turn[0] += 1
        hurt(world, command, rng, damage.KINDS[turn[0] % 3])

    return one


def _times(commands: Sequence[str], times: int) -> dict[str, int]:
    return dict.fromkeys(commands, times)


PLAN = (
    Row("killed (SIGKILL) at any time", kills.sigkill, {**_times(FOUR, 3), "download": 2}),
    Row("killed between two changes of files", kills.sigkill_at_change, _times(FOUR, 4)),
    Row("ended (SIGTERM) at any time", kills.sigterm, {**_times(FOUR, 2), "download": 1}),
    Row("a worker process killed", kills.worker, _times(("prepare", "pretrain"), 1)),
    Row("disk full", places.full_disk, {**_times(FOUR, 2), "download": 1}),
    Row("file too large for the system", places.file_size, _times(FOUR, 1)),
    Row("a file where the output folder is to be", places.file_in_the_way, _times(ALL, 1)),
    Row("output's path too long", places.too_long, _times(ALL, 1)),
    Row("output read-only", places.read_only, _times(FOUR, 1)),
    Row("two processes in one output folder", places.two, _times(FOUR, 1)),
    Row("clock that jumps", places.clock, _times(FOUR, 1)),
    Row("input changed meanwhile", places.input_changed,
        {"prepare": 2, "predict": 2, "finetune": 1}),
    Row("checkpoint cut, flipped, emptied", _each(damage.checkpoint),
        {"pretrain": 6, "finetune": 3}),
    Row("training.json cut, flipped, emptied", _each(damage.record), {"pretrain": 3}),
    Row("log.csv cut, flipped, emptied", _each(damage.log), {"pretrain": 3}),
    Row("prepared voxels cut, flipped, emptied", _each(damage.voxels), {"pretrain": 3}),
    Row("prepared positions cut, flipped, emptied", _each(damage.positions), {"pretrain": 3}),
    Row("prepared.json cut, flipped, emptied", _each(damage.index), {"pretrain": 3}),
    Row("half-prepared case cut, flipped, emptied", _each(damage.prepared_case), {"prepare": 3}),
    Row("weights cut, flipped, emptied", _each(damage.weights), {"predict": 3, "finetune": 3}),
    Row("download cache cut, flipped, emptied", _each(damage.cache), {"download": 3}),
)  # fmt: skip
"""Every fault of the suite, and how often it is injected into which command."""


def drive(rows: Sequence[Row], commands: Sequence[str] = COMMANDS) -> dict[str, Any]:
    """Inject the faults of these rows into these commands; return the report."""
    began = time.monotonic()
    counts: dict[str, dict[str, int]] = {}
    failures: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="faults") as name:
        mounts = own_mounts()
        _import_all()
        root = Path(name).resolve()
        needed = tuple(c for c in COMMANDS if c in commands and any(c in r.times for r in rows))
        world = build(root, needed)
        world.mounts = mounts
        if "download" in needed:
            world.address = serve(root)
            world.undisturbed("download")
        for row in rows:
            count = counts.setdefault(row.fault, {"injected": 0, "recovered": 0, "lost": 0})
            for command in needed:
                for number in range(row.times.get(command, 0)):
                    rng = random.Random(f"{SEED} {row.fault} {command} {number}")
                    count["injected"] += 1
                    try:
                        row.hurt(world, command, rng)
                        count["recovered"] += 1
                    except Exception:
                        count["lost"] += 1
                        why = traceback.format_exc(limit=-3)
                        failures.append({"fault": row.fault, "command": command, "why": why})
                        sys.stderr.write(f"{row.fault}, {command} {number}:\n{why}\n")
                    unmount_all(root)
            seconds = time.monotonic() - began
            sys.stderr.write(f"{seconds:6.1f} s  {row.fault}: {count}\n")
    cpu = os.times()
    return {
        "counts": counts,
        "failures": failures,
        "undisturbed": {c: round(s, 2) for c, s in world.seconds.items()},
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(sum(cpu[:4]), 1),
    }


def _import_all() -> None:
    """Import what the commands import, so that a child has it already.

    The garbage collector is kept from it: a training ends with a full collection, in which a child
    would copy every page of its parent.
    """
    from importlib import import_module

    for name in (
        *("cli.prepare", "cli.pretrain", "cli.finetune", "cli.predict", "cli.frame", "cli.run_log"),
        *("training.byol", "training.finetune_folder"),
        *("training.add_organs", "inference.cohort", "inference.predictor", "data.prepare"),
        *("inference.outputs", "inference.cohort_table", "inference.resume", "networks"),
    ):
        import_module(f"mots_pretrained.{name}")
    for name in ("accelerate.utils", "blosc2", "nibabel", "scipy.ndimage", "safetensors.torch",
                 "monai.inferers", "typer"):  # fmt: skip
        import_module(name)
    gc.collect()
    gc.freeze()


def table(counts: dict[str, dict[str, int]]) -> str:
    """Lay the counts out as a table of Markdown."""
    lines = ["| fault | injected | recovered | lost |", "|---|--:|--:|--:|"]
    total = [sum(count[key] for count in counts.values()) for key in _KEYS]
    for fault, count in counts.items():
        lines.append(f"| {fault} | " + " | ".join(str(count[key]) for key in _KEYS) + " |")
    return "\n".join([*lines, "| together | " + " | ".join(map(str, total)) + " |"])


_KEYS = ("injected", "recovered", "lost")


def main(words: list[str]) -> int:
    to = [word for word in words if word.endswith(".json")]
    commands = [word for word in words if word in COMMANDS] or COMMANDS
    parts = [word for word in words if word not in (*to, *commands)]
    rows = [row for row in PLAN if not parts or any(part in row.fault for part in parts)]
    report = drive(rows, commands)
    for path in to:
        Path(path).write_text(json.dumps(report))
    sys.stdout.write(f"{table(report['counts'])}\n")
    told = ", ".join(f"{c} {s} s" for c, s in report["undisturbed"].items())
    sys.stdout.write(
        f"{report['seconds']} s, {report['cpu_seconds']} s of processor; undisturbed: {told}\n"
    )
    return int(bool(report["failures"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
