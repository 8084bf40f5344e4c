"""Small DICOM series made by pydicom, slice by slice, with whatever a scanner may do to them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume

AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SAGITTAL = (0, 1, 0, 0, 0, -1)


def voxels(shape: tuple[int, int, int] = (6, 8, 8), seed: int = 0) -> NDArray[np.int16]:
    """CT numbers ``(slices, rows, columns)``, all different enough to tell places apart."""
    noise = np.random.default_rng(seed).integers(-1000, 1500, shape)
    return noise.astype(np.int16)


def write_series(
    folder: Path,
    array: NDArray[Any],
    *,
    orientation: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float] = (2.0, 1.5),
    step: float = 3.0,
    origin: tuple[float, float, float] = (-10.0, 20.0, -30.0),
    along: tuple[float, float, float] | None = None,
    places: Any = None,
    intercept: float | list[float] = -1024,
    slope: float | list[float] = 1,
    names: Any = None,
    order: Any = None,
    entropy: str | None = None,
    **tags: Any,
) -> list[Path]:
    """Write one file a slice and return the files, in the order of ``array``.

    Args:
        folder: Made if need be.
        array: CT numbers ``(slices, rows, columns)``.
        orientation: Of rows and columns, in LPS.
        spacing: Millimetres between rows and columns.
        step: Millimetres between slices.
        origin: Position of the first slice.
        along: Direction from slice to slice; the normal by default.
        places: Millimetres of each slice from the first, in place of ``step``.
        intercept: Rescale intercept, one for all slices or one each.
        slope: Rescale slope, likewise.
        names: Function from a slice's number to its file's name.
        order: Instance numbers of the slices.
        entropy: What makes UIDs the same each time.
        tags: Further elements; a list with a value for each slice is spread over them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:]) if along is None else np.array(along)
    count = len(array)
    intercepts = intercept if isinstance(intercept, list) else [intercept] * count
    slopes = slope if isinstance(slope, list) else [slope] * count

    def uid(*of: object) -> str:
        return generate_uid(entropy_srcs=None if entropy is None else [entropy, *map(str, of)])

    study, series, frame = (
        tags.pop(name, None) or uid(name)
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    )
    files = []
    for index, plane in enumerate(array):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid(index)
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.Modality, ds.PatientID, ds.PatientName = "CT", "P1", "Name"
        ds.SeriesNumber, ds.SeriesDescription = 3, "Abdomen"
        ds.InstanceNumber = index + 1 if order is None else int(order[index])
        away = index * step if places is None else float(places[index])
        ds.ImagePositionPatient = [f"{x:.6f}" for x in np.array(origin) + away * normal]
        ds.ImageOrientationPatient = [f"{x:.8f}" for x in orientation]
        ds.PixelSpacing = list(spacing)
        ds.SliceThickness = 5  # said wrongly on purpose: positions count
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleIntercept, ds.RescaleSlope = intercepts[index], slopes[index]
        stored = (plane.astype(float) - intercepts[index]) / slopes[index]
        ds.PixelData = np.rint(stored).astype("<i2").tobytes()
        for name, value in tags.items():
            spread = isinstance(value, list) and name != "ImageType"
            setattr(ds, name, value[index] if spread else value)
        name = f"{index:03d}.dcm" if names is None else names(index)
        ds.save_as(folder / name, enforce_file_format=True)
        files.append(folder / name)
    return files


def damage(file: Path, name: str) -> None:
    """Give an element of a file a kind of value that DICOM does not have."""
    element = pydicom.dcmread(file)[name]
    head = element.tag.group.to_bytes(2, "little") + element.tag.element.to_bytes(2, "little")
    data = file.read_bytes()
    assert data.count(head + element.VR.encode()) == 1
    file.write_bytes(data.replace(head + element.VR.encode(), head + b"TS"))


def enhanced(files: list[Path], path: Path, order: list[int]) -> None:
    """Join single images to an enhanced CT whose frames lie in this order."""
    images = [pydicom.dcmread(files[k]) for k in order]
    ds = pydicom.dcmread(files[0])
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedCTImageStorage
    ds.NumberOfFrames = len(images)
    ds.PixelData = b"".join(image.PixelData for image in images)
    shared, frames = pydicom.Dataset(), []
    for holder, names in {
        "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
        "PlaneOrientationSequence": ("ImageOrientationPatient",),
        "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    }.items():
        item = pydicom.Dataset()
        for name in names:
            item[name] = ds[name]
            del ds[name]
        setattr(shared, holder, [item])
    for image in images:
        frame, position = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = image.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    del ds.ImagePositionPatient
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], frames
    ds.save_as(path)


def by_simpleitk(files: list[Path], place: Path) -> Volume:
    """The same files through SimpleITK and NIfTI."""
    image = sitk.ReadImage([str(path) for path in files])
    sitk.WriteImage(image, str(place / "by_itk.nii.gz"))
    return read_volume(place / "by_itk.nii.gz")


def assert_same(one: Volume, other: Volume) -> None:
    np.testing.assert_array_equal(one.array, other.array)
    assert one.apart(other) < 1e-3


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(sorted(folder.iterdir())):
            archive.write(file, f"../../{number}/{file.name}")  # never unpacked
        archive.writestr("readme.txt", "no DICOM")
    return path
