"""Empty files that lie as public collections unpack, and what is found of them."""

from __future__ import annotations

import json
from pathlib import Path

from mots_pretrained.data.layouts import Collection


def touch(root: Path, *names: str) -> Path:
    """Make empty files and their folders."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def lits(root: Path, *numbers: int, batch: str = "") -> Path:
    """LiTS, or one of its batches."""
    for number in numbers:
        touch(root / batch, f"volume-{number}.nii", f"segmentation-{number}.nii")
    return root


def kits(root: Path, *numbers: int) -> Path:
    """KiTS19: a folder a case."""
    for number in numbers:
        case = f"case_{number:05d}"
        touch(root, f"{case}/imaging.nii.gz", f"{case}/segmentation.nii.gz")
    return root


def msd(root: Path, name: str, *numbers: int) -> Path:
    """A task of the Decathlon, with its dataset.json, an unlabelled scan and Apple's files."""
    names = [f"{name}_{number:03d}.nii.gz" for number in numbers]
    for case in names:
        touch(root, f"imagesTr/{case}", f"labelsTr/{case}", f"imagesTr/._{case}")
    touch(root, f"imagesTs/{name}_999.nii.gz")
    listed = [{"image": f"./imagesTr/{c}", "label": f"./labelsTr/{c}"} for c in names]
    description = {"labels": {"0": "background", "1": name}, "training": listed}
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def identifiers(collection: Collection) -> list[str]:
    """Names of a collection's cases."""
    return [case.name for case in collection.cases]


def files_of(collection: Collection) -> list[tuple[str, list[str], str]]:
    """Name, files of images and label map of each labelled case."""
    return [
        (case.name, [path.name for path in case.images], case.label.name)
        for case in collection.cases
    ]
