"""BraTS (Sec. 4.5): four sequences a case, and label values as nested regions."""

from __future__ import annotations

from pathlib import Path

from mots_pretrained.data.layouts.collection import (
    CaseFiles,
    Classes,
    Collection,
    after_folder,
    by_stem,
    subfolders,
)
from mots_pretrained.errors import UserError
from mots_pretrained.images.scan_files import by_access, list_volumes, stem, tell_unreadable
from mots_pretrained.tasks import BRATS_2023_REGIONS, BRATS_MODALITIES, BRATS_REGIONS

GRADES = ("HGG", "LGG")
"""Folders of the training set; the sets without labels hold their cases side by side."""

_LATER = ("t1n", "t1c", "t2w", "t2f")  # the same sequences, as they are called from 2023 on
_NAMINGS = (
    ("_", BRATS_MODALITIES, BRATS_REGIONS),
    ("-", _LATER, BRATS_2023_REGIONS),
    ("_", _LATER, BRATS_2023_REGIONS),
)

_Case = tuple[CaseFiles, Classes]


def find_brats(folder: Path) -> Collection | None:
    """Find ``[HGG|LGG/]CASE/CASE_{t1,t1ce,t2,flair,seg}.nii.gz``; None in another layout.

    From 2023 on the files are called ``CASE-{t1n,t1c,t2w,t2f,seg}.nii.gz``, and label value 3 is
    what 4 was. From 2024 on there may be another 4, of which names say nothing: the resection
    cavity in adults after treatment. Who has it names the classes. Cases of the validation set have
    no label map.

    Raises:
        UserError: If a case lacks one of its four sequences or has one twice, or cases with labels
            are named in both ways.

    Warns:
        UserWarning: If folders may not be read beside those of cases; the message names one.
    """
    places = [folder / grade for grade in GRADES if (folder / grade).is_dir()] or [folder]
    there = sorted((path for place in places for path in subfolders(place)), key=_by_name)
    readable, unreadable = by_access(there)
    found = [case for path in readable if (case := _case(path)) is not None]
    if found:
        tell_unreadable(unreadable, folder)
    return _collection(folder, found)


def find_brats_case(folder: Path) -> Collection | None:
    """Find the one case of BraTS whose own folder this is; None if it is none's.

    Raises:
        UserError: As `find_brats`.
    """
    case = _case(folder)
    return None if case is None else _collection(folder, [case])


def _collection(folder: Path, found: list[_Case]) -> Collection | None:
    if not found:
        return None
    labelled = [(case, regions) for case, regions in found if case.label] or found
    first, classes = labelled[0]
    other = next((case for case, regions in labelled if regions != classes), None)
    if other is not None:
        raise UserError(
            f"{folder} holds {first.name} and {other.name}, of BraTS before and after 2023, whose "
            "enhancing tumour is 4 and 3 in the label maps; part them"
        )
    is_own = all(case.name.lower().startswith("brats") for case, _ in found)
    name = "BraTS" if is_own else after_folder(stem(folder))
    return Collection(
        *(name, folder, tuple(case for case, _ in found)),
        classes=dict(classes),
        channels=BRATS_MODALITIES,
    )


def _case(folder: Path) -> _Case | None:
    """Read one case's folder, sequences in the order of the channels, and what its labels mean."""
    case, listed = stem(folder), list_volumes(folder)
    for mark, sequences, regions in _NAMINGS:
        names = [f"{case}{mark}{sequence}" for sequence in (*sequences, "seg")]
        files = by_stem(path for path in listed if stem(path) in names)
        label = files.pop(names.pop(), None)
        if not files:
            continue
        if len(files) < len(names):
            missing = next(name for name in names if name not in files)
            raise UserError(
                f"{folder} lacks {missing}.nii.gz; a case of BraTS has {', '.join(sequences)}"
            )
        return CaseFiles(case, tuple(files[name] for name in names), label), regions
    return None


def _by_name(path: Path) -> str:
    return path.name
