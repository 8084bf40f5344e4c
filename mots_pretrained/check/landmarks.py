"""What a CT shows without labels: the body and its middle, the spine behind, the lungs above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEP = 4.0  # mm: fine enough for a body
_SKIN, _BONE = -250.0, 100.0  # HU
_DENSEST = 300.0  # HU above bone's: more, as metal has, counts no more
_LUNG = (-950.0, -500.0)  # HU: gas in the bowel has less
_LUNGS_SEEN = 0.001  # of the body
_CHEST = 0.1  # of the lungs' largest share of a slice; where it is more, the slice is the chest's
_BESIDE = 150.0  # mm beside the lungs, in which a neck lies on one side and no leg on the other
_NECK = 0.5  # of the chest's cross-section; a waist has more, neck and head have less
_CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], dtype=bool)  # slices may lie far apart


@dataclass(frozen=True)
class Landmarks:
    """What was found in one scan.

    Attributes:
        middle: Middle of the body along (H, W), mm from the first voxel's centre.
        spine: How far behind the middle the densest column lies, mm; None where nothing is dense.
        lungs: How far above the scan's middle the lungs lie, as a share of its length, -0.5 to
            0.5; None where they are not seen, or what fills the rest of the scan is neck and head.
        tissue: Median HU of the body without its air.
        size: Of the body along (H, W) in mm, arms and couch included where they touch it; None
            where it goes on beyond the scan's sides.
    """

    middle: tuple[float, float]
    spine: float | None
    lungs: float | None
    tissue: float
    size: tuple[float | None, float | None]


def find_landmarks(image: NDArray[Any], spacing: tuple[float, float, float]) -> Landmarks | None:
    """Find the landmarks of a CT in canonical orientation.

    Args:
        image: ``(D, H, W)`` in HU.
        spacing: Millimetres along (D, H, W).

    Returns:
        The landmarks, or None where no body stands out from air.
    """
    small, step = thinned(image, spacing, _STEP)
    body = _body(small)
    if body is None:
        return None
    (front, back), (right, left) = _sides(body)
    middle = np.array([(front + back) / 2, (right + left) / 2]) * step[1:]
    return Landmarks(
        (float(middle[0]), float(middle[1])),
        _spine(small, body, middle, step),
        _lungs(small, body, int((front + back) / 2), float(step[0])),
        float(np.median(small[body & (small > _SKIN)])),
        (
            None if _reaches_border(image, 1) else float((back - front + 1) * step[1]),
            None if _reaches_border(image, 2) else float((left - right + 1) * step[2]),
        ),
    )


def thinned(
    array: NDArray[Any], spacing: tuple[float, float, float], step: float
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Take every n-th voxel so that they lie about ``step`` mm apart; also returns their spacing.

    Example:
        >>> thin, spacing = thinned(np.zeros((10, 10, 10)), (5.0, 1.0, 2.0), 4.0)
        >>> thin.shape, spacing.tolist()
        ((10, 3, 5), [5.0, 4.0, 4.0])
    """
    every = [max(1, round(step / size)) for size in spacing]
    return array[tuple(slice(None, None, n) for n in every)], np.array(spacing) * every


def _body(image: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Find the largest piece that is no air, and all that lies between its front and its back.

    So lungs count as body also where the sides of the chest are out of the field of view.
    """
    from scipy import ndimage

    solid = image > _SKIN
    if solid.all():
        return None
    pieces, count = ndimage.label(ndimage.binary_opening(solid, _CROSS))
    if not count:
        return None
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = pieces == sizes.argmax()
    behind_front = np.maximum.accumulate(body, axis=1)
    before_back = np.maximum.accumulate(body[:, ::-1], axis=1)[:, ::-1]
    return behind_front & before_back


def _sides(body: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Find where the body begins and ends along (H, W), in voxels: the median over the slices."""
    sides = []
    for other in (2, 1):
        line: Any = body.any(axis=other)
        line = line[line.any(axis=1)]
        first, last = line.argmax(axis=1), line.shape[1] - 1 - line[:, ::-1].argmax(axis=1)
        sides.append((float(np.median(first)), float(np.median(last))))
    return sides


def _reaches_border(image: NDArray[Any], axis: int) -> bool:
    """Whether something solid lies in the first or last line along an axis, in most slices."""
    ends = (image.take(end, axis) > _SKIN for end in (0, -1))
    return any(float(end.any(axis=1).mean()) > 0.5 for end in ends)


def _spine(
    image: NDArray[Any], body: NDArray[np.bool_], middle: NDArray[np.float64], step: Any
) -> float | None:
    """Find the column that is dense in most slices; contrast in the bowel is so in few."""
    dense = np.clip(image.astype(np.float32) - _BONE, 0, _DENSEST) * body
    column = dense.mean(axis=0)
    if column.max() < 0.1 * _DENSEST:
        return None
    height = np.argwhere(column >= column.max() / 2)[:, 0].mean() * step[1]
    return float(height - middle[0])


def _lungs(image: NDArray[Any], body: NDArray[np.bool_], middle: int, step: float) -> float | None:
    """Find the mean height of what is as dense as lungs, each slice by its share of the body."""
    from scipy import ndimage

    inside = body.sum(axis=(1, 2))
    spongy = body & (image > _LUNG[0]) & (image < _LUNG[1])
    # the rim of gas in the bowel is as dense, but thin
    lung = ndimage.binary_opening(spongy, _CROSS).sum(axis=(1, 2))
    if lung.sum() < _LUNGS_SEEN * inside.sum() or len(inside) < 2:
        return None
    share = lung / np.maximum(1, inside)
    height = float((share * np.linspace(-0.5, 0.5, len(share))).sum() / share.sum())
    front = body[:, :middle].sum(axis=(1, 2))  # of whose outline a couch is no part
    if height < 0:  # whichever way the scan lies: the neck, or the abdomen, comes last
        front, share = front[::-1], share[::-1]
    chest = np.flatnonzero(share > _CHEST * share.max())
    beside = front[max(0, chest[0] - round(_BESIDE / step)) : chest[0]]
    return None if _narrows(beside[beside > 0], front[chest]) else height


def _narrows(beside: NDArray[np.int_], chest: NDArray[np.int_]) -> bool:
    """Tell a neck from an abdomen: by the smallest cross-sections beside those of the chest."""
    return len(beside) > 0 and bool(np.quantile(beside, 0.1) < _NECK * np.median(chest))
