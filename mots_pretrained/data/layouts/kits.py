"""KiTS19 as it unpacks: ``case_NNNNN/imaging.nii.gz`` and ``segmentation.nii.gz``."""

from __future__ import annotations

import re
from pathlib import Path

from mots_pretrained.data.layouts.collection import CaseFiles, Collection, by_stem
from mots_pretrained.errors import UserError
from mots_pretrained.images.scan_files import list_volumes
from mots_pretrained.tasks import task_named

WANTED = "case_NNNNN/imaging.nii.gz and segmentation.nii.gz"

_CASE = re.compile(r"case_(\d{5})")


def find_kits(folder: Path) -> Collection | None:
    """Find KiTS19's case folders in a folder; None if there are none.

    Cases without a segmentation (``case_00210`` and on, the challenge's own test) have no label.

    Raises:
        UserError: If a case has no image, or a file twice, or no case has a label map.
    """
    cases = []
    for path in sorted(folder.iterdir()):
        match = _CASE.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        files = by_stem(list_volumes(path))
        if "imaging" not in files:
            raise UserError(
                f"{path} has no imaging.nii.gz; fetch KiTS19's images, which come apart from its "
                "segmentations, or take the case out"
            )
        cases.append(
            CaseFiles(f"kidney_{match[1]}", (files["imaging"],), files.get("segmentation"))
        )
    if not cases:
        return None
    if all(case.label is None for case in cases):
        raise UserError(f"no case of {folder} has a segmentation.nii.gz; fetch KiTS19's again")
    return Collection("kidney", folder, tuple(cases), task_named("kidney"))
