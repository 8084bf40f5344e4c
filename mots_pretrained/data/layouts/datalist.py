"""MONAI's data lists: a JSON file with the paths of images and labels, and the fold of each case.

What ``monai.data.load_decathlon_datalist`` and Auto3DSeg read.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mots_pretrained.data.layouts.collection import Collection, Fold
from mots_pretrained.data.layouts.listed import listed_cases, named_apart
from mots_pretrained.data.layouts.nnunet import DESCRIPTION, described, read_description
from mots_pretrained.errors import UserError

DATALIST = "datalist.json"
"""Name by which a list is found in a folder; one of another name is given by its path."""


def find_datalist(folder: Path) -> Collection | None:
    """Find the cases that a folder's ``datalist.json`` lists; None if there is none.

    Raises:
        UserError: As `read_datalist`.
    """
    path = folder / DATALIST
    return read_datalist(path) if path.is_file() else None


def read_datalist(
    path: Path, *, folder: Path | None = None, told: Mapping[str, Any] | None = None
) -> Collection:
    """Read the labelled cases of a list.

    ::

        {"training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz", "fold": 0}, ...]}

    ``image`` may be a list, one path a channel. A case without ``fold`` is trained on in every
    fold. Where no case has one, the cases of ``validation`` are the one part that is held out;
    without labels they are scans to predict, like those of ``test`` and ``testing``, which are not
    read. ``labels`` and ``modality``, as in the Decathlon's ``dataset.json``, name classes and
    channels; a list without ``labels`` has them from a ``dataset.json`` in the folder.

    Args:
        path: The list.
        folder: What its paths are relative to (MONAI's ``base_dir``); by default its own folder.
        told: ``labels`` and ``modality`` in place of all these.

    Raises:
        MissingFileError: If an image is not there.
        UserError: If it has no list of training cases, a case has no label map, or the folds are
            not numbered from 0.

    Warns:
        UserWarning: If cases of ``validation`` are left out, because those of ``training`` have
            folds.
    """
    folder = path.parent if folder is None else folder
    content = read_description(path)
    training = content.get("training")
    if not isinstance(training, list) or not training:
        raise UserError(
            f'{path} has no list of training cases; it wants "training": '
            '[{"image": "a.nii.gz", "label": "b.nii.gz"}, ...]'
        )
    cases = listed_cases(training, folder, path)
    numbers = _numbers(training, path)
    entries = _validation(content)
    if entries and any(number is not None for number in numbers):
        warnings.warn(
            f'{path}: {len(entries)} cases of "validation" are left out, for those of "training" '
            "have folds",
            stacklevel=2,
        )
        entries = []
    held = listed_cases(entries, folder, path)
    more = tuple(case for case in held if case not in cases)
    if held:
        numbers = [0 if case in held else None for case in (*cases, *more)]
    named = named_apart((*cases, *more), path)
    description, where = {**content, **(told or {})}, path
    if "labels" not in description and (folder / DESCRIPTION).is_file():
        where = folder / DESCRIPTION
        description = read_description(where)
    count = len({*numbers} - {None})
    folds = tuple(
        Fold(tuple(c.name for c, number in zip(named, numbers, strict=True) if number == fold))
        for fold in range(count)
    )
    return replace(described(folder, named, description, where=where), folds=folds)


def _numbers(training: Sequence[Mapping[str, Any]], path: Path) -> list[int | None]:
    """Return the fold of each case."""
    numbers = [entry.get("fold") for entry in training]
    for number in numbers:
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise UserError(f'{path}: "fold" must be a whole number from 0, not {number!r:.80}')
    known = {number for number in numbers if number is not None}
    if known != {*range(len(known))}:
        raise UserError(
            f"{path}: the folds are {', '.join(map(str, sorted(known)))}; number them from 0, with "
            "none left out"
        )
    return numbers


def _validation(content: Mapping[str, Any]) -> list[Any]:
    """Return the entries of cases to validate with: those with a label."""
    listed = content.get("validation")
    entries = listed if isinstance(listed, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and "label" in entry]
