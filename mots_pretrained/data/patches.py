"""Cutting training patches out of a case, half of them around something labelled (Sec. 4.1)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mots_pretrained.data.case import Case
from mots_pretrained.shapes import Size
from mots_pretrained.tasks import IGNORED

Pad = float | Literal["edge"]
"""Image outside a scan: a constant, or the scan's outermost voxels repeated."""


def draw_start(
    case: Case, patch: Size, rng: np.random.Generator, *, foreground: float = 0.5
) -> Size:
    """Draw where a patch begins.

    With probability ``foreground`` it is centred on a random voxel of a random present class, else
    it lies anywhere; it never leaves the scan, save along an axis on which the scan is smaller.

    Args:
        case: The case to cut from.
        patch: Voxels of the patch along (D, H, W).
        rng: Where the chance comes from.
        foreground: Probability of a labelled centre; a case without labels has none.

    Returns:
        First voxel along (D, H, W); negative where the scan is smaller than the patch.
    """
    low = [min(0, size - extent) for size, extent in zip(case.shape, patch, strict=True)]
    high = [max(0, size - extent) for size, extent in zip(case.shape, patch, strict=True)]
    if rng.random() < foreground and case.foreground:
        positions = case.foreground[rng.integers(len(case.foreground))]
        centre = np.unravel_index(positions[rng.integers(len(positions))], case.shape)
        start = [int(c) - extent // 2 for c, extent in zip(centre, patch, strict=True)]
    else:
        start = [int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True)]
    depth, height, width = (min(max(s, a), b) for s, a, b in zip(start, low, high, strict=True))
    return depth, height, width


def extract(
    case: Case,
    start: Size,
    patch: Size,
    *,
    pad: Pad = "edge",
    matrix: NDArray[np.float64] | None = None,
    orders: tuple[int, int] = (1, 0),
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut a patch out of a case, scaled and turned about its centre if asked to.

    Only the box that the patch needs is read, so that the case's arrays may lie on disk. What lies
    outside the scan is unknown: ``IGNORED`` in the target.

    Args:
        case: The case to cut from.
        start: First voxel along (D, H, W), as drawn by ``draw_start``.
        patch: Voxels of the patch along (D, H, W).
        pad: Image outside the scan.
        matrix: ``(3, 3)``, takes a step in the patch to a step in the scan, in voxels; None for
            a plain cut.
        orders: With a matrix, order of the splines through the image, and through each class of
            the target (0: nearest voxel; 1: the class that fills half of the voxel).

    Returns:
        Image ``(C, *patch)`` and target ``(K, *patch)``.
    """
    if matrix is None:
        return _cut(case.image, start, patch, pad), _cut(case.target, start, patch, IGNORED)
    half = (np.array(patch) - 1) / 2
    centre = np.array(start) + half
    reach = np.abs(matrix) @ half
    # The box that the turned patch needs, and some voxels more for splines; never an empty one.
    size, more = np.array(case.shape), 1 if orders[0] < 2 else 8
    low = (np.floor(centre - reach) - more).astype(int).clip(0, size - 1)
    high = (np.ceil(centre + reach) + more + 1).astype(int).clip(low + 1, size)
    box = (slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))
    offset = centre - matrix @ half - low

    def turn(channel: NDArray[Any], order: int, outside: Pad) -> NDArray[Any]:
        mode, value = ("nearest", 0.0) if outside == "edge" else ("grid-constant", float(outside))
        return ndimage.affine_transform(
            channel, matrix, offset, patch, order=order, mode=mode, cval=value
        )

    image = np.stack([turn(channel, orders[0], pad) for channel in case.image[box]])
    target = case.target[box]
    turned = np.empty((len(target), *patch), np.uint8)
    for channel, result in zip(target, turned, strict=True):
        if orders[1] == 0:
            result[:] = turn(channel, 0, IGNORED)
            continue
        result[:] = 0
        for value in np.flatnonzero(np.bincount(channel.ravel(), minlength=IGNORED + 1)):
            if value not in (0, IGNORED):
                share = turn((channel == value).astype(np.float32), orders[1], 0.0)
                result[share >= 0.5] = value
        unknown = turn((channel == IGNORED).astype(np.float32), orders[1], 1.0)
        result[unknown >= 0.5] = IGNORED
    return image, turned


def _cut(array: NDArray[Any], start: Size, patch: Size, pad: Pad) -> NDArray[Any]:
    """Copy a box of the last three axes; what lies outside the array is padded."""
    source, beyond = [slice(None)], [(0, 0)]
    for first, extent, size in zip(start, patch, array.shape[1:], strict=True):
        begin = min(max(first, 0), size - 1)
        end = max(min(first + extent, size), begin + 1)
        source.append(slice(begin, end))
        beyond.append((begin - first, first + extent - end))
    inside = array[tuple(source)]
    if inside.shape[1:] == patch:
        return np.array(inside)
    if pad == "edge":
        return np.pad(inside, beyond, mode="edge")
    return np.pad(inside, beyond, constant_values=pad)
