"""What the corpus of odd and hostile inputs is made of, and what may come of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

SEED = 20221106
"""The corpus is the same in every run."""

Outcome = Literal["right", "refused", "either"]


class WrongError(AssertionError):
    """A result that was accepted and is not right."""


@dataclass(frozen=True)
class Entry:
    """One input.

    Attributes:
        kind: What sort of input it is; the counts are by kind.
        name: What is odd about it.
        run: Reads it by the functions behind the commands. It returns where the result is right,
            raises a UserError where the input is refused, and ``WrongError`` where neither holds.
        wanted: Which of the two is wanted.
    """

    kind: str
    name: str
    run: Callable[[], Any]
    wanted: Outcome = "either"


def generator(*of: object) -> random.Random:
    """Return random numbers of a part of the corpus, which no other part changes."""
    return random.Random(f"{SEED} {of}")


def require(condition: bool, what: str) -> None:
    """Raise ``WrongError`` unless a condition holds."""
    if not condition:
        raise WrongError(what)


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within nested dicts and lists."""
    if path:
        yield path
    keys: Any = values if isinstance(values, dict) else ()
    for key in range(len(values)) if isinstance(values, list) else keys:
        yield from places(values[key], (*path, key))
