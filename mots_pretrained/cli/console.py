"""What verbs say: steps on standard output unless hushed, results as text or as one JSON object."""

from __future__ import annotations

import json
import sys
from typing import Any

from mots_pretrained.errors import printable

_level = {"quiet": False, "verbose": False}


def set_level(*, quiet: bool = False, verbose: bool = False) -> None:
    """Set what is told; the frame does so from ``-q``, ``-v`` and ``--json``.

    Args:
        quiet: Results only; ``say`` is silent.
        verbose: Tell more, and show tracebacks.
    """
    _level.update(quiet=quiet, verbose=verbose)


def quiet() -> bool:
    """Return whether steps and progress bars are hushed."""
    return _level["quiet"]


def verbose() -> bool:
    """Return whether to tell more than usual."""
    return _level["verbose"]


def say(text: str = "") -> None:
    """Tell one step of the work on standard output, unless ``-q`` or ``--json`` was given."""
    if not _level["quiet"]:
        show(text)


def show(text: str = "") -> None:
    """Write a line of the result on standard output, whatever the level."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def show_json(value: Any) -> None:
    """Write one JSON object on standard output.

    Args:
        value: Dicts, lists, texts and numbers; not-a-number is refused, since JSON has none.
    """
    show(json.dumps(value, indent=2, allow_nan=False))
