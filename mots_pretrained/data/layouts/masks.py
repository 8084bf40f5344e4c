"""One mask a class: ``CASE/ct.nii.gz`` and ``CASE/segmentations/ORGAN.nii.gz``.

TotalSegmentator, AbdomenAtlas and their like unpack so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mots_pretrained.data.layouts.collection import (
    CaseFiles,
    Collection,
    after_folder,
    by_stem,
    numbered,
    subfolders,
)
from mots_pretrained.errors import UserError
from mots_pretrained.images.scan_files import by_access, list_volumes, stem, tell_unreadable

_SEGMENTATIONS = "segmentations"
_SCANS = ("ct", "mri")  # what scans are called beside other files, as AbdomenAtlas's label maps


def find_masks(folder: Path) -> Collection | None:
    """Find case folders with one scan and a folder of masks; None in another layout.

    The classes are the masks' names in alphabetical order, numbered from 1. A mask that a case
    lacks says that the class is not labelled there; one that is empty, that it is not there.

    Raises:
        UserError: If a case has no scan or several, or one mask twice.

    Warns:
        UserWarning: If folders may not be read beside those of cases; the message names one.
    """
    cases = []
    readable, unreadable = by_access(subfolders(folder))
    for place in readable:
        if not (place / _SEGMENTATIONS).is_dir():
            continue
        scans = list_volumes(place)
        if len(scans) > 1:
            scans = [path for path in scans if stem(path).lower() in _SCANS] or scans
        if len(scans) != 1:
            raise UserError(
                f"{place} holds {len(scans)} scans beside {_SEGMENTATIONS}/; one is wanted, as in "
                "ct.nii.gz"
            )
        masks = by_stem(list_volumes(place / _SEGMENTATIONS))
        cases.append(CaseFiles(place.name, (scans[0],), masks=masks))
    if not cases:
        return None
    tell_unreadable(unreadable, folder)
    names = sorted({name for case in cases for name in case.masks})
    cases = [
        case if len(case.masks) == len(names) else replace(case, labelled=tuple(sorted(case.masks)))
        for case in cases
    ]
    kinds = {stem(case.images[0]).lower() for case in cases}
    return Collection(
        *(after_folder(folder.name), folder, tuple(cases)),
        classes=numbered(names),
        channels=("ct",) if kinds == {"ct"} else None,
    )
