"""Pairing the files of an image and a label folder by what their names have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mots_pretrained.data.layouts.labelled import LabelledScan
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.volume import list_volumes, stem


def pair_files(images: Path, labels: Path) -> tuple[LabelledScan, ...]:
    """Pair images with label maps; several files of a case, ``X_0000``, ``X_0001``, are channels.

    Raises:
        FileNotFoundError: If one of the two folders is missing.
        ValueError: If there is no image, or one without its label; the message names it.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise MissingFileError(f"no such folder: {folder}")
    true = {_key(path): path for path in list_volumes(labels)}
    groups: dict[str, list[Path]] = {}
    for path in list_volumes(images):
        key = _key(path)
        if key not in true:
            channel = re.fullmatch(r"(.+)_(\d{4})", key)
            key = channel.group(1) if channel else key
        if key not in true:
            raise UserError(f"{path} has no label of its name in {labels}")
        groups.setdefault(key, []).append(path)
    if not groups:
        raise UserError(f"{images} holds no .nii or .nii.gz file")
    return tuple(
        LabelledScan(case_name(paths, true[key]), tuple(paths), true[key])
        for key, paths in groups.items()
    )


def case_name(images: Sequence[Path], label: Path) -> str:
    """Name a case after its one image, or after its label where each channel has a file."""
    return stem(images[0]) if len(images) == 1 else stem(label)


def _key(path: Path) -> str:
    return re.sub(r"^(img|image|label)(?=\d)", "", stem(path))
