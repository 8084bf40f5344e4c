"""Scans of every format, read into one canonical orientation (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.images import itk
from mots_pretrained.images.nifti import cast_exactly, header_of, read_nifti, read_nifti_grid
from mots_pretrained.images.scan_files import kind_of, stem
from mots_pretrained.images.volume import SAME_GRID, Volume, canonical, spacing_of, straightened

WIDEST = 1 << 16
"""Span of label values beyond which a table of them costs more than sorting."""


def read_volume(
    path: str | os.PathLike[str],
    *,
    dtype: DTypeLike | None = None,
    digest: Any = None,
    series: Any = None,
) -> Volume:
    """Read a scan and bring it to canonical orientation, without resampling.

    Oblique scans keep their grid: each axis is named after the anatomical one closest to it. Only
    slices that are sheared against each other, as by a tilted gantry, are shifted onto a straight
    grid, and DICOM slices at uneven distances are brought to an even one, each with a warning;
    `write_like` shifts a label map back.

    Args:
        path: A NIfTI (``.nii``, ``.nii.gz``), NRRD (``.nrrd``, ``.nhdr``) or MetaImage (``.mha``,
            ``.mhd``) file, 3D or with channels; or a DICOM series: its folder, a zip of it, or a
            file that holds all of it.
        dtype: Wanted type. By default the stored one, or float32 where the file scales its values
            or stores more than 32 bits of a float. An integer type is a label map's: every value
            must be whole and fit.
        digest: A hash of ``hashlib`` that is fed all of the files' bytes as they are read.
        series: Which DICOM series, where there are several: its UID, number or description, or a
            `images.dicom.Series` found before.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no volume, or empty, truncated, 2D, RGB, or has an impossible spacing
            or affine, or NaN or infinite voxels; if several DICOM series could be meant.

    Example:
        >>> volume = read_volume("ct.nii.gz")  # doctest: +SKIP
        >>> volume.array.shape  # (D, H, W)  # doctest: +SKIP
        (112, 101, 122)
    """
    path = Path(path)
    if series is None and kind_of(path) in ("NIfTI", "ITK"):
        volume = _read_file(path, digest)
    else:
        volume = _read_dicom(path, series, digest)
    if dtype is not None:
        volume = dataclasses.replace(volume, array=cast_exactly(volume.array, dtype, path))
    return straightened(volume, labels=dtype is not None and np.dtype(dtype).kind in "iu")


def _read_file(path: Path, digest: Any) -> Volume:
    if kind_of(path) == "NIfTI":
        array, affine, header = read_nifti(path, digest=digest)
    else:
        array, affine = itk.read_itk(path, digest=digest)
        header = header_of(array, affine)
    return canonical(array, affine, header=header, name=stem(path))


def _read_dicom(path: Path, series: Any, digest: Any) -> Volume:
    from mots_pretrained.images.dicom import choose_series
    from mots_pretrained.images.dicom_volume import read_series

    chosen = choose_series(path, series) if series is None or isinstance(series, str) else series
    array, affine, chosen = read_series(chosen)
    if digest is not None:
        digest.update(np.ascontiguousarray(array.T).data)
    own = affine.copy()  # of the slices themselves, which may be fewer than the even planes
    own[:3, 2] *= (array.shape[2] - 1) / (len(chosen.slices) - 1)
    shape = (*array.shape[:2], len(chosen.slices))
    header = header_of(np.broadcast_to(array.dtype.type(0), shape), own)
    volume = canonical(array, affine, header=header, name=stem(path))
    return dataclasses.replace(volume, series=chosen)


def read_grid(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Read a file's shape, in its own axis order, and its affine, from the headers alone.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header is no volume's.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == "DICOM":
        from mots_pretrained.images.dicom import choose_series
        from mots_pretrained.images.dicom_volume import series_grid

        grid = series_grid(choose_series(path))
        grid.warn_of_doubles()
        return grid.shape, grid.affine
    return itk.read_itk_grid(path) if kind == "ITK" else read_nifti_grid(path)


def read_labels(path: str | os.PathLike[str], *, digest: Any = None) -> Volume:
    """Read a label map as 32-bit whole numbers; values a rounding away from one are taken as it.

    Args:
        path: As in `read_volume`, of one channel.
        digest: As in `read_volume`.

    Raises:
        MissingFileError: If there is no such file.
        UserError: As `read_volume` does, or if it has several channels or values between whole
            numbers.
    """
    volume = read_volume(path, dtype=np.int32, digest=digest)
    if volume.array.ndim != 3:
        raise UserError(f"{path} has {volume.channels} channels; a label map has one")
    return volume


def count_values(labels: NDArray[np.integer]) -> dict[int, int]:
    """Count the voxels of every value of a label map, slice by slice.

    Example:
        >>> count_values(np.array([[[0, 2]], [[2, -1]]]))
        {-1: 1, 0: 1, 2: 2}
    """
    low, high = int(labels.min()), int(labels.max())
    if high - low > WIDEST:
        found, counts = np.unique(labels, return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))
    total = np.zeros(high - low + 1, np.int64)
    for plane in labels:
        total += np.bincount((plane.astype(np.intp) - low).ravel(), minlength=len(total))
    return {int(at) + low: int(total[at]) for at in np.flatnonzero(total)}


def read_spacing(path: str | os.PathLike[str]) -> tuple[float, float, float]:
    """Read from the header alone the millimetres between voxels along (D, H, W).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header is no volume's.
    """
    shape, affine = read_grid(path)
    return spacing_of(affine, shape[:3], name=str(path))


def read_channels(
    paths: Sequence[str | os.PathLike[str]], *, digest: Any = None, series: Any = None
) -> Volume:
    """Read one file a channel and stack them to ``(C, D, H, W)``.

    Args:
        paths: Files on one grid, in the model's order of channels; one file is read as it is.
        digest: As in `read_volume`; fed all the files, one after the other.
        series: As in `read_volume`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: As `read_volume` does, or if the files do not share one grid.
    """
    if not paths:
        raise UserError("no scan given; give one file, or one file a channel")
    volumes = [read_volume(path, digest=digest, series=series) for path in paths]
    first = volumes[0]
    if len(volumes) == 1:
        return first
    for volume, path in zip(volumes, paths, strict=True):
        if volume.array.ndim != 3:
            raise UserError(f"{path}: has {volume.channels} channels; one file a channel wants 1")
        if volume.apart(first) > SAME_GRID:
            raise UserError(
                f"{path}: its grid {_grid(volume)} is not that of {paths[0]}, {_grid(first)}; "
                "resample the channels to one grid first"
            )
    array = np.stack([volume.array for volume in volumes])
    return dataclasses.replace(first, array=array)


def _grid(volume: Volume) -> str:
    spacing = " x ".join(f"{step:.3g}" for step in volume.spacing)
    origin = ", ".join(f"{x:.1f}" for x in volume.affine[:3, 3])
    return f"({'x'.join(map(str, volume.shape))} at {spacing} mm from {origin})"
