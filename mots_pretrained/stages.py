"""Stages of a run, timed, for whoever listens to the logger ``mots_pretrained``."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOGGER = logging.getLogger("mots_pretrained")
"""Receives a record a finished stage, whose ``facts`` are its name, seconds and what it is about.

Nothing is shown unless a handler is added and the level set, as ``mots -v`` and run.log do.
"""

LOGGER.addHandler(logging.NullHandler())

_forgotten = 0  # MB: the peak of this program before it was last forgotten


@contextmanager
def stage(name: str, **facts: Any) -> Iterator[None]:
    """Log how long the block took, unless it ends in an exception.

    Args:
        name: What is done, such as ``"read"``.
        facts: What it is done with: texts and numbers.
    """
    start = time.monotonic()
    yield
    seconds = round(time.monotonic() - start, 3)
    told = " ".join(f"{value}" for value in facts.values())
    text = f"{name}{' ' if told else ''}{told}: {seconds:.2f} s"
    LOGGER.info("%s", text, extra={"facts": {"stage": name, **facts, "seconds": seconds}})


def begin_work() -> None:
    """Tell that what was given is sound and the work itself begins: whoever keeps a log may write.

    Before it, a run may still be refused, and then leaves no trace.
    """
    LOGGER.info("the work begins", extra={"facts": {}})


def peak_memory_mb() -> dict[str, int]:
    """Return the largest memory of this process, of its workers and of the GPU so far, in MB."""
    peak: dict[str, int] = {}
    try:
        import resource

        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
        for name, who in (("process", resource.RUSAGE_SELF), ("workers", resource.RUSAGE_CHILDREN)):
            peak[name] = resource.getrusage(who).ru_maxrss // unit
    except ImportError:  # no such thing on Windows
        pass
    own = _own_peak_mb()
    if own is not None:
        peak["process"] = max(own, _forgotten)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        peak["gpu"] = torch.cuda.max_memory_allocated() >> 20
    return peak


def forget_peak() -> None:
    """Start Linux's figure of this program's peak anew; `peak_memory_mb` keeps the larger one."""
    global _forgotten
    _forgotten = max(_forgotten, _own_peak_mb() or 0)
    with suppress(OSError):  # a container may forbid it; the peak then is that of all before, too
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def _own_peak_mb() -> int | None:
    """Return Linux's figure for this program alone: getrusage counts what started it as well."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text("utf-8"), re.MULTILINE)
    return int(found[1]) >> 10 if found else None
