"""Headers of NRRD and MetaImage files, looked at before ITK, which some crash, reads them."""

from __future__ import annotations

import math
import re
from pathlib import Path

from mots_pretrained.errors import UserError

_LONGEST = 1 << 20  # bytes of a header; segments' names may make it long
_MOST_CHANNELS = 64
_VECTORS = ("DimSize", "ElementSpacing", "ElementSize", "Offset", "Position", "Origin",
            "CenterOfRotation", "AnatomicalOrientation")  # fmt: skip
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_ANATOMICAL = ("left-", "right-", "lps", "ras", "las")  # NRRD's spaces that say where axes lead


def check_meta_header(path: Path) -> None:
    """Refuse a MetaImage header whose numbers do not fit each other, or that leads elsewhere.

    Raises:
        UserError: If it is such, or has no end.
    """
    fields = _meta_fields(path)
    if "ElementDataFile" not in fields:
        raise _unsound(path, "it names no ElementDataFile")
    axes = fields.get("NDims", "")
    if axes not in ("2", "3", "4"):
        raise _unsound(path, f"NDims is {axes:.20}")
    for name in (*_VECTORS, *_MATRICES):
        wanted = int(axes) ** (2 if name in _MATRICES else 1)
        numbers = fields.get(name, "").split()
        if name == "AnatomicalOrientation" or name not in fields:
            continue
        if len(numbers) != wanted or not all(_is_number(number) for number in numbers):
            raise _unsound(path, f"{name} is {fields[name]:.40}, not {wanted} numbers")
    channels = fields.get("ElementNumberOfChannels", "1")
    if not channels.isdecimal() or not 1 <= int(channels[:9]) <= _MOST_CHANNELS:
        raise _unsound(path, f"ElementNumberOfChannels is {channels:.20}")
    _check_data_file(path, fields["ElementDataFile"], own=("LOCAL", "Local", "local"))


def check_nrrd_header(path: Path) -> None:
    """Refuse an NRRD header whose sizes are no numbers, or that leads elsewhere.

    Raises:
        UserError: If it is such.
    """
    fields = _nrrd_fields(path)
    axes, sizes = fields.get("dimension", ""), fields.get("sizes", "").split()
    if axes not in ("2", "3", "4"):
        raise _unsound(path, f"dimension is {axes:.20}")
    if len(sizes) != int(axes) or not all(s.isdecimal() and len(s) < 10 for s in sizes):
        raise _unsound(path, f"sizes is {' '.join(sizes):.40}, not {axes} numbers")
    for name in ("data file", "datafile"):
        if name in fields:
            _check_data_file(path, fields[name], own=())


def what_is_assumed(path: Path) -> str:
    """Say what a header lacks of spacing and orientation and ITK assumes in place; else nothing."""
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        fields = _nrrd_fields(path)
        directed = fields.get("space directions", "").count("(") >= 3
        steps = [step for step in fields.get("spacings", "").lower().split() if step != "nan"]
        spaced = directed or len(steps) >= 3
        directed = directed and fields.get("space", "").lower().startswith(_ANATOMICAL)
    else:
        fields = _meta_fields(path)
        spaced = "ElementSpacing" in fields or "ElementSize" in fields
        directed = any(name in fields for name in _MATRICES)
    lacks = {} if spaced else {"spacing": "voxels of 1 x 1 x 1 mm"}
    if not directed:
        lacks["orientation"] = "axes towards left, back, head, so left and right may be swapped"
    if not lacks:
        return ""
    return f"stores no {' and no '.join(lacks)}; assumed are {' and '.join(lacks.values())}"


def data_file(path: Path) -> Path | None:
    """Return the file beside a header that holds its voxels; None where they follow the header."""
    if path.suffix.lower() not in (".mhd", ".mha", ".nhdr", ".nrrd"):
        return None
    for line in _lines(path):
        match = re.match(r"\s*(?:ElementDataFile\s*=|data ?file:(?!=))\s*(.+?)\s*$", line, re.I)
        if match:
            is_beside = match[1].upper() != "LOCAL" and Path(match[1]).name == match[1]
            return path.parent / match[1] if is_beside else None
        if not line.strip() and path.suffix.lower() == ".nrrd":
            break
    return None


def _check_data_file(path: Path, name: str, *, own: tuple[str, ...]) -> None:
    """Refuse a file of voxels that does not lie beside its header."""
    if name not in own and (not name or Path(name).name != name or "\\" in name or "%" in name):
        raise _unsound(path, f"its voxels are in {name:.80}; one file beside it is read")


def _meta_fields(path: Path) -> dict[str, str]:
    fields = {}
    for line in _lines(path):
        name, equals, value = line.partition("=")
        if equals:
            fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            break
    return fields


def _nrrd_fields(path: Path) -> dict[str, str]:
    fields = {}
    for line in _lines(path):
        if not line.strip():
            break
        match = re.match(r"([^:=#]+):(?!=)\s*(.*)", line)
        if match:
            fields[match[1].strip().lower()] = match[2].strip()
    return fields


def _lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        return file.read(_LONGEST).decode("latin-1").splitlines()


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _unsound(path: Path, why: str) -> UserError:
    kind = "NRRD" if path.suffix.lower() in (".nrrd", ".nhdr") else "MetaImage"
    return UserError(f"{path} is not a sound {kind} file ({why}); export the scan again")
