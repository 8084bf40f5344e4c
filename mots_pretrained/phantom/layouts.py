"""File names, headers and types of the public collections, as their downloads unpack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.files import write_json
from mots_pretrained.images.nifti import write_nifti
from mots_pretrained.images.volume import affine_of
from mots_pretrained.tasks import Task

LITS_BATCH = 28  # volume-0 to volume-27 come in Training Batch 1, the rest in Training Batch 2
BCV_NUMBERS = (*range(1, 11), *range(21, 41))  # of BCV's 30 labelled scans
# An AppleDouble file, as the Decathlon's archives hold beside every scan: to be passed over.
APPLE_DOUBLE = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(40)


@dataclass(frozen=True)
class Header:
    """How a file's axes run (nibabel's codes), and the form codes and types in its header."""

    axes: str
    sform: int = 1
    qform: int = 1
    image: str = "int16"
    label: str = "uint8"


@dataclass(frozen=True)
class Layout:
    """Where one case lies under the root, and how its files are written."""

    identifier: str
    image: str
    label: str
    header: Header


@dataclass(frozen=True)
class Decathlon:
    """One task of the Medical Segmentation Decathlon: folder, title, case names, label names."""

    folder: str
    title: str
    case: str
    labels: tuple[str, ...]


DECATHLON: dict[str, Decathlon] = {
    "lung": Decathlon("Task06_Lung", "Lung", "lung_{:03d}", ("cancer",)),
    "pancreas": Decathlon("Task07_Pancreas", "Pancreas", "pancreas_{:03d}", ("pancreas", "cancer")),
    "hepatic_vessel": Decathlon(
        "Task08_HepaticVessel", "HepaticVessel", "hepaticvessel_{:03d}", ("Vessel", "Tumour")
    ),
    "spleen": Decathlon("Task09_Spleen", "Spleen", "spleen_{:d}", ("spleen",)),
    "colon": Decathlon("Task10_Colon", "Colon", "colon_{:03d}", ("colon cancer primaries",)),
}
"""The five tasks of MOTS that come from the Decathlon."""


def mots_layout(task: str, index: int, *, labelled: bool = True) -> Layout:
    """Layout of a task's case number ``index``; the Decathlon keeps unlabelled ones apart."""
    if task == "liver":
        folder = f"LiTS/Training Batch {1 if index < LITS_BATCH else 2}"
        # LiTS mixes orientations, and stores some scans as real numbers.
        header = Header(("LPS", "RAS", "LAS")[index % 3], image=("int16", "float32")[index % 2])
        return Layout(
            f"volume-{index}",
            f"{folder}/volume-{index}.nii",
            f"{folder}/segmentation-{index}.nii",
            header,
        )
    if task == "kidney":
        name = f"case_{index:05d}"
        folder = f"kits19/data/{name}"
        # (slice, row, column), head first; some files have a qform only, and 16-bit labels.
        header = Header("IPL", sform=2, qform=0)
        if index % 2:
            header = Header("IPL", sform=0, qform=1, label="uint16")
        return Layout(name, f"{folder}/imaging.nii.gz", f"{folder}/segmentation.nii.gz", header)
    source = DECATHLON[task]
    name = source.case.format(index + 1)
    part = "imagesTr" if labelled else "imagesTs"
    return Layout(
        name,
        f"{source.folder}/{part}/{name}.nii.gz",
        f"{source.folder}/labelsTr/{name}.nii.gz",
        Header("RAS", image=("int16", "float32")[index % 2]),
    )


def bcv_layout(index: int) -> Layout:
    """Layout of BCV's case number ``index``."""
    number = BCV_NUMBERS[index] if index < len(BCV_NUMBERS) else index + 11
    return Layout(
        f"img{number:04d}",
        f"img/img{number:04d}.nii.gz",
        f"label/label{number:04d}.nii.gz",
        Header("LAS"),
    )


def write_scan(
    path: Path,
    array: NDArray[np.generic],
    spacing: tuple[float, float, float],
    *,
    header: Header,
    dtype: str,
) -> None:
    """Write a canonical ``(D, H, W)`` array, its axes turned to what the header says."""
    from nibabel import orientations

    path.parent.mkdir(parents=True, exist_ok=True)
    transform = orientations.ornt_transform(
        orientations.axcodes2ornt(("S", "P", "L")), orientations.axcodes2ornt(tuple(header.axes))
    )
    affine = affine_of(spacing)
    # The scanner's origin lies in the middle of the plane, at the scan's lower end.
    middle = (np.array(array.shape) - 1) / 2
    affine[:2, 3] = -(affine @ [*middle, 1.0])[:2]
    turned = orientations.apply_orientation(array, transform)
    affine = affine @ orientations.inv_ornt_aff(transform, array.shape)
    stored = np.ascontiguousarray(np.rint(turned)).astype(dtype)
    write_nifti(path, stored, affine, sform_code=header.sform, qform_code=header.qform)


def write_dataset_json(root: Path, task: Task, cases: int) -> None:
    """Write the Decathlon's ``dataset.json``: the labelled cases, and one unlabelled."""
    source = DECATHLON[task.name]
    names = [source.case.format(i + 1) for i in range(cases)]
    test = [f"./imagesTs/{source.case.format(cases + 1)}.nii.gz"]
    content = {
        "name": source.title,
        "description": f"Procedural phantoms in the layout of {task.source}",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background"} | {str(i): n for i, n in enumerate(source.labels, start=1)},
        "numTraining": cases,
        "numTest": len(test),
        "training": [
            {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names
        ],
        "test": test,
    }
    write_json(root / source.folder / "dataset.json", content, indent=1)
