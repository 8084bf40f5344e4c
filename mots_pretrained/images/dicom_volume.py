"""The voxels of a DICOM series, its affine, and the slices that they lie on (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UserError, printable
from mots_pretrained.images.dicom import Series, places_of, without_doubles
from mots_pretrained.images.dicom_files import Slice
from mots_pretrained.images.dicom_pixels import read_pixels
from mots_pretrained.images.uneven import even_planes

_STRAY = 0.5  # voxels by which a slice may lie beside the line through the others
_LARGEST = 1 << 31  # voxels


@dataclass(frozen=True, eq=False)
class SeriesGrid:
    """Where a series' voxels lie, by the headers alone.

    Attributes:
        name: What to call the series.
        series: The series without its duplicated images, with the even grid of uneven ones.
        doubles: The duplicated images, each with the number of the one that it repeats.
        affine: From voxels to world millimetres (RAS+).
    """

    name: str
    series: Series
    doubles: tuple[tuple[int, Slice], ...]
    affine: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and planes."""
        rows, columns = self.series.slices[0].size
        planes = self.series.planes
        return columns, rows, len(self.series.slices) if planes is None else planes.count

    def warn_of_doubles(self) -> None:
        """Warn if images are left out."""
        if self.doubles:
            told = f"{self.name}: {len(self.doubles)} duplicated images are left out"
            warnings.warn(told, stacklevel=3)


def read_series(series: Series) -> tuple[NDArray[Any], NDArray[np.float64], Series]:
    """Read a series' voxels.

    Returns:
        The voxels ``(columns, rows, planes)``, the affine to world millimetres (RAS+), and the
        series without its duplicated images and with the even grid that they were brought to.

    Raises:
        UserError: As ``series_grid`` does, or if an image can't be read or two images of one place
            differ.

    Warns:
        UserWarning: If images are duplicated or uneven.
    """
    grid = series_grid(series)
    slices, planes = grid.series.slices, grid.series.planes
    stack = _stack(slices)
    for (kept, double), pixels in zip(
        grid.doubles, read_pixels([double for _, double in grid.doubles]), strict=True
    ):
        if not np.array_equal(stack[kept], pixels.astype(stack.dtype)):
            raise UserError(
                f"{grid.name}: two different images lie at one place ({slices[kept].place} and "
                f"{double.place}); keep one of each"
            )
    grid.warn_of_doubles()
    if planes is not None:
        stack = planes.fill(stack)
    return stack.T, grid.affine, grid.series


def series_grid(series: Series) -> SeriesGrid:
    """Find where a series' voxels lie; no pixel is read.

    Raises:
        UserError: If a header is damaged, a gap is too wide, or the images are no straight stack.

    Warns:
        UserWarning: If images are uneven, or others of the series lie elsewhere.
    """
    name = f"{series.folder} ({printable(series.label)})" if series.label else str(series.folder)
    slices, doubles = without_doubles(series.slices)
    if series.strays:
        warnings.warn(
            f"{name}: {series.strays} images of another size, direction or study are left out",
            stacklevel=3,
        )
    if len(slices) < 2:
        raise UserError(f"{name} is a single image; a volume of at least two slices is needed")
    row, column, spacing = _axes(slices[0], name)
    _check_rescaling(slices, name)
    _check_straight(slices, min(spacing), name)
    own = dataclasses.replace(series, slices=slices, planes=even_planes(places_of(slices), name))
    grid = SeriesGrid(name, own, tuple(doubles), np.eye(4))
    if math.prod(grid.shape) > _LARGEST:
        raise UserError(f"{name} claims {grid.shape[2]} planes of {slices[0].size}: too large")
    first, last = (np.array(one.position) for one in (slices[0], slices[-1]))
    affine = grid.affine
    affine[:3, 0], affine[:3, 1] = row * spacing[1], column * spacing[0]
    affine[:3, 2] = (last - first) / (grid.shape[2] - 1)
    affine[:3, 3] = first
    affine[:2] *= -1  # from the patient's left and back, as DICOM counts, to right and front
    return grid


def _stack(slices: Sequence[Slice]) -> NDArray[Any]:
    """Read ``(planes, rows, columns)``: 16-bit where that suffices, float32 where need be."""
    scaled = any(s.slope != 1 or not s.intercept.is_integer() for s in slices)
    stack = np.empty((len(slices), *slices[0].size), np.float32 if scaled else np.int16)
    for index, pixels in enumerate(read_pixels(slices)):
        if stack.dtype == np.int16:
            if pixels.dtype.kind == "f":
                stack = stack.astype(np.float32)
            elif pixels.min() < -32768 or pixels.max() > 32767:
                stack = stack.astype(np.int32)
        stack[index] = pixels
    return stack


def _axes(one: Slice, name: str) -> tuple[NDArray[Any], NDArray[Any], tuple[float, ...]]:
    row, column = np.array(one.orientation[:3]), np.array(one.orientation[3:])
    norms = np.linalg.norm(row), np.linalg.norm(column)
    sound = np.allclose(norms, 1, atol=1e-2) and abs(float(row @ column)) < 1e-2
    if not sound or not np.isfinite(one.position).all():
        raise UserError(f"{name}: its images' orientation is damaged {one.orientation}; correct it")
    if not all(math.isfinite(step) and step > 0 for step in one.spacing):
        raise UserError(f"{name}: pixel spacing {one.spacing} mm must be above zero; correct it")
    return row / norms[0], column / norms[1], one.spacing


def _check_rescaling(slices: Sequence[Slice], name: str) -> None:
    """Refuse values that can't be brought to one scale."""
    silent = [one for one in slices if one.rescale is None]
    if silent and len(silent) < len(slices):
        raise UserError(
            f"{name}: {len(silent)} of its {len(slices)} images, such as {silent[0].place}, do not "
            "say how their values are rescaled, unlike the others; correct them"
        )
    for one in slices:
        if one.slope == 0 or not math.isfinite(one.slope) or not math.isfinite(one.intercept):
            raise UserError(f"{name}: rescaling by {one.rescale} makes no CT numbers; correct it")


def _check_straight(slices: Sequence[Slice], spacing: float, name: str) -> None:
    """Refuse images that lie beside the line through the first and the last."""
    positions, along = np.array([one.position for one in slices]), places_of(slices)
    share = ((along - along[0]) / (along[-1] - along[0]))[:, None]
    line = positions[0] + share * (positions[-1] - positions[0])
    apart = np.linalg.norm(positions - line, axis=1)
    worst = int(apart.argmax())
    if apart[worst] > _STRAY * spacing:
        raise UserError(
            f"{name}: its images are no straight stack: {slices[worst].place} lies "
            f"{apart[worst]:.3g} mm beside the line of the others"
        )
