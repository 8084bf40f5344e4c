"""Sheared grids, as a tilted gantry leaves them: onto a straight grid, and label maps back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UserError

_SQUARE = 1e-3  # cosine up to which two axes are perpendicular: half a voxel over 500 planes
_STEEPEST = 45.0  # degrees; gantries tilt by up to 30
_ROUNDED = 0.5  # voxels from the first plane to the last; less moves no label by a whole voxel


@dataclass(frozen=True, eq=False)
class Tilt:
    """How far each plane of a sheared grid lies from its place on a straight one.

    Attributes:
        axis: Axis of (D, H, W) across the planes.
        along: The two axes within a plane.
        shifts: ``(planes, 2)`` voxels to add to a position in the sheared grid, at least 0.
        sheared: Voxels of the sheared grid along (D, H, W).
        straight: Voxels of the straight grid, which holds all of it.
        affine: ``(4, 4)`` of the straight grid.
        sheared_affine: ``(4, 4)`` of the sheared grid.
        degrees: Angle between the sheared axis and the planes' normal.
    """

    axis: int
    along: tuple[int, int]
    shifts: NDArray[np.float64]
    sheared: tuple[int, ...]
    straight: tuple[int, ...]
    affine: NDArray[np.float64]
    sheared_affine: NDArray[np.float64]
    degrees: float

    def straighten(self, array: NDArray[Any], *, labels: bool = False) -> NDArray[Any]:
        """Bring ``(..., D, H, W)`` onto the straight grid.

        Args:
            array: On the sheared grid.
            labels: Move label maps by whole voxels, with 0 around them, instead of interpolating
                linearly and continuing scans by their outermost voxels.
        """
        planes = np.moveaxis(array, self._axis(array), 0)
        places = [np.arange(self.straight[axis]) for axis in self.along]
        result = np.zeros((len(planes), *planes.shape[1:-2], *map(len, places)), array.dtype)
        for plane, new, shift in zip(planes, result, self.shifts, strict=True):
            offset = np.rint(shift) if labels else shift
            low, high = (place - s for place, s in zip(places, offset, strict=True))
            moved = _sample(_sample(plane, low, -2), high, -1)
            if labels:
                rows, columns = _within(low, plane.shape[-2]), _within(high, plane.shape[-1])
                new[..., rows[:, None], columns] = moved[..., rows[:, None], columns]
            else:
                new[:] = np.rint(moved) if array.dtype.kind in "iu" else moved
        return np.ascontiguousarray(np.moveaxis(result, 0, self._axis(array)))

    def inside(self) -> NDArray[np.bool_]:
        """Return which voxels ``(D, H, W)`` of the straight grid lie in the sheared one."""
        return self.straighten(np.ones(self.sheared, np.uint8), labels=True).astype(bool)

    def back(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring ``(..., D, H, W)`` from the straight grid to the sheared one, by whole voxels."""
        planes = np.moveaxis(array, self._axis(array), 0)
        size = [self.sheared[axis] for axis in self.along]
        result = np.empty((len(planes), *planes.shape[1:-2], *size), array.dtype)
        for new, plane, shift in zip(result, planes, np.rint(self.shifts).astype(int), strict=True):
            rows, columns = (slice(s, s + n) for s, n in zip(shift, size, strict=True))
            new[:] = plane[..., rows, columns]
        return np.moveaxis(result, 0, self._axis(array))

    def _axis(self, array: NDArray[Any]) -> int:
        return array.ndim - 3 + self.axis


def find_tilt(
    affine: NDArray[np.float64], shape: tuple[int, ...], slices: int, where: object
) -> Tilt | None:
    """Find out whether a grid is sheared, and how; None for a straight one.

    One whose planes drift by less than half a voxel is straight: headers round the positions of
    slices to 0.1 mm, which is an angle of some weight where there are few slices.

    Args:
        affine: ``(4, 4)`` of the grid.
        shape: Voxels along (D, H, W).
        slices: The axis of (D, H, W) that slices were stacked along.
        where: What to call the scan.

    Raises:
        UserError: If it is sheared in more ways than slices can be tilted.
    """
    columns = affine[:3, :3]
    norms = np.linalg.norm(columns, axis=0)
    cosines = np.abs((columns / norms).T @ (columns / norms)) - np.eye(3)
    if cosines.max() <= _SQUARE:
        return None
    # the axis across the planes is one whose other two are perpendicular
    others = {0: (1, 2), 1: (0, 2), 2: (0, 1)}
    possible = [axis for axis in range(3) if cosines[others[axis]] <= _SQUARE]
    axis = slices if slices in possible else max(possible, key=lambda k: norms[k], default=0)
    one, two = along = others[axis]
    steps = np.array([columns[:, axis] @ columns[:, k] / norms[k] ** 2 for k in along])
    normal = columns[:, axis] - steps[0] * columns[:, one] - steps[1] * columns[:, two]
    degrees = math.degrees(math.acos(min(1.0, float(np.linalg.norm(normal) / norms[axis]))))
    if not possible or degrees > _STEEPEST:
        raise UserError(
            f"{where}: its axes are not perpendicular, in a way that no tilted gantry leaves; "
            "resample it onto a straight grid first"
        )
    if np.abs(steps).max() * (shape[axis] - 1) < _ROUNDED:
        return None
    base = np.maximum(0.0, -steps * (shape[axis] - 1))
    shifts = steps * np.arange(shape[axis])[:, None] + base
    straight = list(shape)
    for k, extra in zip(along, shifts.max(axis=0), strict=True):
        straight[k] += math.ceil(extra - 1e-6)
    new = affine.copy()
    new[:3, axis] = normal
    new[:3, 3] -= base[0] * columns[:, one] + base[1] * columns[:, two]
    return Tilt(axis, along, shifts, tuple(shape), tuple(straight), new, affine, degrees)


def _within(places: NDArray[Any], size: int) -> NDArray[np.intp]:
    return np.flatnonzero((places >= -0.5) & (places <= size - 0.5))


def _sample(plane: NDArray[Any], places: NDArray[Any], axis: int) -> NDArray[Any]:
    """Interpolate linearly along an axis; beyond its ends it stays level."""
    low = np.floor(places)
    share = (places - low).astype(np.float32)
    last = plane.shape[axis] - 1
    first, second = (np.take(plane, (low + k).clip(0, last).astype(int), axis=axis) for k in (0, 1))
    if not share.any():
        return first
    weight = share[:, None] if axis == -2 else share
    return first * (1 - weight) + second * weight
