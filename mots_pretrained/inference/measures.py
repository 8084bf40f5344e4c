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

    labels, tilt = prediction.labels, prediction.volume.tilt
    boxes = ndimage.find_objects(labels)
    # a straightened grid ends beyond the scan, so that no side of its own is the scan's
    own = labels if tilt is None else tilt.back(labels)
    cut = boxes if tilt is None else ndimage.find_objects(own)
    measured = {}
    for name, values in prediction.label_values.items():
        box = _joined([boxes[v - 1] for v in values if v <= len(boxes)])
        if box is None:
            measured[name] = Measures(0.0)
            continue
        border = _border(_joined([cut[v - 1] for v in values if v <= len(cut)]), own.shape)
        measured[name] = _measures(labels, values, box, prediction.volume, border)
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
    labels: NDArray[Any],
    values: Sequence[int],
    box: tuple[slice, ...],
    volume: Volume,
    border: tuple[str, ...],
) -> Measures:
    """Measure what has these values within a box, plane by plane: a category may fill the scan."""
    scan = volume.array[0] if volume.array.ndim == 4 else volume.array
    wanted = np.isin(np.arange(int(labels[box].max()) + 1), values)  # 255 + 1 is no uint8
    depth, height, width = (part.stop - part.start for part in box)
    lines = np.zeros(depth), np.zeros(height), np.zeros(width)
    seen = _Values(scan.dtype)
    for index, (plane, image) in enumerate(zip(labels[box], scan[box], strict=True)):
        inside = wanted[plane]
        lines[0][index] = inside.sum()
        lines[1][:] += inside.sum(axis=1)
        lines[2][:] += inside.sum(axis=0)
        seen.add(image[inside])
    middle = [
        part.start + float((line * np.arange(len(line))).sum() / line.sum())
        for part, line in zip(box, lines, strict=True)
    ]
    p5, median, p95 = seen.percentiles(5, 50, 95)
    mean, sd = seen.mean_and_sd()
    ends = np.array([(part.start, part.stop - 1) for part in box])
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    places = corners @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    voxel = abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
    return Measures(
        volume_ml=round(int(lines[0].sum()) * voxel, 3),
        mean=_digits(mean),
        median=_digits(median),
        sd=_digits(sd),
        p5=_digits(p5),
        p95=_digits(p95),
        centroid_mm=_point(volume.affine[:3, :3] @ middle + volume.affine[:3, 3]),
        box_mm=(_point(places.min(axis=0)), _point(places.max(axis=0))),
        border=border,
    )


def _border(box: tuple[slice, ...] | None, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the sides of a grid that a box touches."""
    if box is None:
        return ()
    return tuple(
        side
        for part, size, sides in zip(box, shape, SIDES, strict=True)
        for side, touched in zip(sides, (part.start == 0, part.stop == size), strict=True)
        if touched
    )


class _Values:
    """Values of many voxels: counted where there are few different ones, as CT has, else kept."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._counts: NDArray[np.int64] | None = None
        if dtype.kind in "iu" and dtype.itemsize <= 2:
            limits = np.iinfo(dtype)
            self._low = int(limits.min)
            self._counts = np.zeros(int(limits.max) - self._low + 1, np.int64)
        self._kept: list[NDArray[np.float32]] = []

    def add(self, values: NDArray[Any]) -> None:
        if self._counts is None:
            self._kept.append(values.astype(np.float32))
        else:
            moved = values.astype(np.int64) - self._low
            self._counts += np.bincount(moved, minlength=len(self._counts))

    def percentiles(self, *shares: float) -> tuple[float, ...]:
        """Return the values below which these shares of 100 lie, between two where they fall so."""
        if self._counts is None:
            found = np.percentile(np.concatenate(self._kept), shares)
            return tuple(float(value) for value in found)
        until = np.cumsum(self._counts)
        rank = np.array(shares) / 100 * (until[-1] - 1)
        below, above = (
            np.searchsorted(until, whole, side="right") for whole in (np.floor(rank), np.ceil(rank))
        )
        return tuple((self._low + below + (rank % 1) * (above - below)).tolist())

    def mean_and_sd(self) -> tuple[float, float]:
        if self._counts is None:
            values = np.concatenate(self._kept)
            return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
        count, numbers = self._counts.sum(), self._low + np.arange(len(self._counts))
        mean = float((self._counts * numbers).sum() / count)
        return mean, float(np.sqrt((self._counts * (numbers - mean) ** 2).sum() / count))


def _digits(value: float) -> float:
    """Round to a tenth, or where that leaves less to five digits: not all scans are in HU."""
    return round(float(value), 1) if abs(value) >= 1000 else float(f"{value:.5g}")


def _tenth(value: float) -> float:
    return round(float(value), 1)


def _point(place: NDArray[np.float64]) -> Point:
    x, y, z = (_tenth(v) for v in place)
    return x, y, z
