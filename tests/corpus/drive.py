"""Drives the corpus through the functions behind the commands, within bounds of time and memory.

``python tests/corpus/drive.py`` prints the counts; exit status 1 says that an input has failed.
With a file's name as argument, a report is written there as JSON; with a number N, one input in N
of each kind is driven.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parents[2])]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["MPLBACKEND"] = "Agg"

from corpus.entries import Entry, WrongError

from mots_pretrained.errors import UserError
from mots_pretrained.images.preprocess import NoAirWarning
from mots_pretrained.stages import peak_memory_mb

SECONDS = 20
"""What one input may take: several times what the slowest does, and far from for ever."""

MEMORY = 1 << 30
"""Bytes that the process may take beyond what it has when the first input comes."""

LONGEST = 2000
"""Letters that a message may have."""

TOGETHER = "together"
PARTS = ("niftis", "others", "texts", "models", "names")


class Hang(BaseException):
    """An input has taken too long."""


def corpus(folder: Path, parts: Sequence[str] = PARTS) -> Iterator[Entry]:
    """Write every input below a folder, and yield what is done with each."""
    from importlib import import_module

    for name in parts:
        place = folder / name
        place.mkdir()
        yield from import_module(f"corpus.{name}").entries(place)


def outcome(entry: Entry) -> tuple[str, str]:
    """Return what came of an input, and in words why it failed."""
    signal.signal(signal.SIGALRM, _hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            came, why = _came(entry)
    except Hang:
        return "failed", f"took more than {SECONDS} s"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    strange = [w for w in caught if w.category not in (UserWarning, NoAirWarning)]
    if strange and came != "failed":
        return "failed", f"warns of {strange[0].category.__name__}: {strange[0].message}"
    if came != "failed" and entry.wanted not in (came, "either"):
        return "failed", f"was to be {entry.wanted}, but is {came}: {why}"
    return came, why


def _came(entry: Entry) -> tuple[str, str]:
    try:
        entry.run()
    except UserError as error:
        text = str(error)
        if not 5 <= len(text) <= LONGEST:
            return "failed", f"a message of {len(text)} letters: {text:.200}"
        return "refused", text
    except WrongError as error:
        return "failed", f"silently wrong: {error}"
    except Exception:
        return "failed", traceback.format_exc(limit=-6)
    return "right", ""


def _hang(*_: Any) -> None:
    raise Hang


def drive(parts: Sequence[str] = PARTS, *, every: int = 1) -> dict[str, Any]:
    """Drive the inputs of these parts, or one of each kind in so many; return the report."""
    seen: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {}
    failures, slowest, start = [], (0.0, ""), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number, entry in enumerate(corpus(Path(folder), parts)):
            if number == 0:
                _limit_memory()
            seen[entry.kind] += 1
            if (seen[entry.kind] - 1) % every:
                continue
            begun = time.monotonic()
            came, why = outcome(entry)
            slowest = max(slowest, (time.monotonic() - begun, f"{entry.kind}: {entry.name}"))
            for kind in (entry.kind, TOGETHER):
                counts.setdefault(kind, Counter())[came] += 1
            if came == "failed":
                failures.append({"kind": entry.kind, "name": entry.name, "why": why})
    return {
        "counts": {kind: dict(one) for kind, one in counts.items()},
        "failures": failures,
        "seconds": round(time.monotonic() - start, 1),
        "slowest": [round(slowest[0], 2), slowest[1]],
        "peak_mb": peak_memory_mb()["process"],
    }


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def table(report: dict[str, Any]) -> str:
    """Lay the counts out in columns."""
    columns = ("right", "refused", "failed")
    rows = [("inputs", "all", *columns)]
    kinds = sorted(report["counts"], key=lambda kind: (kind == TOGETHER, kind))
    for kind in kinds:
        one = report["counts"][kind]
        rows.append((kind, *map(str, (sum(one.values()), *(one.get(c, 0) for c in columns)))))
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    lines = [
        "  ".join(c.rjust(w) if k else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths)))
        for row in rows
    ]
    seconds, name = report["slowest"]
    lines += [
        f"{report['seconds']} s, the slowest {seconds} s ({name}); peak {report['peak_mb']} MB"
    ]
    return "\n".join(lines)


def main(words: list[str]) -> int:
    to = [word for word in words if word.endswith(".json")]
    every = [int(word) for word in words if word.isdigit()]
    report = drive([word for word in words if word in PARTS] or PARTS, every=(every or [1])[0])
    for path in to:
        Path(path).write_text(json.dumps(report))
    for failure in report["failures"]:
        sys.stdout.write(f"{failure['kind']}: {failure['name']}\n  {failure['why']}\n")
    sys.stdout.write(table(report) + "\n")
    return int(bool(report["failures"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
