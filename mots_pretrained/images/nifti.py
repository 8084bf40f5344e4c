"""NIfTI files, read strictly: whatever is wrong with one is said in one plain line (Sec. 4.1)."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import math
import os
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.files import replacing_by_name

_SUFFIXES = (".nii", ".nii.gz")
_SPACING_APART = 0.01  # share by which pixdim may miss the affine's steps
_FORMS_APART = 0.5  # voxels; writers round the quaternion of a qform
_ROUNDING = 1e-3  # by which a label stored with a scale, or as a float, may miss its whole number
_GZIP_LIMIT = 1032  # deflate cannot compress better than this: a bound on what a file can hold


def read_nifti(path: Path, *, digest: Any = None) -> tuple[NDArray[Any], NDArray[np.float64], Any]:
    """Read a file in its own axis order; scaled values become float32, nothing float64.

    Args:
        path: The file.
        digest: A hash of ``hashlib`` that is fed all of the file's bytes as they are read.

    Returns:
        The voxels ``(X, Y, Z)`` or ``(X, Y, Z, C)``, the affine and the header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As `mots_pretrained.volume.read_volume` says.
    """
    header = _read_header(path)
    affine = _file_affine(header, path)
    array = _read_array(path, header, digest)
    _check_finite(array, path)
    return array, affine, header


def read_grid(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Read from the header alone a file's shape, in its own axis order, and its affine.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header is no volume's.
    """
    header = _read_header(path)
    return tuple(header.get_data_shape()), _file_affine(header, path)


def save_nifti(path: str | os.PathLike[str], array: NDArray[Any], header: Any) -> None:
    """Write voxels in file order under a header; the file appears whole or not at all.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If the name ends in neither ``.nii`` nor ``.nii.gz``.
    """
    import nibabel as nib

    path = Path(path)
    if not path.name.lower().endswith(_SUFFIXES):
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
    import nibabel as nib

    affine = np.asarray(affine, dtype=np.float64)
    check_affine(affine, path)
    header = nib.Nifti1Header()
    stored = array if dtype is None else cast_exactly(array, dtype, path)
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_zooms((*np.linalg.norm(affine[:3, :3], axis=0), *[1.0] * (stored.ndim - 3)))
    header.set_xyzt_units("mm")
    if qform_code:
        header.set_qform(affine, qform_code)
    if sform_code:
        header.set_sform(affine, sform_code)
    save_nifti(path, stored, header)


def stem(path: str | os.PathLike[str]) -> str:
    """Name of a NIfTI file without folder and suffix: ``scans/ct.nii.gz`` gives ``ct``."""
    name = Path(path).name
    for suffix in reversed(_SUFFIXES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(path).stem


def list_volumes(folder: str | os.PathLike[str]) -> list[Path]:
    """List a folder's .nii and .nii.gz files by name, hidden ones (``._x.nii.gz``) left out."""
    return [
        path
        for path in sorted(Path(folder).iterdir())
        if path.name.lower().endswith(_SUFFIXES)
        and not path.name.startswith(".")
        and not path.is_dir()
    ]


def check_affine(affine: NDArray[Any], where: object) -> None:
    """Refuse an affine that is not 4x4, not finite or not invertible; ``where`` names it.

    Raises:
        ValueError: If it is any of these.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise UserError(f"{where}: the affine must be 4x4 and finite; correct the scan's header")
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    if (norms == 0).any() or abs(np.linalg.det(affine[:3, :3] / norms)) < 1e-4:
        rows = "; ".join(" ".join(f"{x:g}" for x in row) for row in affine[:3])
        raise UserError(
            f"{where}: the affine cannot be inverted ({rows}); correct the scan's header"
        )


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


def _read_header(path: Path) -> Any:
    """Read the header as it is stored; nibabel's own reader would repair a bad spacing silently."""
    import nibabel as nib

    if path.is_dir():
        raise UserError(f"{path} is a folder; give a .nii or .nii.gz file")
    if not path.exists():
        raise MissingFileError(f"no such file: {path}; give an existing .nii or .nii.gz file")
    if not path.name.lower().endswith(_SUFFIXES):
        raise UserError(f"{path}: only NIfTI is read; give a .nii or .nii.gz file")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes); fetch or export the scan again")
    with _reading(path), path.open("rb") as raw, _unpacked(path, raw) as stream:
        head = stream.read(4)
        sizes = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
        little, big = int.from_bytes(head, "little"), int.from_bytes(head, "big")
        kind = sizes.get(little) or sizes.get(big)
        if kind is None or len(head) < 4:
            raise UserError(f"{path} is not a NIfTI file; export the scan as .nii or .nii.gz")
        block = head + stream.read(kind.template_dtype.itemsize - 4)
        if len(block) < kind.template_dtype.itemsize:
            raise UserError(f"{path} is truncated (its header ends early); fetch it again")
        header = kind(block, endianness="<" if little in sizes else ">", check=False)
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise UserError(f"{path} is not a single NIfTI file; export the scan as .nii or .nii.gz")
    _check_header(header, path)
    return header


def _check_header(header: Any, path: Path) -> None:
    """Refuse what is no scalar volume, and spacings that no scanner makes."""
    shape = tuple(
        int(size) for size in header["dim"][1 : 1 + max(0, min(7, int(header["dim"][0])))]
    )
    text = "x".join(map(str, shape))
    if len(shape) < 3 or shape[2] == 1:
        raise UserError(f"{path} is 2D ({text}); a volume with at least two slices is needed")
    if min(shape) < 1:
        raise UserError(f"{path} is damaged: its header says {text} voxels; fetch it again")
    if math.prod(shape[4:]) > 1:
        raise UserError(f"{path} has {len(shape)} axes ({text}); 3D or 4D (channels last) is read")
    if min(shape[:3]) < 2:
        raise UserError(f"{path} is 2D ({text}); each axis needs at least two voxels")
    try:
        dtype = header.get_data_dtype()
        header.get_slope_inter()
    except Exception as error:
        raise UserError(f"{path} has a damaged header ({error}); fetch it again") from error
    if dtype.names is not None:
        raise UserError(f"{path} holds RGB colours; a scan with one number a voxel is needed")
    if dtype.kind not in "iuf":
        raise UserError(f"{path} holds {dtype} values; a scan with real numbers is needed")
    zooms = [float(zoom) for zoom in header["pixdim"][1:4]]
    if not all(math.isfinite(zoom) and zoom > 0 for zoom in zooms):
        listed = " x ".join(f"{zoom:g}" for zoom in zooms)
        raise UserError(f"{path}: spacing {listed} mm must be above zero; correct its header")
    if header.get_xyzt_units()[0] not in ("mm", "unknown"):
        unit = header.get_xyzt_units()[0]
        raise UserError(f"{path} measures in {unit}s; write its header in mm")
    if not math.isfinite(float(header["vox_offset"])):
        raise UserError(f"{path} has a damaged header (vox_offset); fetch it again")


def _file_affine(header: Any, path: Path) -> NDArray[np.float64]:
    if not header["qform_code"] and not header["sform_code"]:
        warnings.warn(
            f"{path}: stores no orientation (both form codes are 0); assumed are axes towards "
            "left, front, head, so left and right may be swapped",
            stacklevel=3,
        )
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except Exception as error:
        raise UserError(f"{path}: its orientation is damaged ({error}); correct it") from error
    check_affine(affine, path)
    if header["sform_code"]:
        contradiction = _contradiction(affine, header)
        if contradiction:
            warnings.warn(f"{path}: {contradiction}; the sform is used", stacklevel=3)
    return affine


def _contradiction(sform: NDArray[np.float64], header: Any) -> str:
    """Say how a header's spacing and its two orientations contradict each other; else nothing."""
    import nibabel as nib

    steps = np.linalg.norm(sform[:3, :3], axis=0)
    # a qform cannot hold shear, which is told of where the grid is straightened
    sheared = abs(np.linalg.det(sform[:3, :3] / steps)) < 1 - 1e-6
    if not header["qform_code"]:
        zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
        if sheared or np.allclose(zooms, steps, rtol=_SPACING_APART):
            return ""
        two = [" x ".join(f"{step:.3g}" for step in one) for one in (zooms, steps)]
        return f"its spacing is {two[0]} mm by pixdim and {two[1]} mm by the sform"
    try:
        qform = np.asarray(header.get_qform(), dtype=np.float64)
    except Exception:
        qform = np.full((4, 4), np.nan)
    if not np.isfinite(qform).all():
        return "its qform is damaged and contradicts the sform"
    axes = ["".join(map(str, nib.aff2axcodes(form))) for form in (qform, sform)]
    corners = np.array(list(itertools.product(*((0, n) for n in header["dim"][1:4]), (1,))))
    apart = np.linalg.norm((corners @ (qform - sform).T)[:, :3], axis=1).max()
    if apart <= _FORMS_APART * steps.min() or (sheared and axes[0] == axes[1]):
        return ""
    swapped = "" if axes[0] == axes[1] else ", so check left and right"
    return (
        f"its qform and sform contradict each other (corners up to {apart:.1f} mm apart, axes "
        f"{axes[0]} and {axes[1]}){swapped}"
    )


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
    buffer = bytearray(needed)
    with _reading(path), path.open("rb") as raw:
        file = raw if digest is None else io.BufferedReader(_Hashed(raw, digest))
        with _unpacked(path, file) as stream:
            stream.read(start)
            if _fill(stream, buffer) < needed:
                raise UserError(truncated)
            stream.read(1)  # the end of a gzip stream holds its checksum
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


def _fill(stream: IO[bytes], buffer: bytearray) -> int:
    """Read into a buffer piecewise; returns the bytes got."""
    view, done = memoryview(buffer), 0
    while done < len(view):
        got = stream.readinto(view[done : done + (1 << 24)])  # type: ignore[attr-defined]
        if not got:
            break
        done += got
    return done


def _unpacked(path: Path, file: Any) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(file, "rb")
    return file


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


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into one plain line."""
    try:
        yield
    except EOFError as error:
        raise UserError(
            f"{path} is truncated (its gzip stream ends early); fetch it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path} is no sound gzip file ({error}); fetch or export it again"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error


def _check_finite(array: NDArray[Any], path: Path) -> None:
    if array.dtype.kind != "f":
        return
    bad = sum(int(plane.size - np.isfinite(plane).sum()) for plane in array.T)
    if bad:
        raise UserError(
            f"{path}: {bad} of {array.size} voxels are NaN or infinite; replace them first "
            "(for CT, with air: -1024)"
        )
