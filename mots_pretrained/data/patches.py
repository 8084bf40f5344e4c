"""Cutting training patches out of a case, half of them around something labelled (Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mots_pretrained.tasks import IGNORED

Size = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Case:
    """A scan brought to a model's contract, with its labels on the same grid.

    Attributes:
        image: ``(C, D, H, W)`` float32, scaled as the contract says; here and below, anything
            with ``shape``, ``dtype`` and slices will do.
        target: ``(K, D, H, W)`` uint8: one channel a binary target, or a single channel of class
            values.
        labelled: ``(K,)``, which target channels are annotated; the others hold zeros.
        tasks: Indices of the case's tasks in the model's task list, two channels each; empty
            where the target is no MOTS task's.
        name: What to call it in messages.
    """

    image: NDArray[np.float32]
    target: NDArray[np.uint8]
    labelled: tuple[bool, ...] = (True,)
    tasks: tuple[int, ...] = ()
    name: str = "case"

    @property
    def shape(self) -> Size:
        """Voxels along (D, H, W)."""
        depth, height, width = self.image.shape[1:]
        return depth, height, width

    @cached_property
    def foreground(self) -> tuple[NDArray[np.int64], ...]:
        """Flat voxel positions of every present class: channel by channel, value by value."""
        return tuple(positions for _, _, positions in present_classes(self.target))


def present_classes(target: NDArray[np.uint8]) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yield channel, value and flat voxel positions of every class that a target holds.

    Args:
        target: ``(K, D, H, W)``; 0 and ``IGNORED`` are no class.
    """
    for number, channel in enumerate(target.reshape(len(target), -1)):
        positions = np.flatnonzero(channel)
        values = channel[positions]
        for value in np.unique(values):
            if value != IGNORED:
                yield number, int(value), positions[values == value]


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
    fill: float = -1.0,
    matrix: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut a patch out of a case, scaled and turned about its centre if asked to.

    Only the box that the patch needs is read, so that the case's arrays may lie on disk.

    Args:
        case: The case to cut from.
        start: First voxel along (D, H, W), as drawn by ``draw_start``.
        patch: Voxels of the patch along (D, H, W).
        fill: Image value outside the scan: the contract's lowest. Targets are 0 there.
        matrix: ``(3, 3)``, takes a step in the patch to a step in the scan, in voxels; None for
            a plain cut.

    Returns:
        Image ``(C, *patch)`` (linear interpolation) and target ``(K, *patch)`` (nearest).
    """
    if matrix is None:
        return _cut(case.image, start, patch, fill), _cut(case.target, start, patch, 0)
    half = (np.array(patch) - 1) / 2
    centre = np.array(start) + half
    reach = np.abs(matrix) @ half
    # The box that the turned patch needs, and a voxel more for rounding; never an empty one.
    size = np.array(case.shape)
    low = (np.floor(centre - reach) - 1).astype(int).clip(0, size - 1)
    high = (np.ceil(centre + reach) + 2).astype(int).clip(low + 1, size)
    box = (slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))
    offset = centre - matrix @ half - low

    def turn(channel: NDArray, order: int, outside: float) -> NDArray:
        return ndimage.affine_transform(
            channel, matrix, offset, patch, order=order, mode="constant", cval=outside
        )

    image = np.stack([turn(channel, 1, fill) for channel in case.image[box]])
    return image, np.stack([turn(channel, 0, 0) for channel in case.target[box]])


def _cut(array: NDArray, start: Size, patch: Size, fill: float) -> NDArray:
    """Copy a box of the last three axes; what lies outside the array is ``fill``."""
    source, place = [slice(None)], [slice(None)]
    for first, extent, size in zip(start, patch, array.shape[1:], strict=True):
        begin, end = max(first, 0), min(first + extent, size)
        source.append(slice(begin, max(begin, end)))
        place.append(slice(begin - first, max(begin, end) - first))
    inside = array[tuple(source)]
    if inside.shape[1:] == patch:
        return np.array(inside)
    cut = np.full((len(array), *patch), fill, dtype=array.dtype)
    cut[tuple(place)] = inside
    return cut
