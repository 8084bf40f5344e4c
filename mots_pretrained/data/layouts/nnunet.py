"""Folders with a ``dataset.json``: the Decathlon's, and nnU-Net's in both of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mots_pretrained.data.layouts.collection import (
    CaseFiles,
    Collection,
    Fold,
    after_folder,
    exclude_each_other,
)
from mots_pretrained.data.layouts.labelled import tell_labelled
from mots_pretrained.data.layouts.listed import listed_case, listed_cases, named_apart
from mots_pretrained.data.layouts.pairs import pair_files
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.parse import label_classes, parse_labelled, read_json

DESCRIPTION = "dataset.json"
SPLITS = "splits_final.json"


def find_nnunet(folder: Path) -> Collection | None:
    """Find the labelled cases that a ``dataset.json`` describes; None if there is none.

    Version 1 gives value to name, version 2 name to value, or to several values for a region.
    Regions come smallest first, so that in a label map the inner one is seen. nnU-Net's class
    ``ignore`` is none. Cases are those that it lists, or else the files of ``imagesTr`` and
    ``labelsTr``. Beside nnU-Net's own keys ``labelled`` may say which classes each case labels:
    ``{"case_0001": ["liver", "spleen"], ...}``.

    Raises:
        MissingFileError: If a file that it lists is missing.
        UserError: If it cannot be read, names no classes, or an image has no label.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return None
    description = read_description(path)
    found = described(folder, _cases(folder, description), description, where=path)
    if not found.classes:
        raise UserError(f'{path} names no classes; it wants "labels": {{"0": "background", ...}}')
    return found


def described(
    folder: Path, cases: tuple[CaseFiles, ...], description: Mapping[str, Any], *, where: Path
) -> Collection:
    """Return cases as a collection with the classes and channels that a ``dataset.json`` names.

    Args:
        folder: What holds them.
        cases: The cases.
        description: Keys of the file: ``labels``, ``channel_names`` or ``modality``, ``labelled``.
        where: The file, for messages.

    Raises:
        UserError: If a key holds what it should not.
    """
    labels = description.get("labels")
    classes = label_classes(labels, f"{where}") if isinstance(labels, dict) else {}
    ignored = classes.pop("ignore", None)
    if not exclude_each_other(classes):
        classes = dict(sorted(classes.items(), key=lambda item: len(item[1])))
    found = Collection(
        *(after_folder(folder.name), folder, cases),
        classes=classes or None,
        channels=channels_named(description),
        ignore=None if ignored is None else ignored[0],
    )
    told = description.get("labelled")
    return found if told is None else tell_labelled(found, parse_labelled(told, f"{where}"), where)


def read_splits(path: str | Path) -> list[Fold]:
    """Read the cases of each fold of nnU-Net's ``splits_final.json``.

    Args:
        path: The file, or a folder that it lies in.

    Raises:
        MissingFileError: If there is none.
        UserError: If it holds no such splits, or a case is in both parts of one.
    """
    path = Path(path)
    path = path / SPLITS if path.is_dir() else path
    if not path.is_file():
        raise MissingFileError(f"no such file: {path}; nnU-Net writes it beside preprocessed data")
    content = read_json(path)
    try:
        splits = [Fold(*(tuple(map(str, fold[part])) for part in ("val", "train")))
                  for fold in content]  # fmt: skip
        sound = bool(splits) and all(fold.held_out and fold.train for fold in splits)
    except (TypeError, KeyError):
        sound = False
    if not sound:
        raise UserError(f'{path} holds no splits; it wants [{{"train": [...], "val": [...]}}, ...]')
    for number, fold in enumerate(splits):
        if both := sorted({*fold.held_out} & {*fold.train}):
            raise UserError(f"{path} has {both[0]!r:.80} in both parts of fold {number}; a case "
                            "is trained on or held out")  # fmt: skip
    return splits


def _cases(folder: Path, description: Mapping[str, Any]) -> tuple[CaseFiles, ...]:
    path = folder / DESCRIPTION
    named = description.get("dataset")  # nnU-Net 2
    if isinstance(named, dict) and named:
        return tuple(
            listed_case(item.get("images"), item.get("label"), folder, where=path, name=name)
            for name, item in named.items()
            if isinstance(item, dict)
        )
    listed = description.get("training")
    if isinstance(listed, list) and listed and all(isinstance(item, dict) for item in listed):
        return named_apart(listed_cases(listed, folder, path), path)
    return pair_files(folder / "imagesTr", folder / "labelsTr")


def channels_named(description: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return what a ``dataset.json`` calls the channels, in order; None if it does not."""
    named = description.get("channel_names", description.get("modality"))
    if isinstance(named, list) and named:
        return tuple(str(name).lower() for name in named)
    if not isinstance(named, dict) or not named:
        return None
    keys = sorted(named, key=lambda key: (len(str(key)), str(key)))  # 2 comes before 10
    return tuple(str(named[key]).lower() for key in keys)


def read_description(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        MissingFileError: If there is no such file.
        UserError: If it holds something else.
    """
    if not path.is_file():
        raise MissingFileError(f"no such file: {path}")
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold an object, not {type(content).__name__}")
    return content
