"""What every source gives: one partially labelled collection and where its cases lie (Table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mots_pretrained.errors import UserError
from mots_pretrained.tasks import Task


@dataclass(frozen=True)
class SourceCase:
    """Where one case of a collection lies.

    Attributes:
        identifier: The case's name in the published split, e.g. ``"kidney_00008"``; no other
            collection has it.
        collection: Name of its collection.
        image: The scan.
        label: Its label map; None where the collection keeps that to itself.
    """

    identifier: str
    collection: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Collection:
    """One partially labelled collection as it lies on disk.

    Attributes:
        name: Name of the task that it supervises, e.g. ``"hepatic_vessel"``.
        task: That task; its values say what the label maps mean.
        folder: The folder that holds all its files.
        cases: Its cases by identifier, those without a label map included.
    """

    name: str
    task: Task
    folder: Path
    cases: tuple[SourceCase, ...]

    @property
    def labelled(self) -> tuple[SourceCase, ...]:
        """The cases that have a label map: what training and test are made of."""
        return tuple(case for case in self.cases if case.label is not None)


def pair_cases(
    collection: str, images: Mapping[str, Path], labels: Mapping[str, Path], *, hint: str
) -> tuple[SourceCase, ...]:
    """Pair images and label maps by identifier.

    Raises:
        ValueError: If an image has no label map or a label map no image; ``hint`` says what to do.
    """
    halves = sorted(set(images) ^ set(labels))
    if halves:
        name = halves[0]
        lacks = "label map" if name in images else "image"
        path = images.get(name) or labels[name]
        more = f" (and {len(halves) - 1} more cases are halves)" if len(halves) > 1 else ""
        raise UserError(f"{path} has no {lacks}{more}; {hint}")
    return tuple(SourceCase(name, collection, images[name], labels[name]) for name in images)


def add_once(found: dict[str, Path], identifier: str, path: Path) -> None:
    """Add a file under its case's identifier.

    Raises:
        ValueError: If the case has one already; the message names both.
    """
    if identifier in found:
        raise UserError(f"{found[identifier]} and {path} are both {identifier}; keep one of them")
    found[identifier] = path
