"""Left and right in the names of classes: what each becomes when a scan is mirrored."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mots_pretrained.tasks import Task

Order = tuple[int, ...]
"""Position by position, which class (or task) one becomes when left and right change places."""

# A word ends at anything but a letter, and before a capital after a small one.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NUMBERED = re.compile(r"(class|label)_\d+")  # nobody knows what these are
_PAIRS = (("left", "right"), ("l", "r"), ("lk", "rk"), ("lag", "rag"))
_OTHER = dict(_PAIRS) | {right: left for left, right in _PAIRS}


def other_side(name: str) -> str:
    """Return the name that a class has on the other side of the body; its own if it has no side.

    Example:
        >>> other_side("LeftKidney"), other_side("lung_upper_lobe_left"), other_side("copyright")
        ('RightKidney', 'lung_upper_lobe_right', 'copyright')
    """

    def swap(match: re.Match[str]) -> str:
        word = match[0]
        other = _OTHER.get(word.lower())
        if other is None:
            return word
        return other.upper() if word.isupper() else other.title() if word.istitle() else other

    return _WORD.sub(swap, name)


def mirrored_classes(names: Sequence[str]) -> Order | None:
    """Return which class each becomes in a mirrored scan, or None where that can't be told.

    It can't where a class of one side has no counterpart on the other, or is only numbered.

    Example:
        >>> mirrored_classes(("liver", "left_kidney", "right_kidney"))
        (0, 2, 1)
        >>> mirrored_classes(("liver", "left_kidney")) is None
        True
    """
    names = tuple(names)
    if any(_NUMBERED.fullmatch(name) for name in names):
        return None
    others = [other_side(name) for name in names]
    return tuple(map(names.index, others)) if {*others} <= {*names} else None


def mirrored_tasks(tasks: Sequence[Task]) -> Order | None:
    """Return which task each becomes in a mirrored scan, or None where one has no counterpart."""
    known: list[tuple[str | None, ...]] = [(task.name, task.organ, task.tumour) for task in tasks]
    others = [tuple(name and other_side(name) for name in names) for names in known]
    return tuple(known.index(other) for other in others) if {*others} <= {*known} else None
