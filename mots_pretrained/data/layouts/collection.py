"""What every layout gives: a folder's cases, where each lies, and what its label values mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.scan_files import by_access, stem
from mots_pretrained.tasks import PUBLIC_COLLECTIONS, Task

_DEPTH = 3  # a collection lies one or two levels below the root

_TIME_POINT = re.compile(r"(BraTS-[A-Za-z]+-\d{5})-\d{3}(?!\d)")  # of BraTS from 2023 on

Classes = dict[str, tuple[int, ...]]
"""The label values that make up each class, by name; several for regions that overlap."""


@dataclass(frozen=True)
class CaseFiles:
    """Where one case lies.

    Attributes:
        name: What to call it; of a case of MOTS its name in the published split, e.g.
            ``"kidney_00008"``. No other case of its folder has it.
        images: The scan, or one file a channel in order.
        label: Its label map; None where it has none.
        masks: In place of a label map, one binary file for each class.
        labelled: Names of the classes that its labels tell of; None: all. Of the others nothing is
            known, which is not the same as their absence.
        series: Which DICOM series of the folder or zip in ``images`` is the scan
            (`images.dicom.Series`); None of other files.
        whole: Name that the folder or zip in ``images`` would have as one scan, and has where it
            cannot be read; empty of other files.
        state: Size and time of change of each of ``images`` when they were read; empty before.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None = None
    masks: Mapping[str, Path] = field(default_factory=dict, hash=False)
    labelled: tuple[str, ...] | None = None
    series: Any = field(default=None, compare=False)
    whole: str = field(default="", compare=False)
    state: tuple[tuple[int, int], ...] = field(default=(), compare=False)

    @property
    def patient(self) -> str:
        """Whose scan it is, as `patient_of` tells by its name."""
        return patient_of(self.name)

    @property
    def label_files(self) -> tuple[Path, ...]:
        """The label map, or the masks by name; empty where nothing is labelled."""
        if self.label is not None:
            return (self.label,)
        return tuple(self.masks[name] for name in sorted(self.masks))


class Fold(NamedTuple):
    """One way to part the cases of a folder.

    Attributes:
        held_out: Names of the cases to validate with.
        train: Names of those to train on; empty: all others. What is in neither is left out.
    """

    held_out: tuple[str, ...]
    train: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collection:
    """The cases of one folder, and what it says of them.

    Attributes:
        name: Name of the task that it supervises, e.g. ``"hepatic_vessel"``; or BCV or
            BraTS; else the folder's, as `after_folder` gives it.
        folder: The folder that holds all its files.
        cases: Its cases by name, those without labels included.
        task: What its label values mean for pretraining; None where it is none of MOTS's kind.
        classes: Label values by class name; None where the folder does not say. Of cases with
            masks the numbers that their classes get.
        channels: Names of the input channels; None where the folder does not say.
        ignore: Label value of voxels that are to count neither way; None where there is none.
        folds: The cases of each fold; empty where the folder tells none.
    """

    name: str
    folder: Path
    cases: tuple[CaseFiles, ...]
    task: Task | None = None
    classes: Classes | None = None
    channels: tuple[str, ...] | None = None
    ignore: int | None = None
    folds: tuple[Fold, ...] = ()

    @property
    def labelled(self) -> tuple[CaseFiles, ...]:
        """The cases that have labels: what training and test are made of."""
        return tuple(case for case in self.cases if case.label_files)

    @property
    def supervises(self) -> Task:
        """Its task.

        Raises:
            UserError: If it has none.
        """
        if self.task is None:
            raise UserError(
                f"{self.folder} is no collection of organ and tumour; describe it in a file and "
                "give that with --collection"
            )
        return self.task


def patient_of(name: str) -> str:
    """Return what the scans of one patient have in common; a case's own name where it tells none.

    Example:
        >>> patient_of("BraTS-GLI-02000-101"), patient_of("img0001")
        ('BraTS-GLI-02000', 'img0001')
    """
    match = _TIME_POINT.search(name)
    return match[1] if match else name


def after_folder(name: str) -> str:
    """Return what to call a collection after its folder: never as a public one, if it is none.

    Example:
        >>> after_folder("clinic"), after_folder("BCV")
        ('clinic', 'BCV (folder)')
    """
    return f"{name} (folder)" if name in PUBLIC_COLLECTIONS else name


def numbered(names: Sequence[str]) -> Classes:
    """Return classes whose values are 1, 2 and so on.

    Example:
        >>> numbered(("liver", "spleen"))
        {'liver': (1,), 'spleen': (2,)}
    """
    return {name: (value,) for value, name in enumerate(names, start=1)}


def exclude_each_other(classes: Classes) -> bool:
    """Tell whether no label value belongs to two classes, as it does where regions are nested.

    Example:
        >>> exclude_each_other({"organ": (1, 2), "tumour": (2,)})
        False
    """
    values = [value for group in classes.values() for value in group]
    return len({*values}) == len(values)


def pair(
    images: Mapping[str, Path], labels: Mapping[str, Path], *, hint: str
) -> tuple[CaseFiles, ...]:
    """Pair images and label maps by name.

    Raises:
        UserError: If an image has no label map or a label map no image; ``hint`` says what to do.
    """
    halves = sorted(set(images) ^ set(labels))
    if halves:
        name = halves[0]
        lacks = "label map" if name in images else "image"
        path = images.get(name) or labels[name]
        more = f" (and {len(halves) - 1} more cases are halves)" if len(halves) > 1 else ""
        raise UserError(f"{path} has no {lacks}{more}; {hint}")
    return tuple(CaseFiles(name, (images[name],), labels[name]) for name in images)


def add_once(found: dict[str, Path], name: str, path: Path) -> None:
    """Add a file under its case's name.

    Raises:
        UserError: If the case has one already; the message names both.
    """
    if name in found:
        raise UserError(f"{found[name]} and {path} are both {name}; keep one of them")
    found[name] = path


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Return files by their names without endings.

    Raises:
        UserError: If two have one; the message names both.
    """
    found: dict[str, Path] = {}
    for path in paths:
        add_once(found, stem(path), path)
    return found


def folders_below(
    root: Path, depth: int = _DEPTH, *, unreadable: list[Path] | None = None
) -> Iterator[Path]:
    """Yield a root and the folders up to so many levels below it, level by level.

    Args:
        root: The folder.
        depth: Number of levels.
        unreadable: Receives the folders below the root that may not be read, which are passed
            over.

    Raises:
        MissingFileError: If there is no such folder.
        PermissionError: If the root may not be read.
    """
    if not root.is_dir():
        raise MissingFileError(f"no such folder: {root}; give the one that holds the collections")
    level = [root]
    yield from level
    for _ in range(depth):
        level, closed = by_access(path for folder in level for path in subfolders(folder))
        if unreadable is not None:
            unreadable += closed
        yield from level


def subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder by name, hidden ones left out."""
    return [
        path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")
    ]
