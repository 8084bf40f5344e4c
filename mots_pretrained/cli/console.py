"""What verbs write: steps unless silenced, results as text or as one JSON object, errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mots_pretrained.errors import printable

_level = {"quiet": False, "verbose": False}


def set_level(*, quiet: bool = False, verbose: bool = False) -> None:
    """Set how much is printed, from ``-q``, ``-v`` and ``--json``.

    Args:
        quiet: Print results only; ``say`` prints nothing.
        verbose: Print more, and tracebacks of errors.
    """
    _level.update(quiet=quiet, verbose=verbose)


def quiet() -> bool:
    """Return whether steps and progress bars are left out."""
    return _level["quiet"]


def verbose() -> bool:
    """Return whether to print more than usual."""
    return _level["verbose"]


def prepare() -> None:
    """Make standard output and standard error take any text.

    What their encoding lacks becomes a question mark; what goes to a closed one is dropped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def say(text: str = "") -> None:
    """Print one step of the work, unless ``-q`` or ``--json`` was given."""
    if not _level["quiet"]:
        show(text)


def show(text: str = "") -> None:
    """Print a line of the result on standard output."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def in_bar(text: str) -> str:
    """Return a name for a progress bar: on one line, escaped, and without rich's own markup."""
    from rich.markup import escape

    return escape(printable(" ".join(text.split())))


@contextmanager
def bar(total: int | None = None) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar with the time left; yield what sets how much is done, of how much, and a text."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn()) as shown:
        row = shown.add_task("", total=total)
        yield lambda done, of, text: shown.update(
            row, completed=done, total=of, description=in_bar(text)
        )


def warn(text: str) -> None:
    """Print a warning or an error on standard error, as one line."""
    sys.stderr.write(printable(" ".join(text.split())) + "\n")
    sys.stderr.flush()


def show_json(value: Any) -> None:
    """Print one JSON object on standard output.

    Args:
        value: Dicts, lists, texts and numbers; not-a-number is refused, since JSON has none.
    """
    show(json.dumps(value, indent=2, allow_nan=False))
