"""Channels by their names, whoever gave them: a sequence of MRI is called in several ways."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mots_pretrained.data.layouts.collection import CaseFiles, Collection

_SYNONYMS = {
    "t1": ("t1w", "t1n"),
    "t1ce": ("t1c", "t1gd", "t1wce", "t1wgd"),
    "t2": ("t2w",),
    "flair": ("t2f", "t2flair", "t2wflair"),
}
_SEQUENCES = {name: key for key, others in _SYNONYMS.items() for name in (key, *others)}


def channel_key(name: str) -> str:
    """Return what all names of a channel have in common: case, ``-``, ``_`` and blanks don't count.

    Example:
        >>> channel_key("T1w_Gd"), channel_key("T2-FLAIR"), channel_key("CT")
        ('t1ce', 'flair', 'ct')
    """
    plain = re.sub(r"[-_\s]", "", name.lower())
    return _SEQUENCES.get(plain, plain)


def sequence_named(name: str) -> str | None:
    """Return the sequence that a name ends in, as BraTS 2018 calls it; None of other names.

    Example:
        >>> [sequence_named(name) for name in ("Brats18_1_t1ce", "sub-01_T2-FLAIR", "ct")]
        ['t1ce', 'flair', None]
    """
    words = re.split(r"[-_\s]", name)
    ends = ("".join(words[first:]).lower() for first in range(len(words)))
    return next((_SEQUENCES[end] for end in ends if end in _SEQUENCES), None)


def are_numbered(channels: Sequence[str]) -> bool:
    """Whether channels have no names but ``channel_0``, ``channel_1`` and so on."""
    return [*channels] == [f"channel_{number}" for number in range(len(channels))]


def order_of(there: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...] | None:
    """Return at which place each wanted channel is; None if there are others, or one twice.

    Example:
        >>> order_of(("t1", "t1ce", "t2", "flair"), ("FLAIR", "T1w", "t1gd", "T2w"))
        (3, 0, 1, 2)
    """
    keys, named = [channel_key(name) for name in there], [channel_key(name) for name in wanted]
    if sorted(keys) != sorted(named) or len({*keys}) < len(keys):
        return None
    return tuple(keys.index(key) for key in named)


def in_order(found: Collection, wanted: Sequence[str]) -> Collection | None:
    """Return a collection with the wanted channels, each case's files in their order.

    Returns:
        None if the collection has other channels, does not name them, or holds them in another
        order in one file.
    """
    order = None if found.channels is None else order_of(found.channels, wanted)
    if order is None:
        return None
    cases = found.cases
    if order != tuple(range(len(order))):
        if any(len(case.images) != len(order) for case in cases):
            return None
        cases = tuple(reordered(case, order) for case in cases)
    return replace(found, cases=cases, channels=tuple(wanted))


def reordered(case: CaseFiles, order: Sequence[int]) -> CaseFiles:
    """Return a case with its files in an order of `order_of`; what is behind them stays there."""
    files = (*(case.images[place] for place in order), *case.images[len(order) :])
    return replace(case, images=files)
