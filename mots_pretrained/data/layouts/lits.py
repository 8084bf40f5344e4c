"""LiTS as it unpacks: ``volume-N.nii`` and ``segmentation-N.nii``, in one or two batches."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mots_pretrained.data.layouts.collection import Collection, add_once, pair_cases
from mots_pretrained.images.volume import list_volumes, stem
from mots_pretrained.tasks import task_named

WANTED = "volume-N.nii and segmentation-N.nii (Training Batch 1 and 2)"

_FILE = re.compile(r"(volume|segmentation)-(\d+)")


def holds_lits(folder: Path) -> bool:
    """Tell whether LiTS's files lie in this very folder."""
    return any(_FILE.fullmatch(stem(path)) for path in list_volumes(folder))


def read_lits(folders: Sequence[Path]) -> Collection:
    """Read LiTS out of the folders that hold its files.

    Raises:
        ValueError: If a case is there twice or by half.
    """
    files: dict[str, dict[str, Path]] = {"volume": {}, "segmentation": {}}
    listed = [path for folder in folders for path in list_volumes(folder)]
    numbered = [(match, path) for path in listed if (match := _FILE.fullmatch(stem(path)))]
    for match, path in sorted(numbered, key=lambda item: int(item[0][2])):
        add_once(files[match[1]], f"liver_{int(match[2])}", path)
    cases = pair_cases(
        "liver",
        files["volume"],
        files["segmentation"],
        hint="unpack both of LiTS's training batches whole",
    )
    return Collection("liver", task_named("liver"), Path(os.path.commonpath(folders)), cases)
