"""Names of the values of a label map, whoever made it; regions may share values."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.itk import common_segments
from mots_pretrained.images.scan_files import is_seg_nrrd, list_volumes
from mots_pretrained.parse import (
    LABELLED,
    label_classes,
    parse_labelled,
    read_json,
    read_labelled,
)
from mots_pretrained.tasks import BCV_ORGANS, BRATS_2023_REGIONS, BRATS_REGIONS, MOTS_TASKS, Task

_FILES = ("labels.json", "dataset.json")
_LESION = re.compile(r"cancer|tumou?r|lesion|carcinom|metasta", re.IGNORECASE)
_TOLD_IN = ("dataset.json", "datalist.json")


@dataclass(frozen=True)
class LabelNames:
    """Names of the values of a label map.

    Attributes:
        classes: Values that make up each class; several for a region that contains others.
        ignore: Values that are neither a class nor background: what lies there is not scored.
        source: File or word that gives the names, for messages.
    """

    classes: Mapping[str, tuple[int, ...]]
    ignore: tuple[int, ...] = ()
    source: str = field(default="", compare=False)

    @property
    def known(self) -> set[int]:
        """All values that mean something, background included."""
        return {0, *self.ignore, *(value for group in self.classes.values() for value in group)}

    def mask(self, labels: NDArray[np.integer], name: str) -> NDArray[np.bool_]:
        """Return where a label map shows a class."""
        values = self.classes[name]
        return labels == values[0] if len(values) == 1 else np.isin(labels, values)

    def holds(self, outer: str, inner: str) -> bool:
        """Whether a class has all values of another, and more."""
        return {*self.classes[inner]} < {*self.classes[outer]}

    def named(self, value: int) -> str:
        """Return the names of a value, that of the class which it stands for first."""
        own = sorted(self.classes.items(), key=lambda item: (len(item[1]), item[1][0] != value))
        return ", ".join(name for name, values in own if value in values)

    def nested_like(self, other: LabelNames) -> LabelNames:
        """Return the names with each class holding those that it holds in the other's.

        Where liver and liver tumour exclude each other here and the other's liver includes its
        tumour, the liver gets the tumour's values.
        """
        shared = [name for name in self.classes if name in other.classes]
        classes = dict(self.classes)
        for outer in shared:
            for inner in shared:
                if other.holds(outer, inner) and not {*self.classes[inner]} & {
                    *self.classes[outer]
                }:
                    classes[outer] += self.classes[inner]
        classes = {name: tuple(dict.fromkeys(values)) for name, values in classes.items()}
        return replace(self, classes=classes)


def parted_lesions(own: LabelNames, other: LabelNames) -> dict[str, tuple[str, str]]:
    """Return shared classes that hold a lesion on one side which the other may have beside them.

    The two lesions have names of their own, so that nothing tells whether they are the same:
    ``{"liver": ("liver_tumour", "cancer")}`` where ``own`` has the first within its liver, and
    ``other`` the second outside of it.
    """
    found = {}
    for name in (name for name in own.classes if name in other.classes):
        within = [inner for inner in _lesions(own, other) if own.holds(name, inner)]
        beside = [lesion for lesion in _lesions(other, own) if not other.holds(name, lesion)]
        if within and beside:
            found[name] = (within[0], beside[0])
    return found


def _lesions(own: LabelNames, other: LabelNames) -> list[str]:
    return [n for n in own.classes if n not in other.classes and _LESION.search(n)]


def names_of_task(task: Task) -> LabelNames:
    """Return how a task's collection numbers its own organ and tumour."""
    both = {task.organ: task.organ_values, task.tumour: task.tumour_values}
    return LabelNames({name: values for name, values in both.items() if name is not None})


_MOTS = ModelConfig().label_values

NAMED: dict[str, LabelNames] = {
    "mots": LabelNames(_MOTS),
    **{task.name: names_of_task(task) for task in MOTS_TASKS},
    "bcv": LabelNames({name: (value,) for value, name in enumerate(BCV_ORGANS, start=1)}),
    "brats": LabelNames(BRATS_REGIONS),
    "brats-2023": LabelNames(BRATS_2023_REGIONS),
}
"""Names known by a word: the values that ``mots predict`` writes for the tasks of MOTS, an organ
with all that lies in it; those of the seven collections; BCV's; and BraTS's nested regions, before
2023 and since."""


def label_names(text: str) -> LabelNames:
    """Return what a word of ``NAMED`` stands for, or what a JSON file says.

    Raises:
        MissingFileError: If it is neither.
        UserError: If the file names no classes.
    """
    return replace(NAMED[text], source=text) if text in NAMED else read_label_names(text)


def read_label_names(path: str | os.PathLike[str]) -> LabelNames:
    """Read names from JSON: name to value or values, value to name, or a list from 1 on.

    The ``labels`` of a ``dataset.json`` of the Decathlon or of nnU-Net are such, nested regions
    included. Background is left out; nnU-Net's ``ignore`` is no class.

    Raises:
        MissingFileError: If there is no such file.
        UserError: If it says something else.
    """
    content = _content(Path(path))
    if isinstance(content, list):
        content = {str(name): value for value, name in enumerate(content, start=1)}
    hint = 'write {"liver": 1, "spleen": [2, 3]}, say'
    try:
        classes = label_classes(content if isinstance(content, dict) else {}, f"{path}")
    except UserError as error:
        raise UserError(f"{error}, so it names no classes; {hint}") from None
    ignore = classes.pop("ignore", ())
    if not classes:
        raise UserError(f"{path} names no classes; {hint}")
    return LabelNames(classes, ignore, f"{path}")


def names_beside(path: Path) -> LabelNames | None:
    """Return what a file beside a label map or folder, or in the folder above, says of them.

    Without one, a ``.seg.nrrd`` names its segments itself.
    """
    folder = path.parent if path.is_file() else path
    for place in (folder, folder.parent):
        for name in _FILES:
            if (place / name).is_file():
                return read_label_names(place / name)
    files = [path] if path.is_file() else [*filter(is_seg_nrrd, list_volumes(folder))]
    if not files or not is_seg_nrrd(files[0]):
        return None
    values = common_segments(files)  # what 3D Slicer calls its segments
    classes = {name: (value,) for name, value in values.items()}
    return LabelNames(classes, source=f"{files[0]}") if classes else None


def labelled_beside(path: Path) -> tuple[dict[str, tuple[str, ...]], Path] | None:
    """Return what a file beside true label maps, or in the folder above, says that cases label.

    Returns:
        Names of the classes by the case's name, and the file: ``labelled.csv``, or a JSON file with
        ``labelled``. None where there is neither: then every case labels all classes.

    Raises:
        UserError: If a file is damaged, or two say so.
    """
    folder = path.parent if path.is_file() else path
    for place in (folder, folder.parent):
        told = {}
        if (place / LABELLED).is_file():
            told[place / LABELLED] = read_labelled(place / LABELLED)
        for file in (place / name for name in _TOLD_IN):
            content = read_json(file) if file.is_file() else None
            if isinstance(content, dict) and content.get("labelled") is not None:
                told[file] = parse_labelled(content["labelled"], f"{file}")
        if len(told) > 1:
            both = " and ".join(map(str, told))
            raise UserError(f"{both} both tell which classes cases label; take one away")
        for file, cases in told.items():
            return cases, file
    return None


def _content(path: Path) -> Any:
    if not path.is_file():
        raise MissingFileError(f"no such file: {path}; give a JSON file, or {', '.join(NAMED)}")
    content = read_json(path)
    if isinstance(content, dict) and isinstance(content.get("labels"), dict | list):
        return content["labels"]
    return content
