"""Files and members of zips that are DICOM, and where each image lies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_series import (
    assert_same,
    by_simpleitk,
    damage,
    enhanced,
    voxels,
    write_series,
    zipped,
)
from pydicom import config
from pydicom.dataelem import RawDataElement

from mots_pretrained.errors import UserError
from mots_pretrained.images import dicom_files
from mots_pretrained.images.dicom import find_series
from mots_pretrained.images.reading import read_volume


def test_a_zip_is_read_without_unpacking(tmp_path: Path) -> None:
    array = voxels()
    write_series(tmp_path / "ct", array)
    path = zipped(tmp_path / "ct", tmp_path / "scan.zip")
    shutil.rmtree(tmp_path / "ct")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.name == "scan"
    assert [p.name for p in tmp_path.iterdir()] == ["scan.zip"]


def test_zips_that_cannot_be_read_are_refused(tmp_path: Path, monkeypatch) -> None:
    write_series(tmp_path / "ct", voxels())
    path = zipped(tmp_path / "ct", tmp_path / "scan.zip")
    monkeypatch.setattr(dicom_files, "_LARGEST_ZIP", 100)
    with pytest.raises(UserError, match="would unpack to 0 GB in 7 files"):
        read_volume(path)
    monkeypatch.undo()
    raw = bytearray(path.read_bytes())
    raw[60:90] = b"\xff" * 30
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"scan\.zip: .* cannot be unpacked"):
        read_volume(path)
    path.write_bytes(raw[:200])
    with pytest.raises(UserError, match="is no sound zip file"):
        read_volume(path)


def test_an_enhanced_ct_of_one_file_is_a_series(tmp_path: Path) -> None:
    array = voxels((5, 8, 8))
    files = write_series(tmp_path / "classic", array)
    truth = by_simpleitk(files, tmp_path)
    enhanced(files, tmp_path / "one.dcm", [2, 0, 1, 4, 3])
    assert_same(read_volume(tmp_path / "one.dcm"), truth)


def test_files_without_preamble_are_dicom(tmp_path: Path) -> None:
    array = voxels()
    for path in write_series(tmp_path / "ct", array, names=lambda k: f"{k}"):
        ds = pydicom.dcmread(path)
        bare = pydicom.Dataset(dict(ds))
        bare.save_as(path, implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, array)


@pytest.mark.parametrize("name", ["Rows", "PixelSpacing", "SeriesNumber", "StudyInstanceUID"])
def test_an_image_whose_header_is_damaged_is_left_out(tmp_path: Path, name: str) -> None:
    files = write_series(tmp_path / "ct", voxels())
    damage(files[5], name)
    with pytest.warns(UserWarning, match=r"005\.dcm cannot be read .*'TS'.* and is left out"):
        assert read_volume(tmp_path / "ct").shape[0] == 5


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("RescaleSlope", "1,0", "1,0"),
        ("ImagePositionPatient", "1\\2", "has 2 numbers instead of 3"),
        ("ImagePositionPatient", None, "has no ImagePositionPatient"),
        ("PixelSpacing", "", "has no PixelSpacing"),
    ],
)
def test_an_image_that_says_nothing_of_use_is_named(
    tmp_path: Path, name: str, value: str | None, why: str
) -> None:
    files = write_series(tmp_path / "ct", voxels())
    with config.disable_value_validation():
        ds = pydicom.dcmread(files[5])
        raw = ds.get_item(name)
        data = b"" if value is None else value.encode() + b" " * (len(value) % 2)
        ds[name] = RawDataElement(raw.tag, raw.VR, len(data), data, 0, False, True)
        ds.save_as(files[5])
    with pytest.warns(UserWarning, match=rf"005\.dcm cannot be read .*{why}.* and is left out"):
        assert read_volume(tmp_path / "ct").shape[0] == 5


def test_pictures_beside_a_scan_are_passed_over(tmp_path: Path, recwarn) -> None:
    files = write_series(tmp_path / "ct", voxels())
    ds = pydicom.dcmread(files[0])
    ds.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage  # a page of the dose's report
    del ds.ImagePositionPatient
    ds.save_as(tmp_path / "ct" / "report.dcm")
    assert read_volume(tmp_path / "ct").shape[0] == 6
    assert not recwarn.list


def test_empty_counts_of_samples_are_one(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", voxels(), SamplesPerPixel=None)
    (series,) = find_series(tmp_path / "ct")
    assert len(series.slices) == 6


def test_a_file_that_describes_fewer_frames_than_it_has_is_left_out(tmp_path: Path) -> None:
    files = write_series(tmp_path / "classic", voxels((5, 8, 8)))
    enhanced(files, tmp_path / "one.dcm", [2, 0, 1, 4, 3])
    ds = pydicom.dcmread(tmp_path / "one.dcm")
    del ds.PerFrameFunctionalGroupsSequence[-1]
    ds.save_as(tmp_path / "one.dcm")
    with pytest.warns(UserWarning, match="it claims 5 frames and describes 4"):
        assert find_series(tmp_path / "one.dcm") == []


def test_acquisitions_of_frames_are_told_apart(tmp_path: Path) -> None:
    files = [
        path
        for number in (1, 2)
        for path in write_series(tmp_path / f"{number}", voxels((5, 8, 8), seed=number))
    ]
    enhanced(files, tmp_path / "one.dcm", [*range(10)])
    ds = pydicom.dcmread(tmp_path / "one.dcm")
    for number, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        content = pydicom.Dataset()
        content.FrameAcquisitionNumber = 1 + number // 5
        frame.FrameContentSequence = [content]
    ds.save_as(tmp_path / "one.dcm")
    read = read_volume(tmp_path / "one.dcm", series="Abdomen, acquisition 2")
    np.testing.assert_array_equal(read.array, voxels((5, 8, 8), seed=2))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not dicom_files.is_dicom(tmp_path / "pipe")
