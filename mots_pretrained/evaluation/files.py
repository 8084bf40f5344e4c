"""Scoring label map files against the truth, paired by their names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.evaluation.dice import Rule, label_dice
from mots_pretrained.evaluation.table import Table
from mots_pretrained.tasks import BCV_ORGANS, MOTS_CATEGORIES
from mots_pretrained.volume import Volume, list_volumes, read_volume, stem

NAMED: dict[str, dict[str, int]] = {
    "mots": {name: value for value, name in enumerate(MOTS_CATEGORIES, start=1)},
    "bcv": {name: value for value, name in enumerate(BCV_ORGANS, start=1)},
}
"""Label values known by a word: those that ``mots predict`` writes, and BCV's."""

_NAMES = ("labels.json", "dataset.json")


def score_files(
    predictions: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    *,
    names: Mapping[str, int] | None = None,
    rule: Rule = "standard",
) -> Table:
    """Score every predicted label map against the true one of the same case.

    Args:
        predictions: A NIfTI label map, or a folder of them, as ``mots predict`` leaves them.
        truth: A label map, or a folder of them. A case is the same if the names agree, apart from
            ``_seg`` at the end, and ``img``, ``image``, ``label`` or ``seg`` before the number.
        names: Value of each class by name, in both. By default each side's own ``labels.json`` or
            ``dataset.json`` says, and classes meet by name; where one side has none, the other's
            holds for both, and where neither has, the truth's values are the classes.
        rule: How empty masks are scored.

    Raises:
        FileNotFoundError: If a folder, or the truth of a prediction, is missing.
        ValueError: If two files of a case have different grids, a value has no name, or the two
            sides share no class.
    """
    pairs = _pairs(Path(predictions), Path(truth))
    own, names = _both_names(Path(predictions), Path(truth), names)
    if not names:
        own = names = _names_in([true for _, true in pairs.values()])
    table = Table(tuple(name for name in names if name in own), rule)
    for case, (predicted, true) in pairs.items():
        one, other = _read_labels(predicted), _read_labels(true)
        _check_grids(one, other, predicted, true)
        _check_values(one, predicted, own)
        _check_values(other, true, names)
        renamed = _renumber(one.array, own, names)
        table.add(
            case,
            label_dice(renamed, other.array, {n: names[n] for n in table.categories}, rule=rule),
        )
    return table


def read_names(path: str | os.PathLike[str]) -> dict[str, int]:
    """Read the values of classes from JSON: name to value, value to name, or a list from 1 on.

    The ``labels`` of a ``dataset.json`` of the Decathlon or of nnU-Net will do. Background is
    left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it says something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}; give a JSON file, or {', '.join(NAMED)}")
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from None
    if isinstance(values, dict) and isinstance(values.get("labels"), dict | list):
        values = values["labels"]
    if isinstance(values, list):
        values = {str(name): value for value, name in enumerate(values, start=1)}
    names: dict[str, int] = {}
    for key, value in values.items() if isinstance(values, dict) else ():
        name, number = (value, key) if str(key).isdigit() else (key, value)
        if not isinstance(name, str) or not str(number).isdigit():
            names = {}
            break
        if int(number) != 0:
            names[name] = int(number)
    if not names:
        raise ValueError(f'{path} names no classes; write {{"liver": 1, "spleen": 2}}, say')
    return names


def named_values(text: str) -> dict[str, int]:
    """Return the values that a word of ``NAMED`` stands for, or that a JSON file tells."""
    return NAMED[text] if text in NAMED else read_names(text)


def case_key(path: str | os.PathLike[str]) -> str:
    """Return what two files of one case have in common in their names.

    Example:
        >>> case_key("out/img0001_seg.nii.gz"), case_key("label/label0001.nii.gz")
        ('0001', '0001')
    """
    name = stem(path).removesuffix("_seg")
    return re.sub(r"^(img|image|label|seg)(?=[-_]?\d)", "", name)


def _pairs(predictions: Path, truth: Path) -> dict[str, tuple[Path, Path]]:
    """Pair files by case, in the order of their names."""
    true = {case_key(path): path for path in _label_maps(truth)}
    predicted = _label_maps(predictions)
    if len(predicted) == len(true) == 1 and predictions.is_file():
        return {stem(predictions): (predictions, next(iter(true.values())))}
    for path in predicted:
        if case_key(path) not in true:
            raise FileNotFoundError(f"{path} has no truth of its name in {truth}")
    return {stem(path): (path, true[case_key(path)]) for path in predicted}


def _label_maps(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"no such file or folder: {path}")
    found = list_volumes(path)
    if not found:
        raise FileNotFoundError(f"{path} holds no .nii or .nii.gz file")
    return found


def _names_beside(path: Path) -> dict[str, int] | None:
    folder = path.parent if path.is_file() else path
    for place in (folder, folder.parent):
        for name in _NAMES:
            if (place / name).is_file():
                return read_names(place / name)
    return None


def _names_in(paths: list[Path]) -> dict[str, int]:
    values = sorted({int(v) for path in paths for v in np.unique(_read_labels(path).array)} - {0})
    if not values:
        raise ValueError("the truth holds nothing but background; there is nothing to score")
    return {f"label_{value}": value for value in values}


def _read_labels(path: Path) -> Volume:
    return read_volume(path, dtype=np.int32)


def _both_names(
    predictions: Path, truth: Path, given: Mapping[str, int] | None
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return the values of the classes, by name, in predictions and truth; empty if unknown."""
    if given is not None:
        return given, given
    ours, theirs = _names_beside(predictions), _names_beside(truth)
    own, names = ours or theirs or {}, theirs or ours or {}
    if own and not set(own) & set(names):
        raise ValueError(
            f"predictions name {', '.join(own)}, the truth {', '.join(names)}: no class is in "
            "both; say with --labels which values mean what"
        )
    return own, names


def _renumber(
    array: NDArray[Any], own: Mapping[str, int], names: Mapping[str, int]
) -> NDArray[Any]:
    """Give each class of the predictions the truth's value; what the truth does not name is 0."""
    if own == names:
        return array
    result = np.zeros_like(array)
    for name, value in own.items():
        if name in names:
            result[array == value] = names[name]
    return result


def _check_grids(one: Volume, other: Volume, predicted: Path, true: Path) -> None:
    if one.shape != other.shape or not np.allclose(one.affine, other.affine, atol=1e-2):
        raise ValueError(
            f"{predicted} lies on another grid than {true} ({one.shape} at {_mm(one)} mm and "
            f"{other.shape} at {_mm(other)} mm); score it on the grid of the truth"
        )


def _check_values(volume: Volume, path: Path, names: Mapping[str, int]) -> None:
    strange = sorted({int(v) for v in np.unique(volume.array)} - {0, *names.values()})
    if strange:
        raise ValueError(
            f"{path} holds label value {strange[0]}, which has no name; named are "
            f"{', '.join(f'{value} {name}' for name, value in names.items())}"
        )


def _mm(volume: Volume) -> str:
    return "x".join(f"{step:.3g}" for step in volume.spacing)
