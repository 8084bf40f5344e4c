"""A further partially labelled collection, described by a short YAML file (Sec. 3.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mots_pretrained.data.layouts.collection import Collection, add_once, pair
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.scan_files import list_volumes
from mots_pretrained.parse import parse_yaml
from mots_pretrained.tasks import Task

_KEYS = ("name", "image", "label", "values", "folder", "source", "organ", "tumour")
_TARGETS = ("background", "organ", "tumour")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def read_described(path: Path) -> Collection:
    """Read the collection that a YAML file describes.

    ``name`` is that of the new task, and with ``_tumour`` behind it of its tumour, unless ``organ``
    and ``tumour`` name them. ``image`` and ``label`` are paths in which every ``*`` stands for the
    case's name, below ``folder``, which is the YAML file's own unless given. ``values`` says of
    every value of the label maps but 0 what it is: ``organ``, ``tumour``, both or ``background``::

        name: gallbladder
        image: imagesTr/*_0000.nii.gz
        label: labelsTr/*.nii.gz
        values:
          1: background
          4: organ
          5: [organ, tumour]

    Raises:
        FileNotFoundError: If the file, or the folder that it names, is missing.
        ValueError: If it is no such description, or an image or a label map lacks the other.
    """
    content = _read(path)
    task = _task(content, path)
    folder = path.parent / str(content.get("folder", "."))
    if not folder.is_dir():
        raise MissingFileError(f"{path} names the folder {folder}, which is not there")
    images = _find(folder, str(content["image"]), path)
    if not images:
        raise UserError(f"{path}: no file fits image: {content['image']} below {folder}")
    labels = _find(folder, str(content["label"]), path)
    hint = f"complete the pair, or correct the patterns of {path}"
    cases = pair(
        {f"{task.name}_{case}": file for case, file in images.items()},
        {f"{task.name}_{case}": file for case, file in labels.items()},
        hint=hint,
    )
    return Collection(task.name, folder, cases, task)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise MissingFileError(f"no such description: {path}; give a YAML file")
    content = parse_yaml(path.read_bytes(), f"{path}")
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold the keys {', '.join(_KEYS[:4])}")
    for key in content:
        if key not in _KEYS:
            raise UserError(f"{path}: unknown key {key!r:.80}; there are: {', '.join(_KEYS)}")
    for key in _KEYS[:4]:
        if key not in content:
            raise UserError(f"{path} lacks {key!r}; needed are: {', '.join(_KEYS[:4])}")
    return content


def _task(content: Mapping[str, Any], path: Path) -> Task:
    values: dict[str, list[int]] = {target: [] for target in _TARGETS}
    listed = content["values"] if isinstance(content["values"], dict) else {}
    for value, targets in listed.items():
        for target in targets if isinstance(targets, list) else [targets]:
            if not isinstance(value, int) or target not in _TARGETS:
                raise UserError(
                    f"{path}: values says {value!r:.80}: {target!r:.80}; a whole number is one of "
                    f"{', '.join(_TARGETS)}"
                )
            values[target].append(value)
    if not values["organ"] and not values["tumour"]:
        raise UserError(f"{path}: values names neither organ nor tumour, as in 1: organ")
    name = str(content["name"])
    organ, tumour = str(content.get("organ", name)), str(content.get("tumour", f"{name}_tumour"))
    for given in (name, organ, tumour):
        if not _NAME.fullmatch(given):
            raise UserError(f"{path}: {given!r:.80} is no name; use small letters, digits and _")
    return Task(
        name,
        organ if values["organ"] else None,
        tumour if values["tumour"] else None,
        tuple(values["organ"]),
        tuple(values["tumour"]),
        str(content.get("source", name)),
        background_values=tuple(values["background"]),
    )


def _find(folder: Path, pattern: str, path: Path) -> dict[str, Path]:
    """Find the files that fit a pattern, by what its ``*`` stands for."""
    first, *rest = pattern.split("*")
    if not rest or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise UserError(
            f"{path}: the pattern {pattern!r:.80} must lie below the folder and hold a *, which "
            "stands for the case's name"
        )
    again = [f"(?P=case){re.escape(part)}" for part in rest[1:]]
    wanted = re.compile(f"{re.escape(first)}(?P<case>[^/]+){re.escape(rest[0])}{''.join(again)}")
    found: dict[str, Path] = {}
    for place in sorted({file.parent for file in folder.glob(pattern)}):
        for file in list_volumes(place):
            match = wanted.fullmatch(file.relative_to(folder).as_posix())
            if match:
                add_once(found, match["case"], file)
    return found
