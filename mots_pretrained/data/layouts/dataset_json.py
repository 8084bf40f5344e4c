"""Folders with a ``dataset.json``: the Decathlon's, and nnU-Net's in both of its versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mots_pretrained.data.layouts.labelled import (
    Classes,
    LabelledFolder,
    LabelledScan,
    exclude_each_other,
)
from mots_pretrained.data.layouts.pairs import case_name, pair_files
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.volume import stem

DESCRIPTION = "dataset.json"


def find_described(root: Path) -> LabelledFolder:
    """Find the labelled cases that a ``dataset.json`` describes.

    Version 1 gives value to name, version 2 name to value, or to several values for a region.
    Regions come smallest first, so that in a label map the inner one is seen. nnU-Net's class
    ``ignore`` is none.

    Raises:
        FileNotFoundError: If a file that it lists is missing.
        ValueError: If it cannot be read, names no classes, or an image has no label.
    """
    path = root / DESCRIPTION
    description = _read(path)
    channels = description.get("channel_names", description.get("modality"))
    names = None
    if isinstance(channels, dict) and channels:
        keys = sorted(channels, key=lambda key: (len(str(key)), str(key)))  # 2 comes before 10
        names = tuple(str(channels[key]).lower() for key in keys)
    listed = description.get("training")
    if isinstance(listed, list) and listed and all(isinstance(item, dict) for item in listed):
        scans = tuple(_listed(root, item) for item in listed)
    else:
        scans = pair_files(root / "imagesTr", root / "labelsTr")
    classes = _classes(description.get("labels"), path)
    ignored = classes.pop("ignore", None)
    if not classes:
        raise UserError(f'{path} names no classes; it wants "labels": {{"0": "background", ...}}')
    if not exclude_each_other(classes):
        classes = dict(sorted(classes.items(), key=lambda item: len(item[1])))
    return LabelledFolder(scans, classes, names, None if ignored is None else ignored[0])


def _listed(root: Path, item: dict[str, Any]) -> LabelledScan:
    """Find the files of one entry of the list ``training``."""
    image, label = root / str(item.get("image")), root / str(item.get("label"))
    images = (image,) if image.is_file() else _channels_of(image)
    if not images:
        raise MissingFileError(f"{root / DESCRIPTION} lists {image}, which is not there")
    if not label.is_file():
        raise UserError(f"{image} has no label: {label} is not there")
    return LabelledScan(case_name(images, label), images, label)


def _channels_of(image: Path) -> tuple[Path, ...]:
    return tuple(sorted(image.parent.glob(f"{stem(image)}_[0-9][0-9][0-9][0-9].nii*")))


def _classes(labels: Any, path: Path) -> Classes:
    """Read ``labels`` of either version; the background is left out."""
    classes: Classes = {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        name, values = (value, key) if str(key).isdigit() else (key, value)
        numbers = values if isinstance(values, list) else [values]
        if not isinstance(name, str) or not all(str(number).isdigit() for number in numbers):
            raise UserError(f"{path}: the label {key!r}: {value!r} is no name with its value")
        if name != "background" and numbers != [0] and numbers != ["0"]:
            classes[name] = tuple(int(number) for number in numbers)
    return classes


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold an object, not {type(content).__name__}")
    return content
