"""The DICOM images of a folder or a zip: where each lies and how it is placed (PS3.3 C.7.6.2)."""

from __future__ import annotations

import contextlib
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mots_pretrained.errors import UserError
from mots_pretrained.images.extra import extra
from mots_pretrained.images.scan_files import visible_files

_LARGEST_MEMBER = 1 << 32  # bytes unpacked; an enhanced CT of 2000 slices has a quarter
_LARGEST_ZIP = 1 << 36
_MOST_MEMBERS = 200_000
_NO_SCAN = {"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE", "PR", "KO", "SR", "REG", "FID"}
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID",
    "SeriesNumber", "SeriesDescription", "Modality", "ImageType",
    "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
_FRAMES = "FrameContentSequence"

REPEATS = {
    "acquisition": (("FrameAcquisitionNumber", "AcquisitionNumber"), _FRAMES),
    "time": (("TemporalPositionIdentifier",), _FRAMES),
    "time index": (("TemporalPositionIndex",), _FRAMES),
    "phase": (("NominalPercentageOfCardiacPhase",), "CardiacSynchronizationSequence"),
    "trigger time": (("TriggerTime",), _FRAMES),
    "echo": (("EchoNumbers",), _FRAMES),
    "b-value": (("DiffusionBValue",), "MRDiffusionSequence"),
}
"""What may tell images of one place apart, and where: elements, of frames in a sequence."""


@dataclass(frozen=True)
class Place:
    """Where a DICOM file lies: a file, or a member of a zip."""

    file: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.member}" if self.member else str(self.file)


@dataclass(frozen=True)
class Slice:
    """One image of a series, or one frame of a file that holds many.

    Attributes:
        place: Its file.
        frame: Number of the frame within the file, from 0.
        uid: SOP instance UID of its file.
        sop_class: SOP class UID of its file.
        size: Rows and columns.
        spacing: Millimetres between rows and between columns.
        orientation: Direction along a row and down a column in the patient (LPS), six numbers.
        position: Centre of its first pixel in the patient, millimetres (LPS).
        rescale: Slope and intercept that make stored values CT numbers; None without either.
        repeat: Values of ``REPEATS``, which tell images of one place apart.
    """

    place: Place
    frame: int
    uid: str
    sop_class: str
    size: tuple[int, int]
    spacing: tuple[float, ...]
    orientation: tuple[float, ...]
    position: tuple[float, ...]
    rescale: tuple[float, float] | None
    repeat: tuple[str, ...]

    @property
    def slope(self) -> float:
        """What stored values are multiplied by; 1 where the header is silent."""
        return 1.0 if self.rescale is None else self.rescale[0]

    @property
    def intercept(self) -> float:
        """What is added then; 0 where the header is silent."""
        return 0.0 if self.rescale is None else self.rescale[1]


@dataclass(frozen=True)
class Header:
    """What an image's header says of its series."""

    patient: str
    study: str
    series: str
    number: str
    description: str
    modality: str
    localizer: bool


class Archive:
    """Opens files and members of zips, each zip once; nothing is ever unpacked to the disk."""

    def __enter__(self) -> Archive:
        self._zips: dict[Path, zipfile.ZipFile] = {}
        self._stack = contextlib.ExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, place: Place) -> IO[bytes]:
        """Open a place's file for reading."""
        if not place.member:
            return open(place.file, "rb")
        if place.file not in self._zips:
            self._zips[place.file] = self._stack.enter_context(zipfile.ZipFile(place.file))
        return self._zips[place.file].open(place.member)


def find_slices(root: Path) -> Iterator[tuple[Header, Slice]]:
    """Yield every image with a place in the patient below a folder, in a zip or in one file.

    Names and endings say nothing: what is DICOM is read, all else passed over, as are objects
    that are no scans (segmentations, structures, reports).

    Raises:
        UserError: If pydicom is missing, or a zip is damaged, encrypted or absurdly large.

    Warns:
        UserWarning: For each file that can't be read, and for each image without a place in the
            patient among others of its series that have one.
    """
    pydicom = extra("pydicom", "reading DICOM")
    placed, unplaced = set(), []
    with Archive() as archive:
        for place in _places(root):
            dataset = _header(archive, place, pydicom)
            if dataset is None:
                continue
            try:
                found = _slices(dataset, place)
                if found:
                    placed.add(_kind(dataset))
            except _WithoutPlaceError as error:
                unplaced.append((_kind(dataset), place, error))
                continue
            except Exception as error:  # pydicom decodes an element only when it is asked for
                _left_out(place, error)
                continue
            yield from found
    for kind, place, reason in unplaced:
        if kind in placed:
            _left_out(place, reason)


class _WithoutPlaceError(ValueError):
    """An image whose header does not say where in the patient it lies, as of a photograph."""


def _kind(dataset: Any) -> tuple[str, ...]:
    """What the images of a scan share, unlike the reports and pictures stored beside them."""
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "Rows", "Columns")
    return tuple(str(dataset.get(name)) for name in names)


def _header(archive: Archive, place: Place, pydicom: Any) -> Any:
    """Read a file's header up to the pixels; None if it is no DICOM file."""
    try:
        with archive.open(place) as file:
            if not _looks_like_dicom(file):
                return None
        with archive.open(place) as file:
            wanted = [*_TAGS, *(name for names, _ in REPEATS.values() for name in names)]
            return pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=wanted)
    except Exception as error:
        if place.member:
            raise UserError(f"{place} cannot be unpacked ({error}); fetch it again") from error
        _left_out(place, error)
        return None


def _left_out(place: Place, error: Exception) -> None:
    reason = getattr(error, "strerror", None) or error
    warnings.warn(f"{place} cannot be read ({reason}) and is left out", stacklevel=3)


def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM file, by its content."""
    if not os.path.isfile(path):  # a pipe would wait for ever
        return False
    try:
        with open(path, "rb") as file:
            return _looks_like_dicom(file)
    except OSError:
        return False


def _places(root: Path) -> Iterable[Place]:
    if root.is_file():
        return _members(root) if root.suffix.lower() == ".zip" else [Place(root)]
    return [Place(file) for file in visible_files(root)]


def _members(path: Path) -> list[Place]:
    """List a zip's files, once it is sure that they can be read within bounds."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} is no sound zip file ({error}); fetch it again") from error
    if any(info.flag_bits & 1 for info in members):
        raise UserError(f"{path} is encrypted; unpack it first and give the folder")
    total = sum(info.file_size for info in members)
    largest = max((info.file_size for info in members), default=0)
    if total > _LARGEST_ZIP or largest > _LARGEST_MEMBER or len(members) > _MOST_MEMBERS:
        raise UserError(
            f"{path} would unpack to {total / 1e9:.0f} GB in {len(members)} files; give the scan's "
            "files alone"
        )
    return [Place(path, info.filename) for info in members]


def _looks_like_dicom(file: IO[bytes]) -> bool:
    """Whether a file has DICOM's mark, or, without a preamble, begins with its first groups."""
    head = file.read(132)
    return head[128:] == b"DICM" or head[:4] in (
        b"\x08\x00\x00\x00", b"\x08\x00\x01\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00",
        b"\x08\x00\x16\x00", b"\x02\x00\x00\x00",
    )  # fmt: skip


def _slices(dataset: Any, place: Place) -> list[tuple[Header, Slice]]:
    """Read from a header its image, or all the frames of an enhanced one."""
    modality = str(dataset.get("Modality") or "")
    if (
        modality in _NO_SCAN
        or "Rows" not in dataset
        or int(dataset.get("SamplesPerPixel") or 1) > 1
    ):
        return []
    kind = dataset.get("ImageType") or []
    header = Header(
        str(dataset.get("PatientID") or ""),
        str(dataset.get("StudyInstanceUID", "")),
        str(dataset.get("SeriesInstanceUID", "")),
        "" if dataset.get("SeriesNumber") is None else str(dataset.SeriesNumber),
        str(dataset.get("SeriesDescription") or "").strip(),
        modality,
        "LOCALIZER" in kind if not isinstance(kind, str) else kind == "LOCALIZER",
    )
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or [None]
    claimed = int(dataset.get("NumberOfFrames") or 1)
    if frames[0] is not None and len(frames) != claimed:
        raise ValueError(f"it claims {claimed} frames and describes {len(frames)}")
    return [
        (header, _slice(dataset, place, number, [own, shared])) for number, own in enumerate(frames)
    ]


def _slice(dataset: Any, place: Place, frame: int, groups: list[Any]) -> Slice:
    def value(name: str, group: str) -> Any:
        for holder in groups:
            if holder is not None and holder.get(group):
                found = holder[group].value[0].get(name)
                if found is not None:
                    return found
        return dataset.get(name)

    def place_in_patient(name: str, group: str, count: int) -> tuple[float, ...]:
        found = value(name, group)
        if found is None or found == "":
            raise _WithoutPlaceError(f"it has no {name}")
        numbers = tuple(float(number) for number in found)
        if len(numbers) != count:
            raise ValueError(f"{name} has {len(numbers)} numbers instead of {count}")
        return numbers

    def repeated(names: tuple[str, ...], group: str) -> str:
        found = (value(name, group) for name in names)
        return str(next((one for one in found if one is not None), None) or "")

    slope = value("RescaleSlope", "PixelValueTransformationSequence")
    intercept = value("RescaleIntercept", "PixelValueTransformationSequence")
    silent = slope is None and intercept is None
    return Slice(
        place,
        frame,
        str(dataset.get("SOPInstanceUID", "")),
        str(dataset.get("SOPClassUID", "")),
        (int(dataset.Rows), int(dataset.Columns)),
        place_in_patient("PixelSpacing", "PixelMeasuresSequence", 2),
        place_in_patient("ImageOrientationPatient", "PlaneOrientationSequence", 6),
        place_in_patient("ImagePositionPatient", "PlanePositionSequence", 3),
        None if silent else (float(1 if slope is None else slope), float(intercept or 0)),
        tuple(repeated(*where) for where in REPEATS.values()),
    )


def reason_of(error: Exception) -> str:
    """What a library says of its failure, short and on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
