"""Progress over scans and the windows of each, with the time left: bars, or lines now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mots_pretrained.cli import console

_SECONDS_A_LINE = 20.0

OnWindow = Callable[[int, int], None]


@dataclass(frozen=True)
class ScansBar:
    """Where progress is told.

    Attributes:
        windows: Function from a scan's name to the callback for its windows.
        done: Called after each scan.
    """

    windows: Callable[[str], OnWindow]
    done: Callable[[], None]


@contextmanager
def scans_bar(count: int) -> Iterator[ScansBar]:
    """Yield what shows the progress over so many scans."""
    if console.quiet() or not sys.stdout.isatty():
        yield _lines(count)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress("{task.description}", BarColumn(), MofNCompleteColumn(),
                  TimeRemainingColumn(), transient=True) as bar:  # fmt: skip
        scans = bar.add_task("scans", total=count, visible=count > 1)
        row = bar.add_task("")

        def windows(name: str) -> OnWindow:
            bar.reset(row, description=console.in_bar(name))
            return lambda done, total: bar.update(row, completed=done, total=total)

        yield ScansBar(windows, lambda: bar.advance(scans))


def _lines(count: int) -> ScansBar:
    start = last = time.monotonic()
    finished = 0

    def windows(name: str) -> OnWindow:
        def say(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _SECONDS_A_LINE:
                last = time.monotonic()
                console.say(f"{name}: window {done} of {total}")

        return say

    def done() -> None:
        nonlocal finished, last
        finished += 1
        if 1 < count != finished and time.monotonic() - last > _SECONDS_A_LINE:
            last = time.monotonic()
            left = (last - start) / finished * (count - finished)
            console.say(f"{finished} of {count} scans done, about {time_left(left)} left")

    return ScansBar(windows, done)


def time_left(seconds: float) -> str:
    """Say a time roughly.

    Example:
        >>> time_left(50), time_left(200), time_left(9000)
        ('50 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
