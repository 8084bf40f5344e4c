"""NIfTI files, read strictly: whatever is wrong with one is said in one plain line (Sec. 4.1)."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.files import replacing_by_name
from mots_pretrained.images.nifti_header import (
    SUFFIXES,
    check_affine,
    file_affine,
    read_header,
    reading,
    unpacked,
)

_ROUNDING = 1e-3  # by which a label stored with a scale, or as a float, may miss its whole number
_GZIP_LIMIT = 1032  # deflate cannot compress better than this: a bound on what a file can hold
_LARGEST = 1 << 31  # voxels; far above any scan, far below what exhausts memory
_PIECE = 1 << 24  # bytes that are read at once
_BEHIND = 1 << 26  # bytes that may follow the voxels in a gzip stream


def read_nifti(path: Path, *, digest: Any = None) -> tuple[NDArray[Any], NDArray[np.float64], Any]:
    """Read a file in its own axis order; scaled values become float32, nothing float64.

    Args:
        path: The file.
        digest: A hash of ``hashlib`` that is fed all of the file's bytes as they are read.

    Returns:
        The voxels ``(X, Y, Z)`` or ``(X, Y, Z, C)``, the affine and the header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As `images.reading.read_volume` says.
    """
    header = read_header(path)
    affine = file_affine(header, path)
    array = _read_array(path, header, digest)
    check_finite(array, path)
    return array, affine, header


def read_nifti_grid(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Read from the header alone a file's shape, in its own axis order, and its affine.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header is no volume's.
    """
    header = read_header(path)
    return tuple(header.get_data_shape()), file_affine(header, path)


def save_nifti(path: str | os.PathLike[str], array: NDArray[Any], header: Any) -> None:
    """Write voxels in file order under a header; the file appears whole or not at all.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If the name ends in neither ``.nii`` nor ``.nii.gz``.
    """
    import nibabel as nib

    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise UserError(f"{path}: only NIfTI is written; give a name ending in .nii or .nii.gz")
    if not path.parent.is_dir():
        raise MissingFileError(f"no such folder: {path.parent}; make it first")
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    with replacing_by_name(path) as draft:
        kind(array, None, header).to_filename(draft)


def write_nifti(
    path: str | os.PathLike[str],
    array: NDArray[Any],
    affine: NDArray[Any],
    *,
    sform_code: int = 1,
    qform_code: int = 1,
    dtype: DTypeLike | None = None,
) -> None:
    """Write an array in its own axis order, with the affine and form codes given.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file to write or replace; its folder must exist.
        array: ``(X, Y, Z)`` or ``(X, Y, Z, C)``.
        affine: ``(4, 4)``, maps ``(x, y, z)`` to world millimetres (RAS+).
        sform_code: Code of the affine stored in full, 0 to leave it out.
        qform_code: Code of the affine stored as a rotation, 0 to leave it out.
        dtype: Type to store, by default the array's; every value must fit.

    Raises:
        ValueError: If the affine is impossible or the values do not fit the type.
    """
    affine = np.asarray(affine, dtype=np.float64)
    check_affine(affine, path)
    stored = array if dtype is None else cast_exactly(array, dtype, path)
    header = header_of(stored, affine, sform_code=sform_code, qform_code=qform_code)
    save_nifti(path, stored, header)


def header_of(
    array: NDArray[Any], affine: NDArray[np.float64], *, sform_code: int = 1, qform_code: int = 1
) -> Any:
    """Make the header of an array ``(X, Y, Z)`` or ``(X, Y, Z, C)`` with this affine, in mm.

    A rotation cannot hold shear, as a tilted gantry leaves it: there the qform has the third axis
    across the others, which is how ITK, who reads no sheared file otherwise, reads such a series.
    """
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    header.set_zooms((*steps, *[1.0] * (array.ndim - 3)))
    header.set_xyzt_units("mm")
    if qform_code:
        row, column, across = (affine[:3, :3] / steps).T
        normal = np.cross(row, column)
        rotation = affine.copy()
        if sform_code and abs(normal @ across) < 1 - 1e-6:
            rotation[:3, 2] = normal * np.sign(normal @ across) * steps[2]
        header.set_qform(rotation, qform_code)
    if sform_code:
        header.set_sform(affine, sform_code)
    return header


def cast_exactly(array: NDArray[Any], dtype: DTypeLike, where: object) -> NDArray[Any]:
    """Convert to a type; an integer type must hold every value. ``where`` names the array.

    Values a rounding away from whole numbers (1.0000153, say) are taken as those.

    Raises:
        UserError: If a value does not fit.
    """
    dtype = np.dtype(dtype)
    if array.dtype == dtype:
        return array
    if dtype.kind not in "iu":
        return array.astype(dtype)
    if array.dtype.kind == "f":
        array = np.stack([_whole(plane, where) for plane in array])
    limits = np.iinfo(dtype)
    low, high = array.min(), array.max()
    if low < limits.min or high > limits.max:
        raise UserError(f"{where}: values {low:g} to {high:g} do not fit {dtype}")
    return array.astype(dtype)


def _whole(plane: NDArray[Any], where: object) -> NDArray[Any]:
    whole = np.rint(plane)
    off = np.abs(plane - whole) > _ROUNDING
    if off.any():
        raise UserError(
            f"label values must be whole numbers; {where} holds {plane[off][0]:g}; round them and "
            "save as unsigned 8-bit"
        )
    return whole


def _read_array(path: Path, header: Any, digest: Any) -> NDArray[Any]:
    """Read voxels in file order, scaled, trailing axes of one voxel dropped; never in float64."""
    shape = header.get_data_shape()
    dtype = header.get_data_dtype().newbyteorder("=")
    start = max(int(header["vox_offset"]), header.sizeof_hdr + 4)  # some writers leave it at 0
    needed = math.prod(shape) * dtype.itemsize
    room = path.stat().st_size * (_GZIP_LIMIT if path.name.lower().endswith(".gz") else 1)
    truncated = f"{path} is truncated: its header promises {needed} bytes of voxels; fetch it again"
    if start + needed > room:
        raise UserError(truncated)
    buffer = _room_for(needed, math.prod(shape), path)
    with reading(path), path.open("rb") as raw:
        file = raw if digest is None else io.BufferedReader(_Hashed(raw, digest))
        with unpacked(path, file) as stream:
            _skip(stream, start)
            if _fill(stream, buffer) < needed:
                raise UserError(truncated)
            if stream is not file and _skip(stream, _BEHIND) == _BEHIND:  # its end has a checksum
                raise UserError(
                    f"{path} is damaged: over {_BEHIND >> 20} MB follow its voxels; fetch it again"
                )
            while digest is not None and file.read(1 << 20):
                pass
    stored = np.frombuffer(buffer, header.get_data_dtype()).reshape(shape, order="F")
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    slope, inter = header.get_slope_inter()
    with np.errstate(over="ignore"):  # what overflows is reported as infinite
        if slope in (None, 1.0) and inter in (None, 0.0):
            narrow = np.dtype(np.float32) if dtype.kind == "f" else dtype
            return stored.astype(narrow, copy=False)
        scaled = np.empty(stored.shape, np.float32, order="F")
        for index in range(stored.shape[-1]):
            scaled[..., index] = stored[..., index] * slope + inter
        return scaled


def _room_for(needed: int, voxels: int, path: Path) -> bytearray:
    """Return memory for a file's voxels, or refuse a file that is too large for the machine."""
    try:
        if voxels <= _LARGEST:
            return bytearray(needed)
    except MemoryError:
        pass
    raise UserError(
        f"{path} is too large: it unpacks to {needed / 1e9:.1f} GB by its header; crop it, or "
        "correct the header"
    )


def _skip(stream: IO[bytes], count: int) -> int:
    """Read and drop so many bytes, or those up to the end; returns their number."""
    done = 0
    while done < count and (got := stream.read(min(_PIECE, count - done))):
        done += len(got)
    return done


def _fill(stream: IO[bytes], buffer: bytearray) -> int:
    """Read into a buffer piecewise; returns the bytes got."""
    view, done = memoryview(buffer), 0
    while done < len(view):
        got = stream.readinto(view[done : done + _PIECE])  # type: ignore[attr-defined]
        if not got:
            break
        done += got
    return done


class _Hashed(io.RawIOBase):
    """A file whose bytes go into a hash as they are read, from the first to the last."""

    def __init__(self, file: IO[bytes], digest: Any) -> None:
        self.file, self.digest = file, digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got: int = self.file.readinto(buffer)  # type: ignore[attr-defined]
        self.digest.update(memoryview(buffer)[:got])
        return got


def check_finite(array: NDArray[Any], where: object) -> None:
    """Refuse NaN and infinite voxels; ``where`` names the scan.

    Raises:
        UserError: If there are any.
    """
    if array.dtype.kind != "f":
        return
    planes = array if array.flags.c_contiguous else array.T  # as files have them
    bad = sum(int(plane.size - np.isfinite(plane).sum()) for plane in planes)
    if bad:
        raise UserError(
            f"{where}: {bad} of {array.size} voxels are NaN or infinite; replace them first "
            "(for CT, with air: -1024)"
        )
