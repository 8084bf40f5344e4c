"""A label map as a DICOM structure set (PS3.3 A.19): contours on the series' own slices."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.files import replacing_by_name
from mots_pretrained.images.dicom_files import Slice
from mots_pretrained.images.dicom_out import (
    PRODUCT,
    VERSION,
    check_dicom,
    on_slices,
    one_line,
    source_headers,
)
from mots_pretrained.images.extra import extra
from mots_pretrained.images.terminology import rgb_of
from mots_pretrained.images.volume import Volume

_SERIES_NUMBER = 9002
_LEVEL = 0.55  # contours pass 0.45 pixels outside of the outermost pixels' centres, see `_contours`
_COPIED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID",
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "SpecificCharacterSet",
)  # fmt: skip


def write_rtstruct(
    path: str | os.PathLike[str], labels: NDArray[Any], like: Volume, values: Mapping[str, int]
) -> None:
    """Write a label map as closed contours, one region of interest a category.

    A category without a voxel is a region without contours. Holes are contours within contours.

    Args:
        path: File to write or replace.
        labels: ``(D, H, W)`` on the grid of ``like``.
        like: A scan that was read from DICOM.
        values: The value of each category.

    Raises:
        UserError: If the scan is no DICOM series, or pydicom is missing.
    """
    check_dicom(like, "a DICOM structure set")
    slices = like.series.slices
    found = on_slices(labels, like)
    header = source_headers(like)[0]
    frame = str(header.FrameOfReferenceUID)
    result = _dataset(header, frame, slices)
    many_frames = len({one.place for one in slices}) < len(slices)
    for number, (name, value) in enumerate(values.items(), start=1):
        contours = [
            _contour(points, one, many_frames)
            for plane, one in zip(found, slices, strict=True)
            for points in _contours(plane == value)
        ]
        result.StructureSetROISequence.append(
            _item(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=frame,
                ROIName=one_line(name),
                ROIGenerationAlgorithm="AUTOMATIC",
            )
        )
        region = _item(ROIDisplayColor=[*rgb_of(name, value)], ReferencedROINumber=number)
        if contours:  # the standard knows no empty sequence here
            region.ContourSequence = contours
        result.ROIContourSequence.append(region)
        result.RTROIObservationsSequence.append(
            _item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType="",
                ROIInterpreter="",
            )
        )
    with replacing_by_name(path) as draft:
        result.save_as(draft, enforce_file_format=True)


def _dataset(header: Any, frame: str, slices: tuple[Slice, ...]) -> Any:
    """Make a structure set of the series without any region."""
    pydicom = extra("pydicom", "writing RTSTRUCT")
    now = datetime.datetime.now()
    result = _item(
        SOPClassUID=pydicom.uid.RTStructureSetStorage,
        SOPInstanceUID=pydicom.uid.generate_uid(),
        Modality="RTSTRUCT",
        SeriesInstanceUID=pydicom.uid.generate_uid(),
        SeriesNumber=_SERIES_NUMBER,
        SeriesDescription=f"Structures by {PRODUCT}",
        Manufacturer=PRODUCT,
        ManufacturerModelName=PRODUCT,
        SoftwareVersions=VERSION,
        FrameOfReferenceUID=frame,
        PositionReferenceIndicator="",
        StructureSetLabel="SEGMENTATION",
        StructureSetDate=now.strftime("%Y%m%d"),
        StructureSetTime=now.strftime("%H%M%S"),
        ApprovalStatus="UNAPPROVED",
        OperatorsName="",
        StructureSetROISequence=[],
        ROIContourSequence=[],
        RTROIObservationsSequence=[],
    )
    for name in _COPIED:
        if name in header:
            result[name] = header[name]
    images = [_reference(one) for one in {one.uid: one for one in slices}.values()]
    series = _item(SeriesInstanceUID=header.SeriesInstanceUID, ContourImageSequence=images)
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=header.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    result.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])
    ]
    result.file_meta = pydicom.dataset.FileMetaDataset()
    # contours may be longer than the 64 KB that explicit types allow
    result.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    result.file_meta.MediaStorageSOPClassUID = result.SOPClassUID
    result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    return result


def _contours(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Outlines ``(points, 2)`` of a mask, holes included, in columns and rows.

    They run between the centres of pixels inside and outside, a little nearer to the inside: who
    asks which centres lie within them gets the mask, as does who rounds them to pixels and fills.
    """
    if not mask.any():
        return []
    from contourpy import LineType, contour_generator

    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = rows[0], columns[0]
    part = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.float32)
    lines = contour_generator(z=part, line_type=LineType.Separate).lines(_LEVEL)
    return [_corners(np.asarray(line)[:-1]) + (left - 1, top - 1) for line in lines]


def _corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop the points of a closed line at which it goes straight on."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return points[np.abs(turns) > 1e-6]


def _contour(points: NDArray[np.float64], one: Slice, many_frames: bool) -> Any:
    """A closed contour in the patient's millimetres, on the plane of its own image."""
    row, column = np.array(one.orientation[:3]), np.array(one.orientation[3:])
    places = (
        np.array(one.position)
        + points[:, :1] * one.spacing[1] * row
        + points[:, 1:] * one.spacing[0] * column
    )
    return _item(
        ContourImageSequence=[_reference(one, frame=many_frames)],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(places),
        ContourData=[f"{number:.4f}" for number in places.ravel()],
    )


def _reference(one: Slice, *, frame: bool = False) -> Any:
    item = _item(ReferencedSOPClassUID=one.sop_class, ReferencedSOPInstanceUID=one.uid)
    if frame:
        item.ReferencedFrameNumber = one.frame + 1
    return item


def _item(**elements: Any) -> Any:
    dataset = extra("pydicom", "writing RTSTRUCT").Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset
