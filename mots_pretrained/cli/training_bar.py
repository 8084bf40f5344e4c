"""How a training's progress is shown: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mots_pretrained.cli import console

if TYPE_CHECKING:
    from mots_pretrained.training.loop import Progress

_SECONDS_A_LINE = 20.0


@contextmanager
def training_bar(steps: int) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows the progress it is given.

    Args:
        steps: Steps in all.
    """
    if console.quiet() or not sys.stdout.isatty():
        yield _Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, TimeRemainingColumn()) as bar:
        row = bar.add_task("", total=steps)
        yield lambda now: bar.update(row, completed=now.step, description=_parts(now))


class _Lines:
    """Says a line, but not more often than every twenty seconds, and the last."""

    def __init__(self) -> None:
        self.last = time.monotonic() - _SECONDS_A_LINE

    def __call__(self, now: Progress) -> None:
        if now.step < now.steps and time.monotonic() - self.last < _SECONDS_A_LINE:
            return
        self.last = time.monotonic()
        console.say(f"step {now.step} of {now.steps}, {_parts(now)}, {now.seconds / 60:.1f} min")


def _parts(now: Progress) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in now.losses.items())
