"""BraTS 2018 (Sec. 4.5): four sequences a case, and label values 1, 2, 4 as nested regions."""

from __future__ import annotations

from pathlib import Path

from mots_pretrained.data.layouts.collection import CaseFiles, Collection
from mots_pretrained.errors import UserError
from mots_pretrained.images.scan_files import list_volumes, stem
from mots_pretrained.tasks import BRATS_MODALITIES, BRATS_REGIONS

GRADES = ("HGG", "LGG")
"""Folders of the training set; the sets without labels hold their cases side by side."""


def find_brats(folder: Path) -> Collection | None:
    """Find ``[HGG|LGG/]CASE/CASE_{t1,t1ce,t2,flair,seg}.nii.gz``; None in another layout.

    Cases of the validation set have no label map.

    Raises:
        UserError: If a case lacks one of its four sequences.
    """
    places = [folder / grade for grade in GRADES if (folder / grade).is_dir()] or [folder]
    found = [
        _case(path)
        for path in sorted((path for place in places for path in place.iterdir()), key=_by_name)
        if path.is_dir() and not path.name.startswith(".")
    ]
    cases = tuple(case for case in found if case is not None)
    if not cases:
        return None
    return Collection(
        *(folder.name, folder, cases), classes=dict(BRATS_REGIONS), channels=BRATS_MODALITIES
    )


def _case(folder: Path) -> CaseFiles | None:
    """Read one case's folder, sequences in the order of the channels."""
    files = {stem(path): path for path in list_volumes(folder)}
    names = [f"{folder.name}_{modality}" for modality in BRATS_MODALITIES]
    images = tuple(files[name] for name in names if name in files)
    if not images:
        return None
    if len(images) < len(names):
        missing = next(name for name in names if name not in files)
        raise UserError(
            f"{folder} lacks {missing}.nii.gz; a case of BraTS has {', '.join(BRATS_MODALITIES)}"
        )
    return CaseFiles(folder.name, images, files.get(f"{folder.name}_seg"))


def _by_name(path: Path) -> str:
    return path.name
