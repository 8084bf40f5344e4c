"""What DICOM results of all kinds share: headers that lack much, names, and nothing found."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_results import SERIES, VALUES, blobs, labelled, read_contours, read_seg
from dicom_series import damage, voxels, write_series

from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.segmentation import (
    DICOM_FORMATS,
    FORMATS,
    check_writable,
    write_segmentation,
)


def assert_refused(folder: Path, kinds: Iterable[str], why: str) -> None:
    """Results of the series in ``ct`` are refused in these formats, and nothing is left of them."""
    volume = read_volume(folder / "ct")
    for kind in kinds:
        with pytest.raises(UserError, match=why):  # before there are any
            check_writable(volume, ["nifti", kind])
        with pytest.raises(UserError, match=why):
            write_segmentation(folder, blobs(volume.shape), volume, VALUES, formats=["nifti", kind])
    assert [path.name for path in folder.iterdir()] == ["ct"]


@pytest.mark.parametrize(
    "name", ["PatientID", "FrameOfReferenceUID", "SliceThickness", "SeriesNumber"]
)
def test_what_anonymisation_removed_is_no_hindrance(tmp_path: Path, name: str) -> None:
    files = write_series(tmp_path / "ct", voxels((4, 12, 14)))
    for path in files:
        ds = pydicom.dcmread(path)
        del ds[name]
        ds.save_as(path)
    volume, labels, expected = labelled(tmp_path / "ct")
    written = write_segmentation(tmp_path, labels, volume, VALUES, formats=DICOM_FORMATS)
    for masks in (read_seg(written["dicom-seg"], files), read_contours(written["rtstruct"], files)):
        np.testing.assert_array_equal(masks["liver"], expected == 1)


@pytest.mark.parametrize("name", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_without_uids_nothing_can_refer_to_a_series(tmp_path: Path, name: str) -> None:
    for path in write_series(tmp_path / "ct", voxels((4, 12, 14))):
        ds = pydicom.dcmread(path)
        del ds[name]
        ds.save_as(path)
    assert_refused(tmp_path, DICOM_FORMATS, f"has no {name}, by which DICOM results refer to it")


def test_headers_that_cannot_be_decoded_are_named_in_one_line(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels((4, 12, 14)), PatientAge="042Y")
    damage(files[1], "PatientAge")
    assert_refused(tmp_path, DICOM_FORMATS, r"001\.dcm has headers to which .*'TS'")


def test_headers_that_differ_are_named_in_one_line(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels((4, 12, 14)))
    ds = pydicom.dcmread(files[1])
    ds.SOPClassUID = "1.2.3"
    ds.save_as(files[1])
    assert_refused(tmp_path, ["dicom-seg"], "ct has headers to which .*; choose nifti or nrrd")


def test_images_with_one_uid_cannot_be_referred_to(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels((4, 12, 14)))
    ds = pydicom.dcmread(files[1])
    ds.SOPInstanceUID = pydicom.dcmread(files[3]).SOPInstanceUID
    ds.save_as(files[1])
    assert_refused(tmp_path, DICOM_FORMATS, r"003\.dcm and .*001\.dcm have one SOPInstanceUID")


@pytest.mark.parametrize(
    "name", ["PatientBirthDate", "StudyTime", "ImageOrientationPatient", "PixelSpacing"]
)
def test_what_is_cut_or_rounded_in_a_header_is_no_hindrance(tmp_path: Path, name: str) -> None:
    files = write_series(tmp_path / "ct", voxels((4, 12, 14)))
    for number, path in enumerate(files):
        ds = pydicom.dcmread(path)
        off = number * 5e-7
        value: Any = {"PatientBirthDate": "2000", "StudyTime": "noon",
                      "ImageOrientationPatient": [1, off, 0, 0, 1, 0],
                      "PixelSpacing": [2 + off, 1.5]}[name]  # fmt: skip
        with pydicom.config.disable_value_validation():
            setattr(ds, name, value)
            ds.save_as(path)
    volume, labels, expected = labelled(tmp_path / "ct")
    written = write_segmentation(tmp_path, labels, volume, VALUES, formats=DICOM_FORMATS)
    for masks in (read_seg(written["dicom-seg"], files), read_contours(written["rtstruct"], files)):
        np.testing.assert_array_equal(masks["liver"], expected == 1)


@pytest.mark.parametrize("kind", SERIES)
def test_series_of_which_all_can_be_written_are_not_refused(tmp_path: Path, kind: str) -> None:
    SERIES[kind](tmp_path / "ct")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is uneven and tilted
        volume = read_volume(tmp_path / "ct")
    check_writable(volume, list(FORMATS))
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_names_in_any_script_are_kept(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "ct", voxels((4, 12, 14))):
        ds = pydicom.dcmread(path)
        ds.SpecificCharacterSet, ds.PatientName = "ISO_IR 100", "Müller^Jörg"
        ds.save_as(path)
    volume = read_volume(tmp_path / "ct")
    values = {"肝": (1,), "foie_grés": (2,)}
    written = write_segmentation(
        tmp_path, blobs(volume.shape) % 3, volume, values, formats=list(FORMATS)
    )
    seg, structures = (pydicom.dcmread(written[kind]) for kind in DICOM_FORMATS)
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == list(values)
    assert [roi.ROIName for roi in structures.StructureSetROISequence] == list(values)
    assert seg.PatientName == structures.PatientName == "Müller^Jörg"


def test_nothing_found_is_written_as_well(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels((4, 12, 14)))
    volume = read_volume(tmp_path / "ct")
    empty = np.zeros(volume.shape, np.uint8)
    written = write_segmentation(tmp_path, empty, volume, VALUES, formats=list(FORMATS))
    for masks in (read_seg(written["dicom-seg"], files), read_contours(written["rtstruct"], files)):
        assert list(masks) == list(VALUES)
        assert not any(mask.any() for mask in masks.values())
    structures = pydicom.dcmread(written["rtstruct"])
    assert not any("ContourSequence" in roi for roi in structures.ROIContourSequence)
