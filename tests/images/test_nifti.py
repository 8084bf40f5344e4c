"""NIfTI files: small types, one line for every bad file, nothing half-written."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_scans import AFFINE, ramp

from mots_pretrained.images.nifti import write_nifti
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, write_like


def test_types_stay_small_and_scaling_is_applied(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(ramp(), AFFINE), tmp_path / "int16.nii")
    assert read_volume(tmp_path / "int16.nii").array.dtype == np.int16
    nib.save(nib.Nifti1Image(ramp().astype(np.float64), AFFINE), tmp_path / "float64.nii.gz")
    assert read_volume(tmp_path / "float64.nii.gz").array.dtype == np.float32
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    scaled = nib.Nifti1Image(ramp() * 0.5 - 3, AFFINE, header)
    nib.save(scaled, tmp_path / "scaled.nii.gz")
    volume = read_volume(tmp_path / "scaled.nii.gz")
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(
        np.sort(volume.array, axis=None), np.arange(210) * 0.5 - 3, atol=2e-3
    )
    big_endian = nib.Nifti1Image(ramp(), AFFINE, nib.Nifti1Header(endianness=">"))
    nib.save(big_endian, tmp_path / "big.nii")
    np.testing.assert_array_equal(
        read_volume(tmp_path / "big.nii").array, read_volume(tmp_path / "int16.nii").array
    )
    nib.save(nib.Nifti2Image(ramp(), AFFINE), tmp_path / "two.nii.gz")
    assert read_volume(tmp_path / "two.nii.gz").shape == (7, 6, 5)


def test_header_extensions_are_passed_over_and_not_left_as_a_gap(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 4000))
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.restore(volume.array), ramp())
    write_like(tmp_path / "b.nii", volume.array % 2, volume)
    assert (tmp_path / "b.nii").stat().st_size == 352 + 210
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "b.nii").dataobj), ramp() % 2)


def broken(tmp_path: Path, kind: str) -> Path:
    """Make a file with one fault."""
    path = tmp_path / f"{kind.replace(' ', '_')}.nii.gz"
    good = nib.Nifti1Image(ramp(), AFFINE)
    array = ramp().astype(np.float32)
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "suffix":
        path = tmp_path / "scan.img"
        path.write_bytes(b"NRRD0004")
    elif kind == "text":
        path.write_bytes(gzip.compress(b"this is no scan" * 100))
    elif kind == "no gzip":
        path.write_bytes(good.to_bytes())
    elif kind == "short header":
        path.write_bytes(gzip.compress(good.to_bytes()[:100]))
    elif kind == "truncated gzip":
        noise = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)
        whole = gzip.compress(nib.Nifti1Image(noise, AFFINE).to_bytes())
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "truncated data":
        path = tmp_path / "truncated.nii"
        path.write_bytes(good.to_bytes()[:-10])
    elif kind == "huge":
        nib.save(good, path)
        raw = bytearray(gzip.decompress(path.read_bytes()))
        raw[42:48] = np.array([30000] * 3, np.int16).tobytes()
        path.write_bytes(gzip.compress(bytes(raw)))
    elif kind == "checksum":
        whole = bytearray(gzip.compress(good.to_bytes()))
        whole[-8] ^= 1
        path.write_bytes(whole)
    elif kind == "2d":
        nib.save(nib.Nifti1Image(ramp()[:, :, 0], AFFINE), path)
    elif kind == "one slice":
        nib.save(nib.Nifti1Image(ramp()[:1], AFFINE), path)
    elif kind == "5d":
        nib.save(nib.Nifti1Image(np.zeros((5, 6, 7, 1, 3), np.int16), AFFINE), path)
    elif kind == "rgb":
        colour = np.zeros((5, 6, 7), [("R", "u1"), ("G", "u1"), ("B", "u1")])
        nib.save(nib.Nifti1Image(colour, AFFINE), path)
    elif kind == "complex":
        nib.save(nib.Nifti1Image(array.astype(np.complex64), AFFINE), path)
    elif kind == "nan":
        array[0, 0, :3], array[1, 1, 1] = np.nan, np.inf
        nib.save(nib.Nifti1Image(array, AFFINE), path)
    elif kind in ("zero spacing", "negative spacing"):
        nib.save(good, path)
        raw = bytearray(gzip.decompress(path.read_bytes()))
        raw[80:84] = np.float32(0.0 if kind == "zero spacing" else -1.5).tobytes()
        path.write_bytes(gzip.compress(bytes(raw)))
    elif kind in ("singular", "nan affine", "zero column"):
        nib.save(good, path)
        raw = bytearray(gzip.decompress(path.read_bytes()))
        row = {"singular": [0, 2.5, 0, 0], "nan affine": [np.nan] * 4, "zero column": [0] * 4}[kind]
        raw[280:296] = np.array(row, np.float32).tobytes()
        path.write_bytes(gzip.compress(bytes(raw)))
    return path


FAULTS = {
    "folder": "holds no DICOM image",
    "empty": r"is empty \(0 bytes\)",
    "suffix": "only NIfTI, NRRD, MHA and DICOM are read",
    "text": "is not a NIfTI file",
    "no gzip": "no sound gzip file",
    "short header": "its header ends early",
    "truncated gzip": "gzip stream ends early",
    "truncated data": "is truncated: its header promises 420 bytes",
    "huge": "is truncated: its header promises 54000000000000 bytes",
    "checksum": "no sound gzip file",
    "2d": r"is 2D \(5x6\)",
    "one slice": r"is 2D \(1x6x7\)",
    "5d": r"has 5 axes \(5x6x7x1x3\)",
    "rgb": "holds RGB colours",
    "complex": "holds complex64 values",
    "nan": "4 of 210 voxels are NaN or infinite",
    "zero spacing": "spacing 0 x 2.5 x 4 mm must be above zero",
    "negative spacing": "spacing -1.5 x 2.5 x 4 mm must be above zero",
    "singular": "the affine cannot be inverted",
    "nan affine": "the affine must be 4x4 and finite",
    "zero column": "the affine cannot be inverted",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_bad_input_is_one_plain_line(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path, kind)
    with pytest.raises(ValueError, match=FAULTS[kind]) as caught:
        read_volume(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message


def test_nothing_half_written(tmp_path: Path) -> None:
    volume = Volume.with_spacing(ramp(), (1, 1, 1))
    with pytest.raises(ValueError, match="do not fit uint8"):
        write_like(tmp_path / "a.nii.gz", ramp() * 2, volume)
    with pytest.raises(ValueError, match="the scan's grid is"):
        write_like(tmp_path / "a.nii.gz", ramp((5, 6, 8)), volume)
    with pytest.raises(ValueError, match="only NIfTI is written"):
        write_like(tmp_path / "a.png", ramp() % 2, volume)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_like(tmp_path / "none" / "a.nii", ramp() % 2, volume)
    with pytest.raises(ValueError, match="cannot be inverted"):
        write_nifti(tmp_path / "a.nii.gz", ramp(), np.diag([1.0, 1, 0, 1]))
    assert list(tmp_path.iterdir()) == []
