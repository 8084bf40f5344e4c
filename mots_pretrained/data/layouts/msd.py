"""The Medical Segmentation Decathlon as it unpacks: imagesTr, labelsTr and dataset.json."""

from __future__ import annotations

import re
from pathlib import Path

from mots_pretrained.data.layouts.collection import Collection, add_once, pair
from mots_pretrained.data.layouts.nnunet import DESCRIPTION, find_nnunet
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.scan_files import list_volumes, stem
from mots_pretrained.tasks import task_named

WANTED = "imagesTr/NAME_N.nii.gz, labelsTr/NAME_N.nii.gz and dataset.json"

MSD_NAMES: dict[str, str] = {
    "liver": "liver",
    "hepaticvessel": "hepatic_vessel",
    "pancreas": "pancreas",
    "colon": "colon",
    "lung": "lung",
    "spleen": "spleen",
}
"""Task by what the Decathlon's cases are called before their number.

Its ``liver`` is LiTS once more, whose numbers its cases are taken to have.
"""


def find_msd(folder: Path) -> Collection | None:
    """Find one of the Decathlon's tasks that MOTS takes, told by the names of its cases.

    In nnU-Net's copy ``spleen_10_0000.nii.gz`` is the image of ``spleen_10``. ``imagesTs``, which
    has no labels, gives no cases.

    Raises:
        MissingFileError: If a file that dataset.json lists, or a folder, is missing.
        UserError: If an image has no label map, a label map no image, or dataset.json is damaged.
    """
    parts = [folder / "imagesTr", folder / "labelsTr"]
    files = [_cases(part) if part.is_dir() else {} for part in parts]
    names = {name for listed in files for each in listed if (name := _task(each))}
    if not names:
        return None
    if len(names) > 1:
        raise UserError(f"{folder} holds cases of {' and of '.join(sorted(names))}; part them")
    task = task_named(names.pop())
    hint = f"unpack the collection again into {folder}"
    for part in parts:
        if not part.is_dir():
            raise MissingFileError(f"{folder} has no folder {part.name}; {hint}")
    cases = pair(*files, hint=hint)
    if (folder / DESCRIPTION).is_file():
        find_nnunet(folder)  # refuses a folder in which a case that dataset.json lists is missing
    return Collection(task.name, folder, cases, task)


def _cases(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_volumes(folder):
        name = stem(path).removesuffix("_0000")
        if _task(name):
            add_once(found, name, path)
    return found


def _task(name: str) -> str | None:
    match = re.fullmatch(r"([a-z]+)_\d+", name)
    return MSD_NAMES.get(match[1]) if match else None
