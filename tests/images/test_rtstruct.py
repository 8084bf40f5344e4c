"""DICOM structure sets, read back by pydicom and rt-utils."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_results import FRAMES, OWN, SERIES, VALUES, in_frames, labelled, read_contours
from dicom_series import voxels, write_series
from rt_utils import RTStructBuilder

from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.rtstruct import write_rtstruct


@pytest.mark.filterwarnings("ignore:.*(slices are|tilted by)")
@pytest.mark.parametrize("kind", SERIES)
def test_contours_lie_on_the_series_own_slices(tmp_path: Path, kind: str) -> None:
    files = SERIES[kind](tmp_path / "ct")
    volume, labels, expected = labelled(tmp_path / "ct")
    write_rtstruct(tmp_path / "out.dcm", labels, volume, OWN)
    contours = read_contours(tmp_path / "out.dcm", files)
    assert list(contours) == list(OWN)
    for name, value in OWN.items():
        np.testing.assert_array_equal(contours[name], expected == value, err_msg=name)


def test_a_square_has_four_corners_just_outside_of_its_pixels_centres(tmp_path: Path) -> None:
    # voxel (row, column) of the only slice with a label lies at (-10, 20) + (1.5 c, 2 r) mm, LPS
    write_series(tmp_path / "ct", voxels((3, 8, 8)))
    volume = read_volume(tmp_path / "ct")
    labels = np.zeros(volume.shape, np.uint8)
    labels[1, 2:4, 3:6] = 1
    write_rtstruct(tmp_path / "out.dcm", labels, volume, {"liver": 1})
    (region,) = pydicom.dcmread(tmp_path / "out.dcm").ROIContourSequence
    (contour,) = region.ContourSequence
    points = np.reshape(contour.ContourData, (-1, 3)).astype(float)
    assert contour.NumberOfContourPoints == len(points)
    np.testing.assert_allclose(points[:, 2], -30 + 3)
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    np.testing.assert_allclose(low, (-10 + 1.5 * (3 - 0.45), 20 + 2 * (2 - 0.45)), atol=1e-3)
    np.testing.assert_allclose(high, (-10 + 1.5 * (5 + 0.45), 20 + 2 * (3 + 0.45)), atol=1e-3)


def test_contours_of_an_enhanced_ct_name_its_frames(tmp_path: Path) -> None:
    volume, labels, expected = labelled(in_frames(tmp_path))
    write_rtstruct(tmp_path / "out.dcm", labels, volume, OWN)
    tumour = pydicom.dcmread(tmp_path / "out.dcm").ROIContourSequence[1].ContourSequence
    frames = {contour.ContourImageSequence[0].ReferencedFrameNumber for contour in tumour}
    assert frames == {
        1 + k for k, slice_ in enumerate(FRAMES) if (expected[slice_] == OWN["liver_tumour"]).any()
    }


def test_rt_utils_reads_the_same_voxels(tmp_path: Path) -> None:
    array = voxels((5, 16, 16))  # rt-utils takes images to be square, and pixels too
    write_series(tmp_path / "ct", array, spacing=(1.5, 1.5))
    volume, labels, expected = labelled(tmp_path / "ct")
    path = tmp_path / "out.dcm"
    write_rtstruct(path, labels, volume, OWN)
    structures = RTStructBuilder.create_from(str(tmp_path / "ct"), str(path))
    assert structures.get_roi_names() == list(VALUES)
    for name in ("liver", "liver_tumour", "left_kidney"):
        mask = structures.get_roi_mask_by_name(name)
        np.testing.assert_array_equal(mask, (expected == OWN[name]).transpose(1, 2, 0))
