"""LiTS as it unpacks: ``volume-N.nii`` and ``segmentation-N.nii``, in one or two batches."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mots_pretrained.data.layouts.collection import Collection, add_once, folders_below, pair
from mots_pretrained.images.scan_files import list_volumes, stem, tell_unreadable
from mots_pretrained.tasks import task_named

WANTED = "volume-N.nii and segmentation-N.nii (Training Batch 1 and 2)"

_DEPTH = 8  # Training_Batch1/media/nas/01_Datasets/CT/LITS/Training Batch 1, as the zips unpack

_FILE = re.compile(r"(volume|segmentation)-(\d+)")


def find_lits(folder: Path) -> Collection | None:
    """Find LiTS in a folder or some levels below it, as deep as it unpacks; batches may lie apart.

    Raises:
        UserError: If a case is there twice or by half.

    Warns:
        UserWarning: If folders below may not be read; the message names one.
    """
    unreadable: list[Path] = []
    places = folders_below(folder, _DEPTH, unreadable=unreadable)
    listed = [path for place in places for path in list_volumes(place)]
    matches = [(match, path) for path in listed if (match := _FILE.fullmatch(stem(path)))]
    if not matches:
        return None
    tell_unreadable(unreadable, folder)
    files: dict[str, dict[str, Path]] = {"volume": {}, "segmentation": {}}
    for match, path in sorted(matches, key=lambda item: int(item[0][2])):
        add_once(files[match[1]], f"liver_{int(match[2])}", path)
    cases = pair(
        files["volume"], files["segmentation"], hint="unpack both of LiTS's training batches whole"
    )
    home = Path(os.path.commonpath([path.parent for _, path in matches]))
    return Collection("liver", home, cases, task_named("liver"))
