"""DICOM segmentations, read back by highdicom."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_results import FRAMES, OWN, SERIES, blobs, in_frames, labelled, read_seg, truth
from dicom_series import enhanced, voxels, write_series

from mots_pretrained.images.dicom_seg import write_dicom_seg
from mots_pretrained.images.reading import read_volume


@pytest.mark.filterwarnings("ignore:.*(slices are|tilted by)")
@pytest.mark.parametrize("kind", SERIES)
def test_segments_lie_on_the_series_own_slices(tmp_path: Path, kind: str) -> None:
    files = SERIES[kind](tmp_path / "ct")
    volume, labels, expected = labelled(tmp_path / "ct")
    write_dicom_seg(tmp_path / "out.dcm", labels, volume, OWN)
    assert len(expected) == len(files)
    segments = read_seg(tmp_path / "out.dcm", files)
    assert list(segments) == list(OWN)
    for name, value in OWN.items():
        np.testing.assert_array_equal(segments[name], expected == value, err_msg=name)


def test_segments_say_what_they_are(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", voxels((4, 12, 14)), PatientSex="Q", PatientName="anonymous")
    volume, labels, _ = labelled(tmp_path / "ct")
    write_dicom_seg(tmp_path / "out.dcm", labels, volume, OWN)
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
    volume, labels, expected = labelled(in_frames(tmp_path))
    write_dicom_seg(tmp_path / "out.dcm", labels, volume, OWN)
    seg = hd.seg.segread(tmp_path / "out.dcm")
    uid = pydicom.dcmread(tmp_path / "one.dcm").SOPInstanceUID
    pixels = seg.get_pixels_by_source_frame(uid, [1, 2, 3, 4, 5], ignore_spatial_locations=True,
                                            assert_missing_frames_are_empty=True)  # fmt: skip
    for number, value in enumerate(OWN.values()):
        np.testing.assert_array_equal(pixels[..., number], expected[FRAMES] == value)


@pytest.mark.parametrize("kind", ["one time of a file", "two files"])
def test_frames_of_files_that_are_not_the_whole_scan(tmp_path: Path, kind: str) -> None:
    uid = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.4"}
    shift = 0 if kind == "one time of a file" else -15
    files = [
        path
        for number in (0, 1)
        for path in write_series(tmp_path / f"{number}", voxels((5, 12, 14), seed=number),
                                 origin=(-10, 20, -30 + number * shift), **uid)
    ]  # fmt: skip
    orders = [[*range(10)]] if shift == 0 else [[2, 0, 1, 4, 3], [5, 6, 7, 9, 8]]
    for name, order in enumerate(orders):
        (tmp_path / "ct").mkdir(exist_ok=True)
        enhanced(files, tmp_path / "ct" / f"{name}.dcm", order)
        ds = pydicom.dcmread(tmp_path / "ct" / f"{name}.dcm")
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.5.{name}"
        for number, frame in zip(order, ds.PerFrameFunctionalGroupsSequence, strict=True):
            content = pydicom.Dataset()
            content.TemporalPositionIndex = 1 + number // 5 if shift == 0 else 1
            frame.FrameContentSequence = [content]
        ds.save_as(tmp_path / "ct" / f"{name}.dcm")
    volume = read_volume(tmp_path / "ct", series=None if shift else "time index 2")
    labels = blobs(volume.shape)
    write_dicom_seg(tmp_path / "out.dcm", labels, volume, OWN)
    seg = hd.seg.segread(tmp_path / "out.dcm")
    expected = truth(labels, volume)
    for file in (f"1.5.{name}" for name in range(len(orders))):
        own = [one for one in range(len(expected)) if volume.series.slices[one].uid == file]
        frames = [volume.series.slices[one].frame + 1 for one in own]
        assert sorted(frames) == ([6, 7, 8, 9, 10] if shift == 0 else [1, 2, 3, 4, 5])
        pixels = seg.get_pixels_by_source_frame(file, frames, ignore_spatial_locations=True,
                                                assert_missing_frames_are_empty=True)  # fmt: skip
        for segment, value in enumerate(OWN.values()):
            np.testing.assert_array_equal(pixels[..., segment], expected[own] == value)
    (series,) = seg.ReferencedSeriesSequence
    referred = [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence]
    assert sorted(referred) == [f"1.5.{name}" for name in range(len(orders))]
