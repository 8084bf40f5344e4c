"""A scan and its labels as small NIfTI files within a page."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.images.resample import resample, resample_labels
from mots_pretrained.images.volume import Volume
from mots_pretrained.report.overlay import display_range


@dataclass(frozen=True)
class Embedded:
    """Two NIfTI files as base64 text, and where to look for each category.

    Attributes:
        image: The scan in 256 greys of its window; black where the scan itself is not there.
        marks: The labels, category ``i`` of the list as ``i + 1``.
        places: Of each category that is there, a voxel of its largest axial slice, as a fraction
            along (width, height from the back, depth): NiiVue's.
    """

    image: str
    marks: str
    places: dict[str, tuple[float, float, float]]


def embed(
    labels: Volume, values: Mapping[str, int], *, scan: Volume | None = None, most: int = 160
) -> Embedded:
    """Make the files of a label map and its scan.

    Args:
        labels: ``(D, H, W)``.
        values: Value that is written for each category.
        scan: The scan, on the same grid.
        most: Voxels along any axis.
    """
    size = _size(labels, most)
    marks = np.zeros(labels.shape, np.uint8)
    for number, value in enumerate(values.values(), start=1):
        marks[labels.array == value] = number
    small = resample_labels(marks, size)
    image = np.zeros(size, np.uint8)
    if scan is not None:
        channel = scan.array[0] if scan.array.ndim == 4 else scan.array
        low, high = display_range(channel)
        grey = (resample(channel, size) - low) / (high - low)
        image = (np.clip(grey, 0, 1) * 255).astype(np.uint8)
    affine = _affine(labels, size)
    places = {}
    for number, name in enumerate(values, start=1):
        place = _place(small == number)
        if place is not None:
            places[name] = place
    return Embedded(_file(image, affine), _file(small, affine), places)


def _size(volume: Volume, most: int) -> tuple[int, int, int]:
    """Voxels along (D, H, W), of no finer spacing than the finest that fits."""
    step = max(n * s for n, s in zip(volume.shape, volume.spacing, strict=True)) / most
    depth, height, width = (
        max(2, min(n, round(n * s / max(s, step))))
        for n, s in zip(volume.shape, volume.spacing, strict=True)
    )
    return depth, height, width


def _affine(volume: Volume, size: tuple[int, int, int]) -> NDArray[np.float64]:
    """Map voxels (w, h, d) of the small grid, which covers the same field, to the world."""
    scale = np.divide(volume.shape, size)
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((scale - 1) / 2)
    affine[:3, :3] *= scale
    return affine[:, [2, 1, 0, 3]]


def _place(mask: NDArray[np.bool_]) -> tuple[float, float, float] | None:
    if not mask.any():
        return None
    depth = int(mask.sum(axis=(1, 2)).argmax())
    where = np.argwhere(mask[depth])
    height, width = where[np.abs(where - where.mean(axis=0)).sum(axis=1).argmin()]
    d, h, w = ((at + 0.5) / n for at, n in zip((depth, height, width), mask.shape, strict=True))
    # the array runs to the patient's left, back and head; NiiVue's fractions right, front, head
    return float(1 - w), float(1 - h), float(d)


def _file(array: NDArray[np.uint8], affine: NDArray[np.float64]) -> str:
    import nibabel as nib

    stored = nib.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine)
    stored.header.set_xyzt_units("mm")
    return base64.b64encode(gzip.compress(stored.to_bytes(), 6, mtime=0)).decode("ascii")
