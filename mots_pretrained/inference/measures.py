"""What is measured of each category in a scan: volume, CT numbers, place, sides touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.prediction import Prediction

SIDES = (("foot", "head"), ("front", "back"), ("right", "left"))
"""What lies at the two ends of (D, H, W)."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Measures:
    """One category of a label map, with all that lies in it; None and empty where it is absent.

    Attributes:
        volume_ml: Its volume.
        mean: Of the scan's values beneath it: HU of a CT, of its first channel.
        median: Likewise.
        sd: Their standard deviation.
        p5: Below which 5 % of them lie.
        p95: Below which 95 % of them lie.
        centroid_mm: In the file's world: towards right, front, head (NIfTI's RAS+).
        box_mm: Lowest and highest place along the same three axes, of voxels' centres.
        border: Sides of the scan that it touches, of `SIDES`.
    """

    volume_ml: float
    mean: float | None = None
    median: float | None = None
    sd: float | None = None
    p5: float | None = None
    p95: float | None = None
    centroid_mm: Point | None = None
    box_mm: tuple[Point, Point] | None = None
    border: tuple[str, ...] = ()


def measure(prediction: Prediction) -> dict[str, Measures]:
    """Measure every category of a prediction."""
    from scipy import ndimage

    boxes = ndimage.find_objects(prediction.labels)
    volume = prediction.volume
    scan = volume.array[0] if volume.array.ndim == 4 else volume.array
    measured = {}
    for name, values in prediction.label_values.items():
        box = _joined([boxes[v - 1] for v in values if v <= len(boxes)])
        if box is None:
            measured[name] = Measures(0.0)
            continue
        mask = np.isin(prediction.labels[box], values)
        measured[name] = _measures(scan[box][mask], mask, box, volume)
    return measured


def _joined(boxes: Sequence[tuple[slice, ...] | None]) -> tuple[slice, ...] | None:
    """Return the box around several; None where there is none."""
    present = [box for box in boxes if box is not None]
    if not present:
        return None
    return tuple(
        slice(min(part.start for part in axis), max(part.stop for part in axis))
        for axis in zip(*present, strict=True)
    )


def _measures(
    values: NDArray[Any], mask: NDArray[np.bool_], box: tuple[slice, ...], volume: Volume
) -> Measures:
    """Measure the voxels of a mask within its box."""
    numbers = values.astype(np.float32)
    p5, median, p95 = (float(x) for x in np.percentile(numbers, (5, 50, 95)))
    middle = []
    for axis, part in enumerate(box):
        others = tuple(other for other in range(3) if other != axis)
        line = mask.sum(axis=others, dtype=np.float64)
        middle.append(part.start + float((line * np.arange(len(line))).sum() / line.sum()))
    ends = np.array([(part.start, part.stop - 1) for part in box])
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    places = corners @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    border = [
        side
        for (first, last), size, sides in zip(ends, volume.shape, SIDES, strict=True)
        for side, touched in zip(sides, (first == 0, last == size - 1), strict=True)
        if touched
    ]
    voxel = abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
    return Measures(
        volume_ml=round(len(values) * voxel, 3),
        mean=_tenth(numbers.mean(dtype=np.float64)),
        median=_tenth(median),
        sd=_tenth(numbers.std(dtype=np.float64)),
        p5=_tenth(p5),
        p95=_tenth(p95),
        centroid_mm=_point(volume.affine[:3, :3] @ middle + volume.affine[:3, 3]),
        box_mm=(_point(places.min(axis=0)), _point(places.max(axis=0))),
        border=tuple(border),
    )


def _tenth(value: float) -> float:
    return round(float(value), 1)


def _point(place: NDArray[np.float64]) -> Point:
    x, y, z = (_tenth(v) for v in place)
    return x, y, z
