"""KiTS19 as it unpacks: ``case_NNNNN/imaging.nii.gz`` and ``segmentation.nii.gz``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mots_pretrained.data.layouts.collection import Collection, SourceCase
from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import list_volumes, stem
from mots_pretrained.tasks import task_named

WANTED = "case_NNNNN/imaging.nii.gz and segmentation.nii.gz"

_CASE = re.compile(r"case_(\d{5})")


def holds_kits(folder: Path) -> bool:
    """Tell whether KiTS19's case folders lie in this very folder."""
    return any(_CASE.fullmatch(path.name) and path.is_dir() for path in folder.iterdir())


def read_kits(folders: Sequence[Path]) -> Collection:
    """Read KiTS19 out of the one folder that holds its cases.

    Cases without a segmentation (``case_00210`` and on, the challenge's own test) have no label.

    Raises:
        ValueError: If a case has no image, or no case has a label map.
    """
    (folder,) = folders
    cases = []
    for path in sorted(folder.iterdir()):
        match = _CASE.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        files = {stem(file): file for file in list_volumes(path)}
        if "imaging" not in files:
            raise UserError(
                f"{path} has no imaging.nii.gz; fetch KiTS19's images, which come apart from its "
                "segmentations, or take the case out"
            )
        identifier = f"kidney_{match[1]}"
        label = files.get("segmentation")
        cases.append(SourceCase(identifier, "kidney", files["imaging"], label))
    if all(case.label is None for case in cases):
        raise UserError(f"no case of {folder} has a segmentation.nii.gz; fetch KiTS19's again")
    return Collection("kidney", task_named("kidney"), folder, tuple(cases))
