"""Resampling between two grids over the same field of view, linear and anti-aliased (Sec. 4.1).

Convention: the outer faces of the first and last voxel stay where they are, so that ``n`` voxels
become ``m`` of ``n / m`` times the size, and centre ``i`` of the new grid lies at
``(i + 0.5) * n / m - 0.5`` of the old one. The rule is its own mirror image, and going there and
back meets every voxel again. Values are those of the linear interpolant, averaged downwards over
a box of ``n / m - 1`` voxels: straight lines stay straight, and the noise and thin structures of a
fine scan do not alias.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mots_pretrained.shapes import Size

CHUNK = 1 << 22
"""Voxels of an image that are resampled at once: 16 MiB in float32."""

PLANES = 16
"""Resampled planes that are given at once, at most."""


def shape_at(shape: Size, spacing: tuple[float, ...], wanted: tuple[float, ...]) -> Size:
    """Return the voxels along (D, H, W) that bring a grid closest to a wanted spacing.

    Args:
        shape: Voxels of the grid.
        spacing: Its spacing in mm.
        wanted: The spacing to come to, in mm.

    Example:
        >>> shape_at((400, 512, 512), (1.5, 0.8, 0.8), (4.0, 3.0, 3.0))
        (150, 137, 137)
    """
    depth, height, width = (
        max(1, math.floor(size * step / goal + 0.5))
        for size, step, goal in zip(shape, spacing, wanted, strict=True)
    )
    return depth, height, width


def resample(array: NDArray[Any], size: Size) -> NDArray[np.float32]:
    """Resample an image by a linear, anti-aliased kernel, a few planes at a time.

    Args:
        array: ``(D, H, W)`` of any real type.
        size: Voxels wanted along (D, H, W).

    Returns:
        ``size``, float32.

    Example:
        >>> resample(np.full((4, 4, 4), 7, np.int16), (2, 8, 3)).mean()
        7.0
    """
    result = np.empty(size, np.float32)
    for start, slab in resampled_slabs(array, size):
        result[start : start + len(slab)] = slab
    return result


def resampled_slabs(array: NDArray[Any], size: Size) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Resample an image as `resample` does, and yield a few planes at a time.

    Yields:
        Pairs of first plane and ``(n, H, W)``, without gaps, which are the caller's own.
    """
    depth = array.shape[0]
    step = max(1, CHUNK // max(1, math.prod(array.shape[1:])))
    planes = (
        (start, resample_planes(_float(array[start : start + step]), size[1:])[None])
        for start in range(0, depth, step)
    )
    for start, slab in resample_depth(planes, depth, size[0]):
        yield start, slab[0].numpy()


def resample_labels(labels: NDArray[Any], size: Size) -> NDArray[Any]:
    """Resample a label map: each class as an image of its own, then the largest share wins.

    Unlike the nearest voxel's label, this neither shifts borders nor frays thin structures. A voxel
    is background where more than half of it is, so that an organ has one outline with and without
    its tumour; on equal shares the higher label wins (in MOTS the tumour). A connected piece of a
    class that would vanish, since it is thinner than a new voxel, keeps the voxels that it fills at
    least half as far as the one it fills most: small and flat lesions stay in the truth.

    Args:
        labels: ``(D, H, W)`` whole numbers.
        size: Voxels wanted along (D, H, W).

    Returns:
        ``size``, in the type of ``labels``.

    Example:
        >>> resample_labels(np.array([0, 2, 0, 0, 0, 1, 1, 1]).reshape(1, 1, 8), (1, 1, 4)).ravel()
        array([2, 0, 1, 1])
    """
    if labels.shape == size:
        return labels.copy()
    result = np.zeros(size, labels.dtype)
    best = np.zeros(size, np.float32)
    rest = np.ones(size, np.float32)  # the background's share
    values = [value for value in _values(labels) if value != 0]
    for value in values:
        share = resample(labels == value, size)
        rest -= share
        won = (share >= best) & (share > 0)
        result[won] = value
        np.maximum(best, share, out=best)
    result[rest > 0.5] = 0
    for value in values:  # the higher ones last: they win where two would vanish
        _keep_pieces(labels == value, value, result)
    return result


def _values(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the values of a label map, rising; bytes are counted, which is far below sorting."""
    if labels.dtype != np.uint8:
        return np.unique(labels)
    counts = np.zeros(256, np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=256)
    return np.flatnonzero(counts).astype(np.uint8)


def _keep_pieces(mask: NDArray[np.bool_], value: Any, result: NDArray[Any]) -> None:
    """Put back, in place, each connected piece of a class that the result has no voxel of."""
    from scipy import ndimage

    whole = ndimage.find_objects(mask.view(np.uint8))[0]
    pieces, count = ndimage.label(mask[whole], structure=np.ones((3, 3, 3)))
    there = (  # along each axis, the new voxel that holds an old one's centre
        ((np.arange(part.start, part.stop) + 0.5) * new / old).astype(int)
        for part, new, old in zip(whole, result.shape, mask.shape, strict=True)
    )
    alive = np.zeros(count + 1, bool)
    alive[pieces[result[np.ix_(*there)] == value]] = True
    if alive[1:].all():
        return
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        if not alive[number]:
            start = [part.start + outer.start for part, outer in zip(box, whole, strict=True)]
            _keep_piece(pieces[box] == number, start, mask.shape, value, result)


def _keep_piece(
    piece: NDArray[np.bool_], start: list[int], shape: Size, value: Any, result: NDArray[Any]
) -> None:
    """Put one piece back; ``start`` is its first voxel in a label map of ``shape``."""
    shares = torch.from_numpy(piece.astype(np.float32))
    box = []
    for axis in range(3):
        rows = kernel(shape[axis], result.shape[axis])
        rows = rows[:, start[axis] : start[axis] + piece.shape[axis]]
        reached = torch.nonzero(rows.any(dim=1)).ravel()
        low, high = int(reached[0]), int(reached[-1]) + 1
        box.append(slice(low, high))
        shares = torch.tensordot(rows[low:high], shares.movedim(axis, 0), 1).movedim(0, axis)
    part = result[tuple(box)]
    part[(shares >= shares.max() / 2).numpy()] = value


def resample_planes(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample ``(N, H, W)`` in plane to ``(N, *size)``; planes of zeros stay so at no cost."""
    if not planes.any():
        return planes.new_zeros(planes.shape[0], *size)
    height, width = planes.shape[1:]
    if size[1] < width:
        planes = planes @ kernel(width, size[1]).T
    if size[0] < height:
        planes = kernel(height, size[0]) @ planes
    if tuple(planes.shape[1:]) == tuple(size):
        return planes
    return F.interpolate(planes[None], size=size, mode="bilinear")[0]  # the same, and sparse


def resample_part(planes: Tensor, size: tuple[int, int], part: tuple[slice, slice]) -> Tensor:
    """Resample ``(N, H, W)`` in plane to ``(N, *size)``, and give a part of that only.

    Args:
        planes: ``(N, H, W)``.
        size: Voxels of the whole.
        part: Rows and columns of them to make, within the whole.
    """
    rows, columns = part
    there = (rows.stop - rows.start) * (columns.stop - columns.start)
    coarser = size[0] < planes.shape[1] or size[1] < planes.shape[2]
    if coarser or 2 * there > size[0] * size[1]:  # the whole is made faster, voxel for voxel
        return resample_planes(planes, size)[:, rows, columns]
    low, share = (line[rows] for line in _taps(planes.shape[1], size[0]))
    first = int(low[0])
    planes = planes[:, first : int(low[-1]) + 2]
    planes = _between(planes, 2, *(line[columns] for line in _taps(planes.shape[2], size[1])))
    return _between(planes, 1, low - first, share)


def _between(planes: Tensor, axis: int, low: Tensor, share: Tensor) -> Tensor:
    """Interpolate ``(N, H, W)`` along an axis, between a voxel and its share of the next."""
    high = (low + 1).clamp_max(planes.shape[axis] - 1)
    share = share[:, None] if axis == 1 else share
    return planes.index_select(axis, low).lerp_(planes.index_select(axis, high), share)


@functools.lru_cache(maxsize=16)
def _taps(size: int, wanted: int) -> tuple[Tensor, Tensor]:
    """Return the first voxel that each of a finer line's weighs, and the share of the next."""
    rows = kernel(size, wanted)
    low = (rows != 0).int().argmax(dim=1)
    return low, 1 - rows.gather(1, low[:, None])[:, 0]


def resample_depth(
    slabs: Iterable[tuple[int, Tensor]], depth: int, wanted: int, *, most: int = PLANES
) -> Iterator[tuple[int, Tensor]]:
    """Resample slabs along depth as they come; only the planes still needed are held.

    A slab is not read any more once the next one is asked for, so that its memory may be reused.

    Args:
        slabs: Pairs of first plane and ``(K, n, H, W)``, without gaps, from plane 0 to ``depth``.
        depth: Planes that will come in all.
        wanted: Planes to give in all.
        most: Planes to give at once.

    Yields:
        Pairs of first plane and ``(K, m, H, W)``, without gaps, from plane 0 to ``wanted``.
    """
    rows = kernel(depth, wanted)
    used = rows != 0
    first = used.int().argmax(dim=1).tolist()
    stops = (depth - used.flip(1).int().argmax(dim=1)).tolist()
    held: dict[int, Tensor] = {}
    made = 0
    for start, slab in slabs:
        end = start + slab.shape[1]
        held.update(zip(range(start, end), slab.unbind(dim=1), strict=True))
        while made < wanted and stops[made] <= end:
            stop = min(bisect.bisect_right(stops, end), made + most)
            planes = slab.new_zeros(slab.shape[0], stop - made, *slab.shape[2:])
            for index, plane in enumerate(planes.unbind(dim=1), start=made):
                for near in range(first[index], stops[index]):
                    plane.add_(held[near], alpha=float(rows[index, near]))
            yield made, planes
            made = stop
        needed = range(first[made] if made < wanted else end, end)
        held = {j: held[j].clone() for j in needed}  # the slab itself is the giver's again


@functools.lru_cache(maxsize=16)
def kernel(size: int, wanted: int) -> Tensor:
    """Weigh the voxels of a line for each of its resampled ones.

    Args:
        size: Voxels there are.
        wanted: Voxels wanted.

    Returns:
        ``(wanted, size)``, each row with sum 1.

    Example:
        >>> kernel(2, 4)[1]
        tensor([0.7500, 0.2500])
    """
    scale = size / wanted
    half = max(0.0, (scale - 1) / 2)
    centre = ((np.arange(wanted) + 0.5) * scale - 0.5)[:, None]
    reach = math.ceil(half) + 1
    at = np.floor(centre).astype(int) + np.arange(-reach, reach + 2)
    if half > 1e-6:
        weights = (_hat_integral(centre + half - at) - _hat_integral(centre - half - at)) / (
            2 * half
        )
    else:
        weights = np.maximum(0.0, 1.0 - np.abs(centre - at))
    matrix = np.zeros((wanted, size))
    rows = np.broadcast_to(np.arange(wanted)[:, None], at.shape)
    np.add.at(matrix, (rows, at.clip(0, size - 1)), weights)  # beyond its ends a line stays level
    matrix[np.abs(matrix) < 1e-12] = 0  # rounding of the integrals
    return torch.from_numpy(matrix.astype(np.float32))


def _hat_integral(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integrate the linear interpolant's hat, 1 - abs(x) between -1 and 1, from the left."""
    x = x.clip(-1, 1)
    return np.where(x < 0, (1 + x) ** 2 / 2, 1 - (1 - x) ** 2 / 2)


def _float(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
