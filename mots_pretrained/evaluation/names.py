"""What the values of a label map are called, whoever made it; regions may share values."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.tasks import (
    BCV_ORGANS,
    BRATS_REGIONS,
    MOTS_CATEGORIES,
    MOTS_TASKS,
    Task,
)

_FILES = ("labels.json", "dataset.json")


@dataclass(frozen=True)
class LabelNames:
    """Names of a label map's values.

    Attributes:
        classes: The values that make up each class; several for a region that contains others.
        ignore: Values that are neither a class nor background: what lies there is not scored.
    """

    classes: Mapping[str, tuple[int, ...]]
    ignore: tuple[int, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, int]) -> LabelNames:
        """Make names of one value a class."""
        return cls({name: (value,) for name, value in values.items()})

    @property
    def known(self) -> set[int]:
        """All values that mean something, background included."""
        return {0, *self.ignore, *(value for group in self.classes.values() for value in group)}

    def mask(self, labels: NDArray[np.integer], name: str) -> NDArray[np.bool_]:
        """Return where a label map shows a class."""
        values = self.classes[name]
        return labels == values[0] if len(values) == 1 else np.isin(labels, values)


def _of_task(task: Task) -> LabelNames:
    """Return how a collection of Table 1 numbers its own organ and tumour."""
    both = {task.organ: task.organ_values, task.tumour: task.tumour_values}
    return LabelNames({name: values for name, values in both.items() if name is not None})


_MOTS = {name: (value,) for value, name in enumerate(MOTS_CATEGORIES, start=1)}
_LIVER = ("liver", "liver_tumour", "hepatic_vessel", "hepatic_vessel_tumour")

NAMED: dict[str, LabelNames] = {
    "mots": LabelNames(_MOTS),
    "mots-whole": LabelNames(
        {
            **_MOTS,
            "liver": tuple(_MOTS[name][0] for name in _LIVER),
            "kidney": (*_MOTS["kidney"], *_MOTS["kidney_tumour"]),
            "pancreas": (*_MOTS["pancreas"], *_MOTS["pancreas_tumour"]),
        }
    ),
    **{task.name: _of_task(task) for task in MOTS_TASKS},
    "bcv": LabelNames.of({name: value for value, name in enumerate(BCV_ORGANS, start=1)}),
    "brats": LabelNames(BRATS_REGIONS),
}
"""Names known by a word: the values that ``mots predict`` writes, as they are or each organ with
what lies in it; those of the seven collections; BCV's; and BraTS's nested regions."""


def label_names(text: str) -> LabelNames:
    """Return what a word of ``NAMED`` stands for, or what a JSON file tells.

    Raises:
        FileNotFoundError: If it is neither.
        ValueError: If the file names no classes.
    """
    return NAMED[text] if text in NAMED else read_label_names(text)


def read_label_names(path: str | os.PathLike[str]) -> LabelNames:
    """Read names from JSON: name to value or values, value to name, or a list from 1 on.

    The ``labels`` of a ``dataset.json`` of the Decathlon or of nnU-Net will do, nested regions
    included. Background is left out; nnU-Net's ``ignore`` is no class.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it says something else.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no such file: {path}; give a JSON file, or {', '.join(NAMED)}")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error})") from None
    if isinstance(content, dict) and isinstance(content.get("labels"), dict | list):
        content = content["labels"]
    if isinstance(content, list):
        content = {str(name): value for value, name in enumerate(content, start=1)}
    classes = _classes(content) if isinstance(content, dict) else {}
    ignore = classes.pop("ignore", ())
    if not classes:
        raise UserError(f'{path} names no classes; write {{"liver": 1, "spleen": [2, 3]}}, say')
    return LabelNames(classes, ignore)


def names_beside(path: Path) -> LabelNames | None:
    """Return what a file beside a label map or folder, or in the folder above, says of them."""
    folder = path.parent if path.is_file() else path
    for place in (folder, folder.parent):
        for name in _FILES:
            if (place / name).is_file():
                return read_label_names(place / name)
    return None


def _classes(content: dict[Any, Any]) -> dict[str, tuple[int, ...]]:
    """Read name and value in either order; nothing at all if an entry is neither."""
    classes: dict[str, tuple[int, ...]] = {}
    for key, value in content.items():
        name, given = (value, key) if str(key).isdigit() else (key, value)
        numbers = given if isinstance(given, list) else [given]
        if not isinstance(name, str) or not numbers or not all(str(n).isdigit() for n in numbers):
            return {}
        if values := tuple(int(number) for number in numbers if int(number) != 0):
            classes[name] = values
    return classes
