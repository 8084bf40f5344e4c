"""3D Slicer's .seg.nrrd, read back by SimpleITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_results import OWN, SERIES, VALUES, blobs, labelled

from mots_pretrained.images.reading import read_labels
from mots_pretrained.images.seg_nrrd import write_seg_nrrd
from mots_pretrained.images.segmentation import (
    write_segmentation,
)
from mots_pretrained.images.volume import Volume


def test_slicers_fields_are_there(tmp_path: Path) -> None:
    scan = Volume.with_spacing(np.zeros((3, 12, 14), np.int16), (3, 2, 1), name="ct")
    path = tmp_path / "ct.seg.nrrd"
    write_seg_nrrd(path, blobs(scan.shape), scan, OWN)
    image = sitk.ReadImage(str(path))
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert fields["Segment1_Name"] == "liver_tumour"
    assert fields["Segment2_LabelValue"] == "255"
    assert fields["Segment0_Color"] == "0.85098 0.54902 0.290196"
    assert fields["Segment0_Extent"] == "0 13 0 11 0 2"
    assert fields["Segment2_Tags"].endswith(
        "~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left"
        "~Anatomic codes - DICOM master list~^^~^^|"
    )
    np.testing.assert_array_equal(read_labels(path).array, blobs(scan.shape))


@pytest.mark.filterwarnings("ignore:.*(slices are|tilted by)")
@pytest.mark.parametrize("kind", SERIES)
def test_labels_lie_on_the_series_own_slices(tmp_path: Path, kind: str) -> None:
    files = SERIES[kind](tmp_path / "ct")
    volume, labels, expected = labelled(tmp_path / "ct")
    written = write_segmentation(tmp_path, labels, volume, VALUES, formats=["nrrd", "nifti"])
    image, nifti = (sitk.ReadImage(str(written[kind])) for kind in ("nrrd", "nifti"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(nifti))
    np.testing.assert_allclose(image.GetOrigin(), nifti.GetOrigin(), atol=1e-4)
    if kind != "tilted":  # ITK reads shear from NRRD, and from NIfTI what it would from DICOM
        np.testing.assert_allclose(image.GetDirection(), nifti.GetDirection(), atol=1e-5)
    series = sitk.ReadImage([str(file) for file in files])
    np.testing.assert_allclose(nifti.GetDirection(), series.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(nifti.GetSpacing(), series.GetSpacing(), atol=1e-5)
    np.testing.assert_allclose(nifti.GetOrigin(), series.GetOrigin(), atol=1e-4)


def test_a_name_over_lines_stays_in_its_field(tmp_path: Path) -> None:
    scan = Volume.with_spacing(np.zeros((2, 3, 4), np.int16), (3, 2, 1))
    write_seg_nrrd(tmp_path / "a.seg.nrrd", scan.array.astype(np.uint8), scan, {"a\nb:=c": 1})
    image = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert image.GetMetaData("Segment0_Name") == "a b:=c"
    assert not sitk.GetArrayFromImage(image).any()  # also a segment without a voxel is listed
