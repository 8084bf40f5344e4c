"""Labelled scans in the folder layouts that fine-tuning takes: BCV, Decathlon, nnU-Net, plain."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mots_pretrained.tasks import BCV_ORGANS
from mots_pretrained.volume import list_volumes, stem

Classes = dict[str, tuple[int, ...]]
"""The label values that make up each class, by name; several for regions that overlap."""

_IMAGE_FOLDERS = ("images", "imagesTr", "image", "img")
_LABEL_FOLDERS = ("labels", "labelsTr", "label", "label")
_LAYOUTS = "img/ and label/ (BCV), a dataset.json (Decathlon, nnU-Net), or images/ and labels/"


@dataclass(frozen=True)
class LabelledScan:
    """Where one case lies.

    Attributes:
        name: What to call it.
        images: The scan, or one file a channel in order.
        label: Its label map.
    """

    name: str
    images: tuple[Path, ...]
    label: Path


@dataclass(frozen=True)
class LabelledFolder:
    """What a folder says of itself.

    Attributes:
        scans: The labelled cases, by name.
        classes: Values by class name; None where the folder does not say.
        channels: Names of the input channels; None where the folder does not say.
    """

    scans: tuple[LabelledScan, ...]
    classes: Classes | None = None
    channels: tuple[str, ...] | None = None


def find_scans(root: str | os.PathLike[str]) -> LabelledFolder:
    """Find the labelled cases of a folder in one of the known layouts.

    - BCV: ``img/imgNNNN.nii.gz`` and ``label/labelNNNN.nii.gz``, 13 organs.
    - Decathlon or nnU-Net: ``dataset.json``, ``imagesTr`` and ``labelsTr``; one file a channel
      (``X_0000.nii.gz``, ``X_0001.nii.gz``) or all in one.
    - Plain: ``images`` and ``labels`` with the same file names.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the layout is unknown, or an image has no label; the message names it.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no such folder: {root}")
    description = root / "dataset.json"
    if description.is_file():
        return _described(root, _read_description(description))
    for images, labels in zip(_IMAGE_FOLDERS, _LABEL_FOLDERS, strict=True):
        if (root / images).is_dir() and (root / labels).is_dir():
            scans = _pair(root / images, root / labels)
            if images != "img":
                return LabelledFolder(scans)
            return LabelledFolder(scans, numbered(BCV_ORGANS), ("ct",))
    raise ValueError(f"{root} holds no labelled scans in a known layout; wanted is {_LAYOUTS}")


def numbered(names: Sequence[str]) -> Classes:
    """Return classes whose values are 1, 2 and so on.

    Example:
        >>> numbered(("liver", "spleen"))
        {'liver': (1,), 'spleen': (2,)}
    """
    return {name: (value,) for value, name in enumerate(names, start=1)}


def _described(root: Path, description: dict[str, Any]) -> LabelledFolder:
    """Read a folder with a ``dataset.json`` of either version."""
    path = root / "dataset.json"
    channels = description.get("channel_names", description.get("modality"))
    names = None
    if isinstance(channels, dict) and channels:
        names = tuple(str(channels[key]).lower() for key in sorted(channels, key=str))
    listed = description.get("training")
    if isinstance(listed, list) and listed and all(isinstance(item, dict) for item in listed):
        scans = tuple(_listed(root, item) for item in listed)
    else:
        scans = _pair(root / "imagesTr", root / "labelsTr")
    return LabelledFolder(scans, _classes(description.get("labels"), path), names)


def _listed(root: Path, item: dict[str, Any]) -> LabelledScan:
    """Find the files of one entry of the list ``training``."""
    image, label = root / str(item.get("image")), root / str(item.get("label"))
    images = (image,) if image.is_file() else _channels_of(image)
    if not images:
        raise FileNotFoundError(f"{root / 'dataset.json'} lists {image}, which is not there")
    if not label.is_file():
        raise ValueError(f"{image} has no label: {label} is not there")
    return LabelledScan(_name(images, label), images, label)


def _channels_of(image: Path) -> tuple[Path, ...]:
    return tuple(sorted(image.parent.glob(f"{stem(image)}_[0-9][0-9][0-9][0-9].nii*")))


def _classes(labels: Any, path: Path) -> Classes:
    """Read ``labels`` of a dataset.json: value to name (version 1) or name to value (version 2)."""
    classes: Classes = {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        name, values = (value, key) if str(key).isdigit() else (key, value)
        numbers = values if isinstance(values, list) else [values]
        if not isinstance(name, str) or not all(str(number).isdigit() for number in numbers):
            raise ValueError(f"{path}: the label {key!r}: {value!r} is no name with its value")
        if name != "background" and numbers != [0] and numbers != ["0"]:
            classes[name] = tuple(int(number) for number in numbers)
    if not classes:
        raise ValueError(f'{path} names no classes; it wants "labels": {{"0": "background", ...}}')
    return classes


def _read_description(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object, not {type(content).__name__}")
    return content


def _pair(images: Path, labels: Path) -> tuple[LabelledScan, ...]:
    """Pair the files of two folders by what their names have in common."""
    for folder in (images, labels):
        if not folder.is_dir():
            raise FileNotFoundError(f"no such folder: {folder}")
    true = {_key(path): path for path in list_volumes(labels)}
    groups: dict[str, list[Path]] = {}
    for path in list_volumes(images):
        key = _key(path)
        if key not in true:
            channel = re.fullmatch(r"(.+)_(\d{4})", key)
            key = channel.group(1) if channel else key
        if key not in true:
            raise ValueError(f"{path} has no label of its name in {labels}")
        groups.setdefault(key, []).append(path)
    if not groups:
        raise ValueError(f"{images} holds no .nii or .nii.gz file")
    return tuple(
        LabelledScan(_name(paths, true[key]), tuple(paths), true[key])
        for key, paths in groups.items()
    )


def _name(images: Sequence[Path], label: Path) -> str:
    return stem(images[0]) if len(images) == 1 else stem(label)


def _key(path: Path) -> str:
    return re.sub(r"^(img|image|label)(?=\d)", "", stem(path))
