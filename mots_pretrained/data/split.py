"""Which cases train and which test: the published 920 and 235, or a seeded split (Table 1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection as Group
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from mots_pretrained.data.layouts import Collection
from mots_pretrained.data.layouts.collection import patient_of
from mots_pretrained.errors import UserError
from mots_pretrained.tasks import MOTS_TASKS

Split = Literal["train", "test"]

_MOTS = frozenset(task.name for task in MOTS_TASKS)

KINDS: tuple[str, ...] = ("published", "seeded", "all-test")
"""What splits there are."""

HELD_OUT = 0.2
"""Share of a collection's cases that a seeded split tests on; likewise of its training cases that
the ablations validate on (Sec. 4.2)."""


@dataclass(frozen=True)
class Supervision:
    """What a collection teaches: a line of the plan that ``--dry-run`` prints.

    Attributes:
        collection: Its name.
        organ: The category that its organ labels supervise; None where it has none.
        tumour: Likewise of its tumours.
        train: Training cases, those of the validation fold included.
        validation: Training cases of the validation fold.
        test: Test cases.
        unlabelled: Scans without a label map, which are left out.
        folder: Where it was found.
    """

    collection: str
    organ: str | None
    tumour: str | None
    train: int
    validation: int
    test: int
    unlabelled: int
    folder: str


@cache
def published_split() -> Mapping[str, Split]:
    """Return the published split of MOTS by identifier: 920 training and 235 test cases."""
    text = (files("mots_pretrained.data") / "mots_split.json").read_text(encoding="utf-8")
    split: dict[str, Split] = {}
    for parts in json.loads(text)["tasks"].values():
        split |= dict.fromkeys(parts["train"], "train") | dict.fromkeys(parts["test"], "test")
    return split


def split_cases(
    collections: Sequence[Collection], kind: str = "published", seed: int = 0
) -> dict[str, Split]:
    """Split the labelled cases of every collection.

    Args:
        collections: What `layouts.find_collections` found.
        kind: ``"published"`` takes the seven collections of MOTS as published and splits others as
            ``"seeded"`` does: 80 % of each collection train and 20 % test, chosen by a hash of
            seed and identifier. ``"all-test"`` trains on none.
        seed: Seed of the seeded split.

    Returns:
        ``"train"`` or ``"test"`` by identifier. A case more in one collection changes nothing in
        the others, and moves at most one of its own, or one patient's.

    Raises:
        ValueError: If there is no such kind, or the published split does not know a case.
    """
    if kind not in KINDS:
        raise UserError(f"unknown split {kind!r}; there are: {', '.join(KINDS)}")
    split: dict[str, Split] = {}
    for collection in collections:
        names = [case.name for case in collection.labelled]
        if kind == "all-test":
            split |= dict.fromkeys(names, "test")
        elif kind == "published" and collection.name in _MOTS:
            split |= _as_published(names, collection)
        else:
            tested = _held_out(names, f"test {seed}")
            split |= {name: "test" if name in tested else "train" for name in names}
    return split


def validation_cases(
    collections: Sequence[Collection], split: Mapping[str, Split], *, seed: int = 0
) -> frozenset[str]:
    """Choose 20 % of every collection's training cases for validation (Sec. 4.2).

    Args:
        collections: As in `split_cases`.
        split: What `split_cases` returned for them.
        seed: Another seed chooses others.

    Returns:
        Their identifiers, chosen by a hash of seed and identifier. A case more in one collection
        changes nothing in the others, and moves at most one of its own.
    """
    chosen: set[str] = set()
    for collection in collections:
        names = [case.name for case in collection.labelled]
        trained = [name for name in names if split[name] == "train"]
        chosen |= _held_out(trained, f"validation {seed}")
    return frozenset(chosen)


def supervision(
    collections: Sequence[Collection], kind: str = "published", seed: int = 0
) -> tuple[Supervision, ...]:
    """Return which collection supervises which categories, with how many cases; nothing is read.

    Raises:
        UserError: As `split_cases` does, or if a collection has no task.
    """
    split = split_cases(collections, kind, seed)
    validation = validation_cases(collections, split, seed=seed)
    lines = []
    for collection in collections:
        names = [case.name for case in collection.labelled]
        lines.append(
            Supervision(
                collection.name,
                collection.supervises.organ,
                collection.supervises.tumour,
                train=sum(split[name] == "train" for name in names),
                validation=sum(name in validation for name in names),
                test=sum(split[name] == "test" for name in names),
                unlabelled=len(collection.cases) - len(names),
                folder=f"{collection.folder}",
            )
        )
    return tuple(lines)


def _as_published(names: Sequence[str], collection: Collection) -> dict[str, Split]:
    published = published_split()
    unknown = [name for name in names if name not in published]
    if unknown:
        raise UserError(
            f"{len(unknown)} cases of {collection.folder}, such as {unknown[0]}, are not in the "
            "published split; for other cases than those of MOTS use --split seeded or all-test"
        )
    return {name: published[name] for name in names}


def _held_out(names: Group[str], purpose: str) -> set[str]:
    """Choose the fifth with the smallest hashes; of two cases or more at least one.

    A patient's cases are chosen together, so that there may be a few more.
    """
    count = max(round(HELD_OUT * len(names)), int(len(names) > 1))
    first = {patient_of(name): name for name in sorted(names, reverse=True)}
    order = sorted(names, key=lambda name: _hash(first[patient_of(name)], purpose))
    chosen = {patient_of(name) for name in order[:count]}
    return {name for name in names if patient_of(name) in chosen}


def _hash(name: str, purpose: str) -> str:
    return hashlib.sha256(f"{purpose} {name}".encode()).hexdigest()
