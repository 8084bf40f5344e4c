"""NRRD and MetaImage files by SimpleITK, read as strictly as NIfTI, and the names of segments."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.images.extra import extra
from mots_pretrained.images.itk_header import (
    check_meta_header,
    check_nrrd_header,
    data_file,
    what_is_assumed,
)
from mots_pretrained.images.nifti import check_finite
from mots_pretrained.images.nifti_header import check_affine

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings of the files that are read here; ``.seg.nrrd`` is 3D Slicer's label map."""

_MAGIC = {".nrrd": b"NRRD", ".nhdr": b"NRRD", ".mha": b"ObjectType", ".mhd": b"ObjectType"}
_LARGEST = 1 << 33  # voxels and channels


def read_itk(path: Path, *, digest: Any = None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read a file's voxels in its own axis order; nothing becomes float64.

    Args:
        path: An existing NRRD or MetaImage file.
        digest: A hash of ``hashlib`` that is fed the file's bytes, and those of the file that holds
            its voxels where that is another one.

    Returns:
        The voxels ``(X, Y, Z)`` or ``(X, Y, Z, C)`` and the affine to world millimetres (RAS+).

    Raises:
        UserError: If SimpleITK is missing, or the file is no volume, damaged or truncated, or
            holds complex numbers, NaN or infinities.

    Warns:
        UserWarning: If the header stores no spacing or orientation.
    """
    reader = _reader(path)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise UserError(
            f"{path} is damaged or truncated, or its data file is missing ({_line(error)}); fetch "
            "it again"
        ) from error
    sitk = extra("SimpleITK", "reading NRRD and MHA")
    array = np.asarray(sitk.GetArrayViewFromImage(image))
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    channels = image.GetNumberOfComponentsPerPixel()
    order = (2, 1, 0, 3) if channels > 1 else (2, 1, 0)
    array = array.transpose(order).copy(order="K")
    check_finite(array, path)
    if digest is not None:
        for part in (path, data_file(path)):
            if part is not None:
                digest.update(part.read_bytes())
    return array, _affine(image, path)


def read_itk_grid(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Read from the header alone a file's shape, in its own axis order, and its affine."""
    reader = _reader(path)
    channels = reader.GetNumberOfComponents()
    shape = tuple(int(n) for n in reader.GetSize())
    return (*shape, channels) if channels > 1 else shape, _affine(reader, path)


def segment_values(path: Path) -> dict[str, int]:
    """Names of a ``.seg.nrrd`` file's segments and their values; empty where it names none.

    Raises:
        UserError: If its segments overlap, which several layers hold.
    """
    reader = _reader(path)
    fields = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    numbers = sorted(int(m[1]) for key in fields if (m := re.fullmatch(r"Segment(\d+)_ID", key)))
    if len({fields.get(f"Segment{n}_Layer", "0") for n in numbers}) > 1:
        raise UserError(
            f"{path} has segments that overlap, in several layers; export it from 3D Slicer as one "
            "label map"
        )
    return {
        fields.get(f"Segment{n}_Name", fields[f"Segment{n}_ID"]): int(
            fields.get(f"Segment{n}_LabelValue", "1")
        )
        for n in numbers
    }


def common_segments(paths: Iterable[Path]) -> dict[str, int]:
    """Names and values of the segments of several ``.seg.nrrd`` files, which must agree.

    3D Slicer numbers the segments of each file by itself.

    Raises:
        UserError: If a name has another value in one file than in another, or a value another
            name; or as `segment_values` does.
    """
    names: dict[str, tuple[int, Path]] = {}
    values: dict[int, tuple[str, Path]] = {}
    for path in paths:
        for name, value in segment_values(path).items():
            as_named, as_numbered = names.get(name), values.get(value)
            if as_named is not None and as_named[0] != value:
                raise UserError(
                    f"{path} has {name!r:.80} as {value}, {as_named[1]} as {as_named[0]}; give its "
                    "segments the same values in every file"
                )
            if as_numbered is not None and as_numbered[0] != name:
                raise UserError(
                    f"{path} has {value} as {name!r:.80}, {as_numbered[1]} as "
                    f"{as_numbered[0]!r:.80}; give its segments the same names in every file"
                )
            names[name], values[value] = (value, path), (name, path)
    return {name: value for name, (value, _) in names.items()}


def _reader(path: Path) -> Any:
    """Read the header, and refuse what is no scalar volume."""
    sitk = extra("SimpleITK", "reading NRRD and MHA")
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
    if not head:
        raise UserError(f"{path} is empty (0 bytes); fetch or export the scan again")
    kind = "NRRD" if suffix in (".nrrd", ".nhdr") else "MetaImage"
    if suffix in (".nrrd", ".nhdr") and not head.startswith(_MAGIC[suffix]):
        raise UserError(f"{path} is not a {kind} file; export the scan again")
    (check_nrrd_header if kind == "NRRD" else check_meta_header)(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if kind == "NRRD" else "MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UserError(f"{path} is not a sound {kind} file ({_line(error)})") from error
    size = reader.GetSize()
    text = "x".join(map(str, size))
    if len(size) != 3 or min(size) < 2:
        raise UserError(
            f"{path} is no volume ({text}); three axes of at least two voxels each are needed"
        )
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()).lower():
        raise UserError(f"{path} holds complex values; a scan with real numbers is needed")
    if math.prod(size) * reader.GetNumberOfComponents() > _LARGEST:
        raise UserError(f"{path} claims {text} voxels; correct its header")
    return reader


def _affine(image: Any, path: Path) -> NDArray[np.float64]:
    """Affine of a SimpleITK image or reader, from its LPS to RAS.

    Warns:
        UserWarning: If the header stores no spacing or orientation.
    """
    if assumed := what_is_assumed(path):
        warnings.warn(f"{path}: {assumed}", stacklevel=3)
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    affine[:2] *= -1
    check_affine(affine, path)
    return affine


def _line(error: Exception) -> str:
    """The last sentence of an ITK error, which says what was wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-160:] if lines else type(error).__name__
