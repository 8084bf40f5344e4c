"""The header of a NIfTI file, read strictly: what it says, and where it contradicts itself."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import math
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import MissingFileError, UserError

SUFFIXES = (".nii", ".nii.gz")
"""Endings of the files that are read and written."""

_SPACING_APART = 0.01  # share by which pixdim may miss the affine's steps
_FARTHEST_VOXELS = 1 << 28  # bytes in front of the voxels: header and extensions
_FARTHEST = 1e6  # mm from the scanner's centre: a kilometre
_LAST_FORM = 5  # the highest code of an orientation
_LINE_ENDS = b"\r\n\x1a\n"
_UNITS = {1: "meters", 3: "microns"}
_FORMS_APART = 0.5  # voxels; writers round the quaternion of a qform


def read_header(path: Path) -> Any:
    """Read the header as it is stored; nibabel's own reader would repair a bad spacing silently."""
    import nibabel as nib

    if path.is_dir():
        raise UserError(f"{path} is a folder; give a .nii or .nii.gz file")
    if not path.exists():
        raise MissingFileError(f"no such file: {path}; give an existing .nii or .nii.gz file")
    if not path.name.lower().endswith(SUFFIXES):
        raise UserError(
            f"{path}: only NIfTI, NRRD, MHA and DICOM are read; give a .nii or .nii.gz file, say"
        )
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes); fetch or export the scan again")
    with reading(path), path.open("rb") as raw, unpacked(path, raw) as stream:
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
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # by NIfTI's own code, 0 means 1
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise UserError(f"{path} is not a single NIfTI file; export the scan as .nii or .nii.gz")
    _check_header(header, path)
    return header


def _check_header(header: Any, path: Path) -> None:
    """Refuse what is no scalar volume, and spacings that no scanner makes."""
    axes = int(header["dim"][0])
    if not 1 <= axes <= 7:
        raise UserError(f"{path} is damaged: its header says {axes} axes; fetch it again")
    shape = tuple(int(size) for size in header["dim"][1 : 1 + axes])
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
    unit = int(header["xyzt_units"]) & 7
    if unit not in (0, 2):
        named = _UNITS.get(unit, f"an unknown unit ({unit})")
        raise UserError(f"{path} measures in {named}; write its header in mm")
    for name, is_sound in (
        ("vox_offset", abs(float(header["vox_offset"])) <= _FARTHEST_VOXELS),
        ("qform_code", 0 <= int(header["qform_code"]) <= _LAST_FORM),
        ("sform_code", 0 <= int(header["sform_code"]) <= _LAST_FORM),
        ("eol_check", _line_ends(header) in (_LINE_ENDS, bytes(4))),
    ):
        if not is_sound:
            raise UserError(f"{path} has a damaged header ({name}); fetch it again")


def _line_ends(header: Any) -> bytes:
    """Return what tells whether line ends were converted in a file; only NIfTI-2 has it."""
    stored = header["eol_check"].tobytes() if "eol_check" in header else _LINE_ENDS
    return bytes(stored)


def file_affine(header: Any, path: Path) -> NDArray[np.float64]:
    """Return the affine that a header asks for: the sform, else the qform, else LPS axes.

    Raises:
        UserError: If it is damaged.

    Warns:
        UserWarning: If the header stores no orientation, or contradicts itself.
    """
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


def check_affine(affine: NDArray[Any], where: object) -> None:
    """Refuse an affine that is not 4x4, not finite or not invertible; ``where`` names it.

    Raises:
        ValueError: If it is any of these.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise UserError(f"{where}: the affine must be 4x4 and finite; correct the scan's header")
    if np.abs(affine[:3]).max() > _FARTHEST:
        raise UserError(
            f"{where}: the affine leads {np.abs(affine[:3]).max():g} mm away; correct the scan's "
            "header"
        )
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    if (norms == 0).any() or abs(np.linalg.det(affine[:3, :3] / norms)) < 1e-4:
        rows = "; ".join(" ".join(f"{x:g}" for x in row) for row in affine[:3])
        raise UserError(
            f"{where}: the affine cannot be inverted ({rows}); correct the scan's header"
        )


def unpacked(path: Path, file: Any) -> IO[bytes]:
    """Return an open file's content, without gzip where its name says that there is."""
    if path.name.lower().endswith(".gz"):
        return gzip.open(file, "rb")
    return file


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
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
