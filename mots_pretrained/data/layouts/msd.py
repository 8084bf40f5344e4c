"""The Medical Segmentation Decathlon as it unpacks: imagesTr, labelsTr and dataset.json."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mots_pretrained.data.layouts.collection import Collection, pair_cases
from mots_pretrained.data.layouts.folders import find_scans
from mots_pretrained.errors import MissingFileError
from mots_pretrained.images.volume import list_volumes, stem
from mots_pretrained.tasks import task_named

WANTED = "imagesTr/NAME_N.nii.gz, labelsTr/NAME_N.nii.gz and dataset.json"

MSD_NAMES: dict[str, str] = {
    "hepatic_vessel": "hepaticvessel",
    "pancreas": "pancreas",
    "colon": "colon",
    "lung": "lung",
    "spleen": "spleen",
}
"""What the cases of each task that comes from the Decathlon are called, before their number."""


def holds_msd(task: str, folder: Path) -> bool:
    """Tell whether a folder is the Decathlon's of this task, by the names of its cases."""
    return any(
        _is_case(task, path)
        for part in ("imagesTr", "labelsTr")
        if (folder / part).is_dir()
        for path in list_volumes(folder / part)
    )


def read_msd(task: str, folders: Sequence[Path]) -> Collection:
    """Read one task of the Decathlon; ``imagesTs``, which has no labels, gives no cases.

    Raises:
        FileNotFoundError: If a file that dataset.json lists, or a folder, is missing.
        ValueError: If an image has no label map, a label map no image, or dataset.json is damaged.
    """
    (folder,) = folders
    hint = f"unpack the collection again into {folder}"
    files: list[dict[str, Path]] = []
    for part in ("imagesTr", "labelsTr"):
        if not (folder / part).is_dir():
            raise MissingFileError(f"{folder} has no folder {part}; {hint}")
        listed = [path for path in list_volumes(folder / part) if _is_case(task, path)]
        files.append({stem(path): path for path in listed})
    cases = pair_cases(task, *files, hint=hint)
    if (folder / "dataset.json").is_file():
        find_scans(folder)  # refuses a folder in which a case that dataset.json lists is missing
    return Collection(task, task_named(task), folder, cases)


def _is_case(task: str, path: Path) -> bool:
    return re.fullmatch(rf"{MSD_NAMES[task]}_\d+", stem(path)) is not None
