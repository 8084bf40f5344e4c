"""DICOM segmentations, read back by highdicom."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_results import OWN, SERIES, blobs, read_seg, truth
from dicom_series import enhanced, voxels, write_series

from mots_pretrained.images.dicom_seg import write_dicom_seg
from mots_pretrained.images.reading import read_volume


@pytest.mark.filterwarnings("ignore:.*(slices are|tilted by)")
@pytest.mark.parametrize("kind", SERIES)
def test_segments_lie_on_the_series_own_slices(tmp_path: Path, kind: str) -> None:
    files = SERIES[kind](tmp_path / "ct")
    volume = read_volume(tmp_path / "ct")
    labels = blobs(volume.shape)
    write_dicom_seg(tmp_path / "out.dcm", labels, volume, OWN)
    expected = truth(labels, volume)
    assert len(expected) == len(files)
    segments = read_seg(tmp_path / "out.dcm", files)
    assert list(segments) == list(OWN)
    for name, value in OWN.items():
        np.testing.assert_array_equal(segments[name], expected == value, err_msg=name)


def test_segments_say_what_they_are(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", voxels((4, 12, 14)), PatientSex="Q", PatientName="anonymous")
    volume = read_volume(tmp_path / "ct")
    write_dicom_seg(tmp_path / "out.dcm", blobs(volume.shape), volume, OWN)
    seg = pydicom.dcmread(tmp_path / "out.dcm")
    liver, tumour, kidney, _ = seg.SegmentSequence
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert tumour.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert tumour.AnatomicRegionSequence[0].CodeMeaning == "Liver"
    modifier = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert modifier[0].CodeMeaning == "Left"
    colour = hd.color.CIELabColor.from_dicom_value(liver.RecommendedDisplayCIELabValue).to_rgb()
    np.testing.assert_allclose(colour, (0xD9, 0x8C, 0x4A), atol=1)
    source = pydicom.dcmread(tmp_path / "ct" / "000.dcm")
    for name in ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID"):
        assert seg[name].value == source[name].value


def test_an_enhanced_ct_gets_results_on_its_frames(tmp_path: Path) -> None:
    order = [2, 0, 1, 4, 3]
    enhanced(write_series(tmp_path / "ct", voxels((5, 12, 14))), tmp_path / "one.dcm", order)
    volume = read_volume(tmp_path / "one.dcm")
    labels = blobs(volume.shape)
    write_dicom_seg(tmp_path / "out.dcm", labels, volume, OWN)
    seg = hd.seg.segread(tmp_path / "out.dcm")
    uid = pydicom.dcmread(tmp_path / "one.dcm").SOPInstanceUID
    pixels = seg.get_pixels_by_source_frame(uid, [1, 2, 3, 4, 5], ignore_spatial_locations=True,
                                            assert_missing_frames_are_empty=True)  # fmt: skip
    expected = truth(labels, volume)[order]
    for number, value in enumerate(OWN.values()):
        np.testing.assert_array_equal(pixels[..., number], expected == value)
