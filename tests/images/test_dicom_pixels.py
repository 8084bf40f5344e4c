"""Stored values become CT numbers: rescaled, decompressed, padding as air."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_series import (
    damage,
    enhanced,
    voxels,
    write_series,
    zipped,
)
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames

from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_volume


def test_slope_and_intercept_are_each_slices_own(tmp_path: Path) -> None:
    array = voxels((3, 8, 8))
    write_series(tmp_path / "whole", array, intercept=[-1024, 0, -1000])
    whole = read_volume(tmp_path / "whole")
    assert whole.array.dtype == np.int16
    np.testing.assert_array_equal(whole.array, array)
    slope, intercept = [0.5, 2, 1], [0.25, 0, 0]
    write_series(tmp_path / "parts", array, slope=slope, intercept=intercept)
    parts = read_volume(tmp_path / "parts")
    assert parts.array.dtype == np.float32
    scale, shift = (np.array(numbers)[:, None, None] for numbers in (slope, intercept))
    expected = np.rint((array - shift) / scale) * scale + shift
    np.testing.assert_array_equal(parts.array, expected.astype(np.float32))


def test_values_beyond_16_bits_and_beside_the_stored_ones(tmp_path: Path) -> None:
    array = np.full((3, 8, 8), 40000, np.int32)
    array[1] = -7
    write_series(tmp_path / "wide", array, intercept=30000)
    np.testing.assert_array_equal(read_volume(tmp_path / "wide").array, array)
    files = write_series(tmp_path / "12", voxels((3, 8, 8)) * 0 + 100, intercept=0)
    for path in files:
        ds = pydicom.dcmread(path)
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
        ds.PixelData = (np.full((8, 8), 100, "<u2") | 0xF000).tobytes()  # an overlay in the rest
        ds.save_as(path)
    assert set(np.unique(read_volume(tmp_path / "12").array)) == {100}


def test_padding_is_air_where_it_reaches_the_edge(tmp_path: Path) -> None:
    array = np.full((3, 8, 8), 20, np.int16)
    array[:, 0] = array[:, 4, 4] = 0  # the padding value 0 is water in the middle
    write_series(tmp_path / "a", array, intercept=0, PixelPaddingValue=0)
    read = read_volume(tmp_path / "a").array
    assert (read[:, 0] == -1024).all()
    assert (read[:, 4, 4] == 0).all()
    array[:, 0] = -3024
    write_series(tmp_path / "b", array, PixelPaddingValue=-2000)
    np.testing.assert_array_equal(read_volume(tmp_path / "b").array, array)  # below air already
    array[2] = -1024
    write_series(tmp_path / "c", array)  # a blank slice at the end, as some exports add
    np.testing.assert_array_equal(read_volume(tmp_path / "c").array, array)


def compressed(files: list[Path], syntax: str) -> None:
    for path in files:
        ds = pydicom.dcmread(path)
        ds.compress(syntax)
        ds.save_as(path)


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEGLSLossless"])
def test_pydicoms_plugins_decompress(tmp_path: Path, syntax: str) -> None:
    array = voxels()
    compressed(write_series(tmp_path / "ct", array), getattr(pydicom.uid, syntax))
    np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, array)


def jpeg(files: list[Path], planes: NDArray[Any], compressor: str) -> None:
    """Put planes of stored values, losslessly compressed by SimpleITK, into files."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    for path, plane in zip(files, planes, strict=True):
        writer.SetFileName(str(path.with_suffix(".packed")))
        writer.Execute(sitk.GetImageFromArray(plane))
        packed, ds = pydicom.dcmread(path.with_suffix(".packed")), pydicom.dcmread(path)
        path.with_suffix(".packed").unlink()
        ds.PixelData = packed.PixelData
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        ds.save_as(path)
    assert ds.file_meta.TransferSyntaxUID.is_compressed


# pydicom alone reads JPEG 2000 (by pillow) but no lossless JPEG, which SimpleITK does
@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG"])
def test_lossless_jpeg_is_decompressed(tmp_path: Path, compressor: str) -> None:
    array = voxels((4, 16, 16))
    jpeg(write_series(tmp_path / "ct", array, intercept=0), array, compressor)
    np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, array)
    path = zipped(tmp_path / "ct", tmp_path / "ct.zip")
    np.testing.assert_array_equal(read_volume(path).array, array)


@pytest.mark.parametrize("kind", ["int16", "uint16"])
def test_lossless_jpeg_is_neither_inverted_nor_rescaled_twice(tmp_path: Path, kind: str) -> None:
    stored = voxels((4, 16, 16)) + (1024 if kind == "uint16" else 0)
    signed = int(kind == "int16")
    files = write_series(tmp_path, voxels((4, 16, 16)), PhotometricInterpretation="MONOCHROME1",
                         intercept=[-1024, -1000, 7.5, 0], slope=[1, 2, 0.5, 1],
                         PixelRepresentation=signed)  # fmt: skip
    jpeg(files, stored.astype(kind), "JPEG")
    slope, intercept = np.array([[1, 2, 0.5, 1], [-1024, -1000, 7.5, 0]])[..., None, None]
    np.testing.assert_array_equal(read_volume(tmp_path).array, stored * slope + intercept)


def test_frames_in_lossless_jpeg_are_rescaled_each_by_its_own(tmp_path: Path) -> None:
    array = voxels((5, 16, 16))
    files = write_series(tmp_path / "ct", array, intercept=0)
    enhanced(files, tmp_path / "one.dcm", [2, 0, 1, 4, 3])
    jpeg(files, array, "JPEG")
    ds = pydicom.dcmread(tmp_path / "one.dcm")
    packed = [pydicom.dcmread(files[k]) for k in (2, 0, 1, 4, 3)]
    frames = [next(generate_frames(one.PixelData, number_of_frames=1)) for one in packed]
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = packed[0].file_meta.TransferSyntaxUID
    del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for number, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        own = pydicom.Dataset()
        own.RescaleSlope, own.RescaleIntercept = 1, -1000 - 10 * number
        frame.PixelValueTransformationSequence = [own]
    ds.save_as(tmp_path / "one.dcm")
    moved = np.array([-1010, -1020, -1000, -1040, -1030])[:, None, None]
    np.testing.assert_array_equal(read_volume(tmp_path / "one.dcm").array, array + moved)


@pytest.mark.parametrize("padding", [63536, 0x0830])
def test_padding_is_looked_for_among_the_bits_that_are_stored(tmp_path: Path, padding: int) -> None:
    cells = np.full((3, 8, 8), 1044, np.uint16)  # 20 HU
    cells[:, 0] = padding  # of 63536 twelve bits are left, which is 0x830, 1072 HU
    files = write_series(tmp_path, np.zeros((3, 8, 8)), BitsStored=12, HighBit=11,
                         PixelRepresentation=0)  # fmt: skip
    for path, plane in zip(files, cells, strict=True):
        ds = pydicom.dcmread(path)
        ds.PixelData = plane.tobytes()
        ds.add_new("PixelPaddingValue", "US", padding)
        ds.save_as(path)
    read = read_volume(tmp_path).array
    assert set(np.unique(read[:, 0])) == {-1024}
    assert set(np.unique(read[:, 1:])) == {20}


def justified(path: Path, bits: int, high: int, *, signed: bool, extra: int = 0) -> None:
    """Move the stored values of a file so that they end at a bit; ``extra`` lies below them."""
    ds = pydicom.dcmread(path)
    stored = np.frombuffer(ds.PixelData, "<i2").astype(np.int64) & ((1 << bits) - 1)
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, high, int(signed)
    ds.PixelData = ((stored << (high + 1 - bits)) | extra).astype("<u2").tobytes()
    ds.save_as(path)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high", [11, 13, 15])
@pytest.mark.parametrize("packed", [False, True])
def test_values_that_end_at_a_higher_bit_are_shifted(tmp_path: Path, signed, high, packed) -> None:
    """Left-justified ones were read sixteen times as large, without their upper bits."""
    array = voxels((3, 8, 8))
    files = write_series(tmp_path, array, intercept=0 if signed else -1024)
    for path in files:
        justified(path, 12, high, signed=signed)
    if packed:
        compressed(files, pydicom.uid.RLELossless)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


@pytest.mark.parametrize("high", [10, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_right_justified_values_are_read_whatever_the_high_bit(tmp_path, high, signed) -> None:
    array = voxels((3, 8, 8))
    for path in write_series(tmp_path, array, intercept=0 if signed else -1024):
        ds = pydicom.dcmread(path)
        stored = np.frombuffer(ds.PixelData, "<i2")
        assert (stored & 1).any()
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, high, int(signed)
        ds.save_as(path)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


def test_a_high_bit_that_the_pixels_contradict_is_refused_in_one_line(tmp_path: Path) -> None:
    for name, high, extra in (("lies", 15, 1), ("beyond", 16, 0), ("below", 10, 0)):
        for path in write_series(tmp_path / name, voxels((3, 8, 8))):
            justified(path, 12, 15, signed=False, extra=extra)
            ds = pydicom.dcmread(path)
            ds.HighBit = high
            ds.save_as(path)
        with pytest.raises(
            UserError, match=rf"000\.dcm says that its 12 bits .* bit {high},"
        ) as told:
            read_volume(tmp_path / name)
        assert "\n" not in str(told.value)


def test_what_jpeg_decodes_to_is_right_justified(tmp_path: Path) -> None:
    array = voxels((3, 16, 16)) + 1024
    files = write_series(tmp_path, array, intercept=0, BitsStored=12, HighBit=11,
                         PixelRepresentation=0)  # fmt: skip
    compressed(files, pydicom.uid.JPEGLSLossless)
    for path in files:
        ds = pydicom.dcmread(path)
        ds.HighBit = 15
        ds.save_as(path)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


def test_signed_padding_of_unsigned_values_is_found(tmp_path: Path) -> None:
    files = write_series(tmp_path, np.full((3, 8, 8), 20), PixelRepresentation=0)
    for path in files:
        ds = pydicom.dcmread(path)
        cells = np.frombuffer(ds.PixelData, "<u2").reshape(8, 8).copy()
        cells[0] = 63536
        ds.PixelData = cells.tobytes()
        ds.add_new("PixelPaddingValue", "SS", -2000)
        ds.save_as(path)
    assert set(np.unique(read_volume(tmp_path).array)) == {-1024, 20}


def test_values_kept_by_a_table_are_refused(tmp_path: Path) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [2, 0, 16], "HU", bytes(4)
    write_series(tmp_path, voxels(), ModalityLUTSequence=pydicom.Sequence([table]))
    with pytest.raises(UserError, match=r"000\.dcm keeps its values by a table"):
        read_volume(tmp_path)


def test_an_image_without_the_others_rescaling_is_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path, voxels())
    ds = pydicom.dcmread(files[4])
    del ds.RescaleSlope, ds.RescaleIntercept
    ds.save_as(files[4])
    with pytest.raises(UserError, match=r"1 of its 6 images, such as .*004\.dcm, do not say how"):
        read_volume(tmp_path)


def test_what_nothing_decompresses_is_named(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels())
    compressed(files, pydicom.uid.RLELossless)
    for path in files:
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
        ds.save_as(path)
    with pytest.raises(UserError, match=r"High-Throughput JPEG 2000.*pip install pylibjpeg"):
        read_volume(tmp_path / "ct")


def test_damaged_images_are_named_in_one_line(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels())
    files[2].write_bytes(files[2].read_bytes()[:-40])
    with pytest.raises(UserError, match=r"002\.dcm .*fetch it again") as caught:
        read_volume(tmp_path / "ct")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["BitsStored", "PixelRepresentation", "PixelPaddingValue"])
def test_elements_of_no_known_kind_are_named_in_one_line(tmp_path: Path, name: str) -> None:
    files = write_series(tmp_path / "ct", voxels(), PixelPaddingValue=-2000)
    damage(files[2], name)
    with pytest.raises(
        UserError, match=r"002\.dcm is damaged \(.*'TS'.*; fetch it again"
    ) as caught:
        read_volume(tmp_path / "ct")
    assert "\n" not in str(caught.value)


def test_big_endian_and_deflated_files_are_read(tmp_path: Path) -> None:
    array = voxels()
    for kind in ("ExplicitVRBig", "DeflatedExplicitVRLittle", "ImplicitVRLittle"):
        syntax = f"{kind}Endian"
        for path in write_series(tmp_path / syntax, array):
            read, ds = pydicom.dcmread(path), pydicom.Dataset()
            ds.update(read)
            ds.file_meta = read.file_meta
            ds.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
            if "Big" in syntax:
                ds.PixelData = np.frombuffer(ds.PixelData, "<i2").astype(">i2").tobytes()
            ds.save_as(path, enforce_file_format=True)
        np.testing.assert_array_equal(read_volume(tmp_path / syntax).array, array)
