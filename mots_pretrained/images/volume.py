"""Volumes in one canonical orientation, and the way back to their files' own grids (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
import itertools
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.images.nifti import (
    cast_exactly,
    header_of,
    save_nifti,
)
from mots_pretrained.images.nifti_header import check_affine
from mots_pretrained.images.tilt import Tilt, find_tilt

AXES = ("S", "P", "L")
"""What depth, height and width run towards (nibabel's axis codes): head, back, patient's left."""


SAME_GRID = 0.1
"""Voxels by which the corners of one grid may differ in two files: headers round."""


_TRIFLE = 2e-4  # radians about the world's first axis, twice and three times that about the others


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan or label map in canonical orientation, with the way back to its file's own grid.

    Attributes:
        array: ``(D, H, W)`` or ``(C, D, H, W)``; depth runs from feet to head, height from front
            to back, width from the patient's right to left.
        affine: ``(4, 4)``, maps the canonical voxel ``(d, h, w)`` to world millimetres (RAS+).
            Voxel centres lie on whole numbers.
        header: NIfTI header of the file (nibabel's), or None for a volume made in memory.
        orientation: nibabel's ``(3, 2)`` orientation of the file's axes, or None as above.
        name: What to call the volume in messages and pictures: the file's name without suffix.
        tilt: How the file's grid is sheared, where the array was brought onto a straight one.
        series: The DICOM series (`images.dicom.Series`) that it was read from, or None.

    Raises:
        UserError: If the array has another number of axes, the affine is none, or its axes are not
            nearest to the canonical ones; `canonical` brings an array of other axes to them.

    Example:
        >>> volume = Volume.with_spacing(np.zeros((4, 5, 6), np.int16), (3.0, 2.0, 1.0))
        >>> volume.spacing
        (3.0, 2.0, 1.0)
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    header: Any = None
    orientation: NDArray[np.float64] | None = None
    name: str = "volume"
    tilt: Tilt | None = None
    series: Any = None

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4):
            raise UserError(
                f"a volume is (D, H, W) or (C, D, H, W), not an array of shape {self.array.shape}"
            )
        check_affine(np.asarray(self.affine), self.name)
        if self.orientation is None and self.tilt is None:
            _check_axes(self.affine, self.name)

    @classmethod
    def with_spacing(
        cls, array: NDArray[Any], spacing: Sequence[float], *, name: str = "volume"
    ) -> Volume:
        """Make a volume of a canonical array; ``spacing`` in mm along (D, H, W)."""
        return cls(array, affine_of(spacing), name=name)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (D, H, W)."""
        depth, height, width = self.array.shape[-3:]
        return depth, height, width

    @property
    def channels(self) -> int:
        """Number of channels; 1 for a ``(D, H, W)`` array."""
        return self.array.shape[0] if self.array.ndim == 4 else 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxel centres along (D, H, W): the norms of the affine's columns."""
        depth, height, width = (float(x) for x in np.linalg.norm(self.affine[:3, :3], axis=0))
        return depth, height, width

    def apart(self, other: Volume) -> float:
        """Say how far another volume's grid lies from this one's, in voxels of the smaller spacing.

        Returns:
            The largest distance between two corners; infinite where the shapes differ. Up to
            ``SAME_GRID`` is one grid whose headers were rounded.
        """
        if self.shape != other.shape:
            return float("inf")
        corners = np.array(list(itertools.product(*((0, n) for n in self.shape), (1,))))
        off = np.linalg.norm((corners @ (self.affine - other.affine).T)[:, :3], axis=1).max()
        return float(off / min(*self.spacing, *other.spacing))

    def restore(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring a canonical array to the grid and axis order of the file of this volume.

        Args:
            array: ``(D, H, W)`` or ``(C, D, H, W)`` on this volume's grid.

        Returns:
            The same values as ``(X, Y, Z)`` or ``(X, Y, Z, C)``; a view unless the file's grid is
            sheared, where each slice moves by whole voxels, or its slices are uneven, which get
            what lies nearest.

        Raises:
            ValueError: If the array is not on this volume's grid.
        """
        import nibabel as nib

        if array.ndim not in (3, 4) or array.shape[-3:] != self.shape:
            raise UserError(f"{self.name}: got {array.shape}, the scan's grid is {self.shape}")
        transform = nib.orientations.ornt_transform(_canonical(), self._file_orientation())
        if self.tilt is not None:
            array = self.tilt.back(array)
        moved = np.moveaxis(array, 0, -1) if array.ndim == 4 else array
        result = nib.orientations.apply_orientation(moved, transform)
        if self.series is not None and self.series.planes is not None:
            return self.series.planes.back(result, axis=2)
        return result

    @property
    def file_affine(self) -> NDArray[np.float64]:
        """``(4, 4)``, maps a voxel (x, y, z) of the grid that `restore` leads to to mm (RAS+)."""
        import nibabel as nib

        if self.header is not None:
            return np.asarray(self.header.get_best_affine(), dtype=np.float64)
        transform = nib.orientations.ornt_transform(self._file_orientation(), _canonical())
        shape = self.restore(np.broadcast_to(np.uint8(0), self.shape)).shape
        affine = self.affine if self.tilt is None else self.tilt.sheared_affine
        return affine @ np.linalg.inv(nib.orientations.inv_ornt_aff(transform, shape))

    def _file_orientation(self) -> NDArray[np.float64]:
        """Orientation of the file; a volume from memory is stored with the width first (LPS)."""
        import nibabel as nib

        if self.orientation is not None:
            return self.orientation
        return nib.orientations.axcodes2ornt(AXES[::-1])


def affine_of(spacing: Sequence[float]) -> NDArray[np.float64]:
    """Affine of a canonical array with the given mm along (D, H, W) and its origin at voxel 0."""
    depth, height, width = (float(step) for step in spacing)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = depth, -height, -width, 1.0
    return affine


def canonical(
    array: NDArray[Any], affine: NDArray[np.float64], *, header: Any = None, name: str = "volume"
) -> Volume:
    """Bring an array from a file's axis order to canonical orientation.

    Args:
        array: ``(X, Y, Z)`` or ``(X, Y, Z, C)``.
        affine: ``(4, 4)``, maps ``(x, y, z)`` to world millimetres (RAS+).
        header: NIfTI header of the file, if there is one.
        name: What to call the volume.
    """
    import nibabel as nib

    orientation = _orientation(affine)
    transform = nib.orientations.ornt_transform(orientation, _canonical())
    affine = affine @ nib.orientations.inv_ornt_aff(transform, array.shape[:3])
    array = nib.orientations.apply_orientation(array, transform)
    if array.ndim == 4:
        array = np.moveaxis(array, -1, 0)
    return Volume(np.ascontiguousarray(array), affine, header, orientation, name)


def straightened(volume: Volume, *, labels: bool = False) -> Volume:
    """Return a volume on a straight grid: itself, unless its axes are not perpendicular.

    Args:
        volume: A scan or label map.
        labels: Shift slices by whole voxels instead of interpolating.

    Raises:
        UserError: If it is sheared otherwise than by tilted slices.

    Warns:
        UserWarning: If it was sheared.
    """
    tilt = find_tilt(volume.affine, volume.shape, _slices(volume.orientation), volume.name)
    if tilt is None:
        return volume
    step = float(np.linalg.norm(tilt.affine[:3, tilt.axis]))
    warnings.warn(
        f"{volume.name}: its slices are tilted by {tilt.degrees:.1f} degrees, {step:.3f} mm apart "
        f"({volume.spacing[tilt.axis]:.3f} mm between voxels); read on a straight grid, results "
        "are written on the scan's own",
        stacklevel=3,
    )
    array = tilt.straighten(volume.array, labels=labels)
    return dataclasses.replace(volume, array=array, affine=tilt.affine, tilt=tilt)


def spacing_of(
    affine: NDArray[np.float64], shape: Sequence[int], *, name: str = "volume"
) -> tuple[float, float, float]:
    """Return the millimetres along (D, H, W) at which a file's grid is read.

    Args:
        affine: ``(4, 4)``, maps a voxel in the file's axis order to world millimetres.
        shape: Voxels along the file's three axes.
        name: What to call the volume.

    Raises:
        UserError: As `straightened` does.
    """
    import nibabel as nib

    orientation = _orientation(affine)
    transform = nib.orientations.ornt_transform(orientation, _canonical())
    affine = affine @ nib.orientations.inv_ornt_aff(transform, shape)
    depth_first = tuple(int(shape[axis]) for axis in np.argsort(transform[:, 0]))
    tilt = find_tilt(affine, depth_first, _slices(orientation), name)
    steps = np.linalg.norm((affine if tilt is None else tilt.affine)[:3, :3], axis=0)
    depth, height, width = (float(step) for step in steps)
    return depth, height, width


def _orientation(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return nibabel's orientation of a file's axes; one at 45 degrees is named alike in all files.

    It is found of a grid that is turned by a trifle, so that rounding does not decide.
    """
    import nibabel as nib

    turned = np.eye(4)
    turned[:3, :3] += _TRIFLE * np.array([[0, -3, 2], [3, 0, -1], [-2, 1, 0]])
    return nib.orientations.io_orientation(turned @ affine)


def _check_axes(affine: NDArray[np.float64], name: str) -> None:
    """Refuse the affine of an array that is not in canonical order, such as nibabel's own."""
    import nibabel as nib

    orientation = _orientation(affine)
    if not np.array_equal(orientation, _canonical()):
        axes = "".join(nib.orientations.ornt2axcodes(orientation))
        raise UserError(
            f"{name}: its affine says that its axes run towards {axes}, where (D, H, W) run "
            f"towards {''.join(AXES)}; make it by images.volume.canonical(array, affine)"
        )


def _slices(orientation: NDArray[np.float64] | None) -> int:
    """Axis of (D, H, W) that is the last in the file, along which slices are stacked."""
    if orientation is None:
        return 0
    return {2: 0, 1: 1, 0: 2}[int(orientation[2, 0])]


def write_like(
    path: str | os.PathLike[str],
    array: NDArray[Any],
    like: Volume,
    *,
    dtype: DTypeLike = np.uint8,
    extension: bytes | None = None,
) -> None:
    """Write a canonical array on the grid of the file that ``like`` was read from.

    Shape, affine, both form codes, spacing and units are the input's. The file appears whole or
    not at all.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file to write or replace; its folder must exist.
        array: ``(D, H, W)`` or ``(C, D, H, W)`` on the grid of ``like``.
        like: The scan that the array belongs to.
        dtype: Type to store; every value must fit.
        extension: Content of a header extension, as `label_names.nifti_extension` makes it.

    Raises:
        ValueError: If the array is on another grid, or its values do not fit the type.
    """
    import nibabel as nib

    stored = like.restore(cast_exactly(array, dtype, path))
    header = header_of(stored, like.file_affine) if like.header is None else like.header.copy()
    header.set_data_dtype(stored.dtype)
    header.set_slope_inter(1, 0)
    header.set_intent("none")
    header["vox_offset"] = 0  # the scan's may leave room for extensions, which are not copied
    header["cal_min"] = header["cal_max"] = 0  # the display range was the scan's
    if extension is not None:
        header.extensions.append(nib.nifti1.Nifti1Extension(0, extension))
    save_nifti(path, stored, header)


def _canonical() -> NDArray[np.float64]:
    import nibabel as nib

    return nib.orientations.axcodes2ornt(AXES)
