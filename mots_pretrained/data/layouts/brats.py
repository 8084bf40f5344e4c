"""BraTS 2018 (Sec. 4.5): four sequences a case, and label values 1, 2, 4 as nested regions."""

from __future__ import annotations

from pathlib import Path

from mots_pretrained.data.layouts.labelled import LabelledFolder, LabelledScan
from mots_pretrained.errors import UserError
from mots_pretrained.tasks import BRATS_MODALITIES, BRATS_REGIONS

GRADES = ("HGG", "LGG")
"""Folders of the training set; the sets without labels hold their cases side by side."""

_SUFFIXES = (".nii.gz", ".nii")


def find_brats(root: Path) -> LabelledFolder | None:
    """Find ``[HGG|LGG/]CASE/CASE_{t1,t1ce,t2,flair,seg}.nii.gz``; None in another layout.

    Raises:
        ValueError: If a case lacks its label map or one of its four sequences.
    """
    cases = find_brats_images(root)
    if not cases:
        return None
    scans = []
    for name, images in cases.items():
        label = _file(images[0].parent, name, "seg")
        if label is None:
            raise UserError(f"{images[0]} has no label: {name}_seg.nii.gz is not beside it")
        scans.append(LabelledScan(name, images, label))
    return LabelledFolder(tuple(scans), dict(BRATS_REGIONS), BRATS_MODALITIES)


def find_brats_images(root: Path) -> dict[str, tuple[Path, ...]]:
    """Find the four sequences of each case, labelled or not, in the order of the channels.

    Raises:
        ValueError: If a case lacks one of them.
    """
    folders = [root / grade for grade in GRADES if (root / grade).is_dir()] or [root]
    cases: dict[str, tuple[Path, ...]] = {}
    for case in sorted((path for folder in folders for path in folder.iterdir()), key=_by_name):
        if not case.is_dir() or case.name.startswith("."):
            continue
        found = [_file(case, case.name, modality) for modality in BRATS_MODALITIES]
        images = tuple(path for path in found if path is not None)
        if not images:
            continue
        if len(images) < len(found):
            missing = BRATS_MODALITIES[found.index(None)]
            raise UserError(
                f"{case} lacks {case.name}_{missing}.nii.gz; a case of BraTS has "
                f"{', '.join(BRATS_MODALITIES)}"
            )
        cases[case.name] = images
    return cases


def _file(folder: Path, name: str, kind: str) -> Path | None:
    paths = (folder / f"{name}_{kind}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _by_name(path: Path) -> str:
    return path.name
