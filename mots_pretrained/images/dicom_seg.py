"""A label map as a DICOM segmentation (PS3.3 A.51) with SNOMED CT codes and colours."""

from __future__ import annotations

import copy
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
    refusing_headers,
    source_headers,
)
from mots_pretrained.images.extra import extra
from mots_pretrained.images.terminology import Code, concept_of, rgb_of
from mots_pretrained.images.volume import Volume

_SERIES_NUMBER = 9001


def write_dicom_seg(
    path: str | os.PathLike[str], labels: NDArray[Any], like: Volume, values: Mapping[str, int]
) -> None:
    """Write a label map as a binary DICOM segmentation of the scan's series.

    Segments are numbered from 1 in the order of the categories; a category without a voxel is a
    segment without frames.

    Args:
        path: File to write or replace.
        labels: ``(D, H, W)`` on the grid of ``like``.
        like: A scan that was read from DICOM.
        values: The value of each category.

    Raises:
        UserError: If the scan is no DICOM series, or highdicom is missing.
    """
    check_dicom(like, "a DICOM segmentation")
    hd, seg = (extra(name, "writing DICOM SEG") for name in ("highdicom", "highdicom.seg"))
    codes = extra("pydicom.sr.codedict", "writing DICOM SEG").codes
    algorithm = hd.AlgorithmIdentificationSequence(
        name=PRODUCT, family=codes.DCM.ArtificialIntelligence, version=VERSION
    )
    segments = [
        _segment(number, name, value, algorithm)
        for number, (name, value) in enumerate(values.items(), start=1)
    ]
    slices = like.series.slices
    headers = [
        _placed(header, one, slices[0])
        for header, one in zip(source_headers(like), slices, strict=True)
    ]
    patient = headers[0].PatientName
    for header in headers:  # highdicom warns of names without a caret, as anonymisation leaves
        header.PatientName = f"{patient}^" if patient and "^" not in str(patient) else patient
    frames = _as_images(headers, like)
    numbered = _numbered(on_slices(labels, like), values)
    with refusing_headers(like.name):
        result = seg.Segmentation(
            source_images=headers,
            pixel_array=numbered,
            segmentation_type="BINARY",
            segment_descriptions=segments,
            series_instance_uid=hd.UID(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=PRODUCT,
            manufacturer_model_name=PRODUCT,
            software_versions=VERSION,
            device_serial_number="0",
            content_description="Automatic segmentation",
            content_label="SEGMENTATION",
            series_description=f"Segmentation by {PRODUCT}",
        )
    result.PatientName = patient
    _refer_to_frames(result, frames)
    with replacing_by_name(path) as draft:
        result.save_as(draft)


def _numbered(found: NDArray[Any], values: Mapping[str, int]) -> NDArray[Any]:
    """Number the segments from 1."""
    dtype = np.uint8 if len(values) < 256 else np.uint16
    numbers = np.zeros(max(int(found.max()), *values.values()) + 1, dtype)
    numbers[[*values.values()]] = np.arange(1, len(values) + 1)
    return numbers[found]


def _placed(header: Any, one: Slice, first: Slice) -> Any:
    """Say where an image lies; orientation and spacing, rounded anew in each, are the first's."""
    own = copy.deepcopy(header)
    own.ImageOrientationPatient = [f"{number:.8f}" for number in first.orientation]
    own.ImagePositionPatient = [f"{number:.6f}" for number in one.position]
    own.PixelSpacing = list(first.spacing)
    return own


def _as_images(headers: list[Any], like: Volume) -> dict[str, Slice]:
    """Give each frame of enhanced files a UID, as an image of its own: highdicom takes one file."""
    uid = extra("pydicom.uid", "writing DICOM SEG")
    if len({header.SOPInstanceUID for header in headers}) == len(headers):
        return {}
    frames = {}
    for header, one in zip(headers, like.series.slices, strict=True):
        header.SOPClassUID, header.SOPInstanceUID = uid.CTImageStorage, uid.generate_uid()
        frames[str(header.SOPInstanceUID)] = one
    return frames


def _refer_to_frames(result: Any, frames: Mapping[str, Slice]) -> None:
    """Make what refers to `_as_images` refer to the frames of the files."""

    def refer(item: Any) -> None:
        one = frames.get(str(item.get("ReferencedSOPInstanceUID")))
        if one is not None:
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class, one.uid
            item.ReferencedFrameNumber = one.frame + 1
        for element in item:
            if element.VR == "SQ":
                for below in element.value:
                    refer(below)

    if not frames:
        return
    refer(result)
    for series in result.ReferencedSeriesSequence:
        files = {item.ReferencedSOPInstanceUID: item for item in series.ReferencedInstanceSequence}
        for item in files.values():
            del item.ReferencedFrameNumber
        series.ReferencedInstanceSequence = list(files.values())


def _segment(number: int, name: str, value: int, algorithm: Any) -> Any:
    hd, seg = (extra(module, "writing DICOM SEG") for module in ("highdicom", "highdicom.seg"))
    concept = concept_of(name)
    segment = seg.SegmentDescription(
        segment_number=number,
        segment_label=one_line(name),
        segmented_property_category=_code(concept.category),
        segmented_property_type=_code(concept.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        anatomic_regions=None if concept.region is None else [_code(concept.region)],
        display_color=hd.color.CIELabColor.from_rgb(*rgb_of(name, value)),
    )
    if concept.side is not None:
        if concept.region is None:
            holder = segment.SegmentedPropertyTypeCodeSequence[0]
            holder.SegmentedPropertyTypeModifierCodeSequence = [_code(concept.side)]
        else:
            holder = segment.AnatomicRegionSequence[0]
            holder.AnatomicRegionModifierSequence = [_code(concept.side)]
    return segment


def _code(code: Code) -> Any:
    return extra("highdicom", "writing DICOM SEG").sr.CodedConcept(code.value, "SCT", code.meaning)
