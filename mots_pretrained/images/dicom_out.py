"""What DICOM results share: the series' own slices, its headers, and whose work they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained import __version__
from mots_pretrained.errors import UserError
from mots_pretrained.images.dicom_files import Archive, Place, reason_of
from mots_pretrained.images.extra import extra
from mots_pretrained.images.volume import Volume

PRODUCT = "mots_pretrained"
VERSION = __version__

_NEEDED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_OF_FRAMES = (
    "NumberOfFrames",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def check_dicom(volume: Volume, what: str) -> None:
    """Refuse a scan that was not read from DICOM.

    Raises:
        UserError: If it was not.
    """
    if volume.series is None:
        raise UserError(
            f"{volume.name} is no DICOM series, and {what} refers to one; give the series' folder "
            "or zip, or choose nifti or nrrd"
        )


def on_slices(labels: NDArray[Any], volume: Volume) -> NDArray[Any]:
    """Bring ``(D, H, W)`` onto the images of the scan's series: ``(images, rows, columns)``."""
    return volume.restore(labels).T


def source_headers(volume: Volume) -> list[Any]:
    """Read the header of every image of the scan's series, in the order of `on_slices`.

    What the standard demands of any object, and anonymisation may have removed, is there but empty.
    Frames of an enhanced file share one, without what it says of frames.

    Raises:
        UserError: If the images lack the UIDs by which results refer to them, or share one.
    """
    pydicom = extra("pydicom", "writing DICOM")
    frame = pydicom.uid.generate_uid()
    step = float(np.linalg.norm(volume.file_affine[:3, 2]))
    slices = volume.series.slices
    files: dict[Place, Any] = {}
    with Archive() as archive:
        for place in dict.fromkeys(one.place for one in slices):
            with archive.open(place) as file:
                header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            with refusing_headers(place):  # pydicom decodes an element only when it is asked for
                files[place] = _completed(header, place, frame, step)
    owners: dict[str, Place] = {}
    for place, header in files.items():
        other = owners.setdefault(str(header.SOPInstanceUID), place)
        if other != place:
            raise UserError(
                f"{place} and {other} have one SOPInstanceUID, so that DICOM results can't refer "
                "to either; choose nifti or nrrd"
            )
    return [files[one.place] for one in slices]


@contextlib.contextmanager
def refusing_headers(whose: object) -> Iterator[None]:
    """Say in one line that headers are damaged, or differ, where a library stumbles over them.

    Raises:
        UserError: In place of whatever the library raises.
    """
    try:
        yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        raise UserError(
            f"{whose} has headers to which DICOM results can't refer ({reason_of(error)}); choose "
            "nifti or nrrd"
        ) from error


def _completed(header: Any, place: Place, frame: str, step: float) -> Any:
    for name in _OF_FRAMES:
        header.pop(name, None)
    header.decode()  # from the file's own characters to those that hold every name
    header.SpecificCharacterSet = "ISO_IR 192"
    for name in _UIDS:
        if not header.get(name):
            raise UserError(
                f"{place} has no {name}, by which DICOM results refer to it; choose nifti or nrrd"
            )
    for name in _NEEDED:
        if name not in header:
            setattr(header, name, "")
    header.FrameOfReferenceUID = header.get("FrameOfReferenceUID") or frame
    header.SliceThickness = header.get("SliceThickness") or step
    if header.PatientSex not in ("", "F", "M", "O"):
        header.PatientSex = ""
    for name in [element.keyword for element in header if element.VR in ("DA", "TM", "DT")]:
        if not _is_date(header[name]):
            header[name].clear()
    return header


def _is_date(element: Any) -> bool:
    """Whether a date or time can be one: anonymisation cuts a birthday to its year."""
    values = extra("pydicom.valuerep", "writing DICOM")
    try:
        for value in [element.value] if isinstance(element.value, str) else element.value or ():
            getattr(values, element.VR)(value)
    except ValueError:
        return False
    return True


def one_line(name: str, length: int = 64) -> str:
    """Shorten a name to what a DICOM text holds, on one line and without backslashes."""
    return "".join(c if c.isprintable() and c != "\\" else " " for c in name)[:length]
