"""Slices at uneven distances: onto an even grid, and results back onto the slices (Sec. 4.1)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UserError

_ROUNDED = 0.1, 0.04  # mm, and share of the distance, by which headers round a position
_WIDEST = 2.05, 6.0  # a gap may be twice the usual distance (one slice missing), or so many mm
_TURNS = 2.05, 0.5  # ratio of neighbouring gaps, and the share of them that no stack has
_FEW = 6  # gaps that tell nothing
_SNAP = 0.02  # planes; a slice that is this near to a plane of the even grid is that plane


@dataclass(frozen=True, eq=False)
class EvenPlanes:
    """The even grid that holds unevenly placed slices.

    Attributes:
        count: Planes of the even grid; its first and last are the first and last slice.
        places: Where each slice lies among them, in planes.
    """

    count: int
    places: NDArray[np.float64]

    def fill(self, slices: NDArray[Any]) -> NDArray[Any]:
        """Bring ``(slices, ...)`` onto the even grid, interpolating linearly between slices."""
        at = np.interp(np.arange(self.count), self.places, np.arange(len(self.places)))
        near = np.abs(at - np.rint(at)) < _SNAP
        at[near] = np.rint(at[near])
        planes = np.empty((self.count, *slices.shape[1:]), slices.dtype)
        for plane, place in zip(planes, at, strict=True):
            low = int(place)
            share = np.float32(place - low)
            if share == 0:
                plane[:] = slices[low]
                continue
            mixed = slices[low] * (1 - share) + slices[low + 1] * share
            plane[:] = np.rint(mixed) if slices.dtype.kind in "iu" else mixed
        return planes

    def back(self, planes: NDArray[Any], *, axis: int) -> NDArray[Any]:
        """Take from the planes along an axis what lies nearest to each slice."""
        return np.take(planes, np.rint(self.places).astype(int), axis=axis)


def _take_turns(gaps: NDArray[np.float64]) -> bool:
    """Whether narrow and wide gaps take turns, as where two stacks were laid over each other."""
    low, high = np.minimum(gaps[1:], gaps[:-1]), np.maximum(gaps[1:], gaps[:-1])
    return len(gaps) >= _FEW and bool(np.mean(high > _TURNS[0] * low) > _TURNS[1])


def even_planes(positions: NDArray[np.float64], name: str) -> EvenPlanes | None:
    """Find the even grid of slices, or None where they are even up to rounding.

    Args:
        positions: Millimetres of each slice along the stack, rising.
        name: What to call the series.

    Raises:
        UserError: If a gap is too wide to be filled, or the slices are of two stacks.

    Warns:
        UserWarning: If the slices are uneven.
    """
    gaps = np.diff(positions)
    last = len(gaps)
    even = np.linspace(positions[0], positions[-1], len(positions))
    mean = float(gaps.mean())
    if np.abs(positions - even).max() <= max(_ROUNDED[0], _ROUNDED[1] * mean) and (
        gaps.max() <= 1.5 * mean
    ):
        return None
    usual = float(np.median(gaps))
    widest = int(gaps.argmax())
    if gaps[widest] > max(_WIDEST[0] * usual, _WIDEST[1]):
        raise UserError(
            f"{name}: slices are missing: {gaps[widest]:.4g} mm lie between slices {widest + 1} "
            f"and {widest + 2} of {last + 1}, elsewhere {usual:.4g} mm; export the whole series"
        )
    if _take_turns(gaps):
        raise UserError(
            f"{name}: its slices lie {gaps.min():.4g} and {gaps.max():.4g} mm apart by turns, as "
            "of two series in one; part them"
        )
    length = float(positions[-1] - positions[0])
    count = round(length / usual) + 1
    warnings.warn(
        f"{name}: its {last + 1} slices are {gaps.min():.4g} to {gaps.max():.4g} mm apart, mostly "
        f"{usual:.4g}; read on an even grid of {count} planes {length / (count - 1):.4g} mm apart, "
        f"results are written on the slices (by NIfTI and NRRD as {mean:.4g} mm apart)",
        stacklevel=3,
    )
    return EvenPlanes(count, (positions - positions[0]) / length * (count - 1))
