"""Auto3DSeg's input file: where a data list and its files lie, and what the classes are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mots_pretrained.data.layouts.collection import Collection
from mots_pretrained.data.layouts.datalist import read_datalist
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.parse import label_classes, parse_yaml


def read_input(path: Path) -> Collection:
    """Read the labelled cases that an Auto3DSeg ``input.yaml`` stands for.

    ::

        modality: CT
        dataroot: /data/kits23
        datalist: kits23_folds.json
        class_names: [{name: kidney_and_mass, index: [1, 2, 3]}, {name: mass, index: [2, 3]}]

    Paths are relative to the file's folder. ``class_names`` may be plain names, of the values 1, 2
    and so on; without them the list's own ``labels`` hold. ``extra_modalities`` names the channels
    behind the first. Other keys, which say how to train, are not looked at.

    Raises:
        MissingFileError: If the file, the list, the folder or an image is not there.
        UserError: If it names no list and folder, or as `datalist.read_datalist`.
    """
    if not path.is_file():
        raise MissingFileError(f"no such file: {path}")
    content = parse_yaml(path.read_bytes(), f"{path}")
    content = content if isinstance(content, dict) else {}
    named = [content.get(key) for key in ("datalist", "dataroot")]
    wanted = [path.parent / each for each in named if isinstance(each, str) and each]
    if len(wanted) < len(named):
        raise UserError(f"{path} must name datalist, a JSON file, and dataroot, a folder")
    listed, folder = wanted
    if not folder.is_dir():
        raise MissingFileError(f"{path} names the folder {folder}, which is not there")
    told = {"labels": _classes(content["class_names"], path)} if "class_names" in content else {}
    found = read_datalist(listed, folder=folder, told=told)
    channels = _channels(content, len(found.cases[0].images))
    return found if channels is None else replace(found, channels=channels)


def _classes(names: Any, path: Path) -> dict[str, list[int]]:
    """Return the label values of each class."""
    listed = names if isinstance(names, list) else []
    if listed and all(isinstance(each, str) for each in listed):
        return {name: [value] for value, name in enumerate(listed, start=1)}
    if listed and all(isinstance(each, dict) and {"name", "index"} <= {*each} for each in listed):
        values = {str(each["name"]): each["index"] for each in listed}
        return {name: list(own) for name, own in label_classes(values, f"{path}").items()}
    raise UserError(
        f"{path}: class_names must be names, or {{name: liver, index: [1, 2]}} and so on, not "
        f"{names!r:.80}"
    )


def _channels(content: Mapping[str, Any], files: int) -> tuple[str, ...] | None:
    """Return the names of the channels of cases of so many files, where the file tells them.

    One modality tells nothing of MRI: a single file may hold several channels.
    """
    extra = content.get("extra_modalities")
    names = [content.get("modality"), *(extra.values() if isinstance(extra, dict) else ())]
    channels = tuple(str(name).lower() for name in names)
    if channels == ("ct",):
        return channels if files == 1 else tuple(f"ct_{number}" for number in range(files))
    return channels if len(channels) == files > 1 else None
