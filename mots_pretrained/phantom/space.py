"""The scan's voxel grid and where each of its voxels lies in the patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Points = tuple[Floats, Floats, Floats]
Box = tuple[slice, slice, slice]

# The patient in millimetres around the first lumbar vertebra: (z up, y back, x left).
EXTENT_LOW = np.array([-460.0, -330.0, -340.0])
EXTENT_HIGH = np.array([360.0, 230.0, 340.0])
_TABLE_STEP = 30.0


def columns(points: NDArray[np.floating]) -> Points:
    """``(n, 3)`` points as the three coordinates that a distance takes."""
    z, y, x = np.asarray(points, dtype=np.float32).T
    return z, y, x


def spline_basis(u: NDArray[np.float64], count: int) -> Floats:
    """Cubic B-spline weights of ``count`` control values at fractional positions ``u``."""
    cell = np.clip(np.floor(u).astype(int), 0, count - 4)
    t = np.clip(u - cell, 0.0, 1.0)
    weights = np.stack(
        [
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        ],
        axis=1,
    )
    basis = np.zeros((len(u), count), dtype=np.float32)
    np.put_along_axis(basis, cell[:, None] + np.arange(4), weights.astype(np.float32), axis=1)
    return basis


class Lattice:
    """A smooth random field of unit variance, the same in space whatever grid looks at it."""

    def __init__(self, rng: np.random.Generator, step: float) -> None:
        count = np.ceil((EXTENT_HIGH - EXTENT_LOW) / step).astype(int) + 4
        self.step = step
        # B-splines average their control values; 0.479 is the mean squared weight an axis.
        scale = 0.479**-1.5
        self.control = (rng.standard_normal(tuple(count), dtype=np.float32) * scale).astype(
            np.float32
        )

    def on_axes(self, axes: Sequence[NDArray]) -> Floats:
        """Evaluate on the grid spanned by three axes in millimetres."""
        field = self.control
        for k in (0, 1, 2):
            basis = spline_basis((axes[k] - EXTENT_LOW[k]) / self.step, self.control.shape[k])
            used = np.flatnonzero(basis.any(axis=0))
            trim = slice(used[0], used[-1] + 1)
            if k == 0:
                field = np.tensordot(basis[:, trim], field[trim], axes=1)
            elif k == 1:
                field = np.matmul(basis[:, trim], field[:, trim])
            else:
                field = np.matmul(field[:, :, trim], np.ascontiguousarray(basis[:, trim].T))
        return field


def _trilinear(table: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Trilinear look-up in a ``(n, n, n, 3)`` table at ``(m, 3)`` fractional indices.

    Outside the table the outermost cells go on straight.
    """
    cell = np.minimum(np.maximum(at.astype(int), 0), np.array(table.shape[:3]) - 2)
    t = (at - cell)[:, :, None]
    i, j, k = cell.T
    row = table[i, j, k] * (1 - t[:, 2]) + table[i, j, k + 1] * t[:, 2]
    back = table[i, j + 1, k] * (1 - t[:, 2]) + table[i, j + 1, k + 1] * t[:, 2]
    low = row * (1 - t[:, 1]) + back * t[:, 1]
    i = i + 1
    row = table[i, j, k] * (1 - t[:, 2]) + table[i, j, k + 1] * t[:, 2]
    back = table[i, j + 1, k] * (1 - t[:, 2]) + table[i, j + 1, k + 1] * t[:, 2]
    high = row * (1 - t[:, 1]) + back * t[:, 1]
    return low * (1 - t[:, 0]) + high * t[:, 0]


class Pose:
    """From the scanner's millimetres to the patient's: size, tilt and a smooth bend."""

    def __init__(
        self,
        matrix: NDArray[np.float64],
        bend: tuple[Lattice, Lattice, Lattice],
        strength: tuple[float, float, float],
    ) -> None:
        self.matrix = matrix
        self.inverse = np.linalg.inv(matrix)
        self.bend = bend
        self.strength = strength
        self._tabulate()

    def to_patient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Patient coordinates of ``(n, 3)`` scanner points, the bend from its table."""
        return points @ self.matrix.T + _trilinear(self._bends, (points - EXTENT_LOW) / _TABLE_STEP)

    def to_scanner(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scanner coordinates of ``(n, 3)`` patient points, from the table of the way back."""
        return _trilinear(self._back, (points - EXTENT_LOW) / _TABLE_STEP)

    def _tabulate(self) -> None:
        """The bend and the way back at the nodes of a coarse lattice."""
        counts = np.ceil((EXTENT_HIGH - EXTENT_LOW) / _TABLE_STEP).astype(int) + 1
        axes = [EXTENT_LOW[k] + _TABLE_STEP * np.arange(counts[k]) for k in range(3)]
        bends = [s * b.on_axes(axes) for s, b in zip(self.strength, self.bend, strict=True)]
        self._bends = np.stack(bends, axis=-1).astype(float)
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        guess = points @ self.inverse.T
        for _ in range(4):  # fixed-point iteration
            guess = guess + (points - self.to_patient(guess)) @ self.inverse.T
        self._back = guess.reshape(*counts, 3)


class Grid:
    """A voxel grid laid into a patient.

    Attributes:
        z, y, x: ``(D, H, W)`` patient coordinates of every voxel's centre, in millimetres.
        voxel_size: Mean edge of a voxel in the patient's millimetres.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing: tuple[float, float, float],
        centre: NDArray[np.float64],
        pose: Pose,
    ) -> None:
        self.shape, self.pose = shape, pose
        self.spacing = np.asarray(spacing, dtype=np.float64)
        self.origin = centre - (np.asarray(shape) - 1) / 2 * self.spacing
        self.axes = [self.origin[k] + np.arange(shape[k]) * self.spacing[k] for k in range(3)]
        flat = [axis.astype(np.float32) for axis in self.axes]
        coordinates = []
        for k in range(3):
            row = pose.matrix[k].astype(np.float32)
            field = pose.bend[k].on_axes(self.axes)
            field *= np.float32(pose.strength[k])
            field += (row[0] * flat[0])[:, None, None] + (row[1] * flat[1])[:, None]
            field += row[2] * flat[2]
            coordinates.append(field)
        self.z, self.y, self.x = coordinates
        scale = np.cbrt(abs(np.linalg.det(pose.matrix)))
        self.voxel_size = float(np.cbrt(np.prod(self.spacing)) * scale)

    def points(self, box: Box) -> Points:
        """Patient coordinates within a box of voxels."""
        return self.z[box], self.y[box], self.x[box]

    def voxels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractional voxel indices of ``(n, 3)`` patient points."""
        return (self.pose.to_scanner(points) - self.origin) / self.spacing

    def boxes(self, low: NDArray, high: NDArray, margin: NDArray) -> list[Box | None]:
        """Boxes of voxels from ``(n, 3)`` low to high indices, or None where outside the grid."""
        start = np.maximum(np.floor(low - margin).astype(int), 0)
        stop = np.minimum(np.ceil(high + margin).astype(int) + 1, self.shape)
        inside = (stop > start).all(axis=1)
        return [
            (slice(*a), slice(*b), slice(*c)) if ok else None
            for ok, (a, b, c) in zip(inside, np.stack([start, stop], axis=2).tolist(), strict=True)
        ]

    def box(self, low: NDArray, high: NDArray, margin: float = 0.0) -> Box | None:
        """The box of voxels that a box in patient coordinates can touch."""
        ends = np.stack([np.asarray(low, float) - margin, np.asarray(high, float) + margin])
        ticks = np.stack([ends[0], ends.mean(axis=0), ends[1]])
        corners = np.stack(np.meshgrid(*ticks.T, indexing="ij"), axis=-1).reshape(-1, 3)
        indices = self.voxels(corners)
        reach = 4.0 / self.spacing
        return self.boxes(indices.min(0)[None], indices.max(0)[None], reach)[0]
