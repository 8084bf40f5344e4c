"""Reading and writing scans: canonical axes, the way back, and one line for every bad input."""

import gzip
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import (
    Volume,
    list_volumes,
    read_channels,
    read_labels,
    read_volume,
    stem,
    write_like,
    write_nifti,
)

ORDERS = [
    "".join(codes)
    for names in itertools.permutations(("LR", "PA", "IS"))
    for codes in itertools.product(*names)
]


def store(path: Path, array: np.ndarray, affine: np.ndarray, codes: str) -> Path:
    """Write a RAS array in another axis order, as a scanner or a viewer might."""
    image = nib.Nifti1Image(array, affine)
    transform = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    moved = image.as_reoriented(transform)
    moved.set_sform(moved.affine, 1)
    moved.set_qform(moved.affine, 1)
    nib.save(moved, path)
    return path


def ramp(shape: tuple[int, ...] = (5, 6, 7)) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


AFFINE = np.array([[1.5, 0, 0, -20], [0, 2.5, 0, 7], [0, 0, 4.0, 100], [0, 0, 0, 1]])


def test_axes_run_to_head_back_and_left(tmp_path: Path) -> None:
    array = np.zeros((5, 6, 7), np.int16)
    array[4, 0, 6] = 1  # the most right, most posterior, highest voxel of a RAS file
    volume = read_volume(store(tmp_path / "a.nii.gz", array, AFFINE, "RAS"))
    assert volume.array.shape == (7, 6, 5)
    assert np.argwhere(volume.array).tolist() == [[6, 5, 0]]
    assert volume.spacing == pytest.approx((4.0, 2.5, 1.5))
    # its centre in the world, by either affine
    world = volume.affine @ [6, 5, 0, 1]
    assert world[:3] == pytest.approx((AFFINE @ [4, 0, 6, 1])[:3])
    assert volume.name == "a"


def test_all_48_orders_read_the_same_and_write_back(tmp_path: Path) -> None:
    assert len(set(ORDERS)) == 48
    reference = read_volume(store(tmp_path / "ras.nii", ramp(), AFFINE, "RAS"))
    labels = (reference.array % 11).astype(np.uint8)
    for codes in ORDERS:
        path = store(tmp_path / f"{codes}.nii", ramp(), AFFINE, codes)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, reference.array)
        np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-5)
        assert volume.array.flags.c_contiguous
        write_like(tmp_path / "out.nii.gz", labels, volume)
        source, result = nib.load(path), nib.load(tmp_path / "out.nii.gz")
        np.testing.assert_array_equal(
            np.asarray(result.dataobj), np.asarray(source.dataobj) % 11, strict=False
        )
        np.testing.assert_array_equal(result.affine, source.affine)


@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (2, 0), (0, 1), (4, 3)])
def test_written_map_keeps_geometry_and_form_codes(tmp_path: Path, sform: int, qform: int) -> None:
    turn = np.deg2rad(10)
    oblique = np.eye(4)
    oblique[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    write_nifti(
        tmp_path / "ct.nii.gz", ramp(), oblique @ AFFINE, sform_code=sform, qform_code=qform
    )
    volume = read_volume(tmp_path / "ct.nii.gz")
    assert volume.spacing == pytest.approx((4.0, 2.5, 1.5), rel=1e-5)
    write_like(tmp_path / "seg.nii.gz", np.ones(volume.shape, np.uint8), volume)
    before, after = nib.load(tmp_path / "ct.nii.gz"), nib.load(tmp_path / "seg.nii.gz")
    assert after.get_data_dtype() == np.uint8
    assert after.shape == before.shape
    np.testing.assert_array_equal(after.affine, before.affine)
    for name in ("sform_code", "qform_code", "xyzt_units", "pixdim", "srow_x", "qoffset_y"):
        np.testing.assert_array_equal(after.header[name], before.header[name])
    assert list(tmp_path.glob(".*")) == []


def test_disagreeing_forms_are_both_kept(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), AFFINE)
    image.set_sform(AFFINE, 2)
    image.set_qform(np.diag([1.5, 2.5, 4.0, 1.0]), 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.warns(UserWarning, match="its qform and sform contradict each other"):
        volume = read_volume(tmp_path / "a.nii")
    write_like(tmp_path / "b.nii", volume.array % 2, volume)
    result = nib.load(tmp_path / "b.nii")
    np.testing.assert_allclose(result.get_qform(), np.diag([1.5, 2.5, 4.0, 1.0]), atol=1e-6)
    np.testing.assert_allclose(result.get_sform(), AFFINE)


def test_header_extensions_are_passed_over_and_not_left_as_a_gap(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 4000))
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.restore(volume.array), ramp())
    write_like(tmp_path / "b.nii", volume.array % 2, volume)
    assert (tmp_path / "b.nii").stat().st_size == 352 + 210
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "b.nii").dataobj), ramp() % 2)


def test_a_volume_from_memory_round_trips(tmp_path: Path) -> None:
    volume = Volume.with_spacing(ramp(), (3.0, 2.0, 1.0))
    write_like(tmp_path / "a.nii.gz", volume.array, volume, dtype=np.int16)
    back = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-6)
    assert nib.aff2axcodes(nib.load(tmp_path / "a.nii.gz").affine) == ("L", "P", "S")


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


def test_labels_a_rounding_from_whole_numbers_are_read_as_those(tmp_path: Path) -> None:
    whole = (ramp() % 3).astype(np.float64)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)  # nibabel then scales by 2 / 65535
    nib.save(nib.Nifti1Image(whole, AFFINE, header), tmp_path / "scaled.nii.gz")
    assert (np.unique(nib.load(tmp_path / "scaled.nii.gz").get_fdata()) % 1).max() > 0
    nib.save(nib.Nifti1Image(whole.astype("f4") * np.float32(1 + 1e-7), AFFINE), tmp_path / "a.nii")
    nib.save(nib.Nifti1Image(whole.astype(np.uint8), AFFINE), tmp_path / "exact.nii.gz")
    exact = read_labels(tmp_path / "exact.nii.gz").array
    assert exact.dtype == np.int32
    assert np.unique(exact).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(read_labels(tmp_path / "scaled.nii.gz").array, exact)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nii").array, exact)


def test_other_labels_are_refused_with_what_to_do(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image((ramp() > 9).astype("f4") / 2, AFFINE), tmp_path / "half.nii.gz")
    with pytest.raises(UserError, match=r"whole numbers; \S+half\.nii\.gz holds 0\.5; round them"):
        read_labels(tmp_path / "half.nii.gz")
    nib.save(nib.Nifti1Image(ramp() * 2, AFFINE), tmp_path / "large.nii.gz")
    with pytest.raises(UserError, match="values 0 to 418 do not fit uint8"):
        read_volume(tmp_path / "large.nii.gz", dtype=np.uint8)
    pair = np.stack([ramp() % 2, ramp() % 2], axis=-1)
    nib.save(nib.Nifti1Image(pair, AFFINE), tmp_path / "pair.nii.gz")
    with pytest.raises(UserError, match="has 2 channels; a label map has one"):
        read_labels(tmp_path / "pair.nii.gz")


def test_volumes_are_listed_once_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    for name in ("b.nii", "a.NII.GZ", "._a.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "dicom.nii").mkdir()
    assert [path.name for path in list_volumes(tmp_path)] == ["a.NII.GZ", "b.nii"]


def test_channels_from_one_4d_file_or_one_file_each(tmp_path: Path) -> None:
    pair = np.stack([ramp(), ramp() + 1000], axis=-1)
    nib.save(nib.Nifti1Image(pair, AFFINE), tmp_path / "pair.nii.gz")
    nib.save(nib.Nifti1Image(ramp(), AFFINE), tmp_path / "a.nii.gz")
    store(tmp_path / "b.nii.gz", ramp() + 1000, AFFINE, "PSL")
    together = read_volume(tmp_path / "pair.nii.gz")
    apart = read_channels([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"])
    assert together.channels == apart.channels == 2
    np.testing.assert_array_equal(together.array, apart.array)
    np.testing.assert_array_equal(together.restore(together.array), pair)
    store(tmp_path / "c.nii.gz", ramp((5, 6, 8)), AFFINE, "RAS")
    with pytest.raises(ValueError, match="resample the channels to one grid"):
        read_channels([tmp_path / "a.nii.gz", tmp_path / "c.nii.gz"])
    with pytest.raises(ValueError, match="no scan given"):
        read_channels([])


def test_4d_with_one_channel_is_3d_and_its_map_too(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(ramp()[..., None], AFFINE), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.array.ndim == 3
    write_like(tmp_path / "b.nii.gz", volume.array % 2, volume)
    assert nib.load(tmp_path / "b.nii.gz").shape == (5, 6, 7)


def test_no_form_code_is_assumed_and_warned_of(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), None)
    image.header.set_zooms((1.5, 2.5, 4.0))
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.warns(UserWarning, match="both form codes are 0"):
        volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.spacing == pytest.approx((4.0, 2.5, 1.5))
    np.testing.assert_array_equal(volume.array, ramp().transpose(2, 1, 0)[:, ::-1])
    write_like(tmp_path / "b.nii.gz", volume.array % 2, volume)
    header = nib.load(tmp_path / "b.nii.gz").header
    assert (header["sform_code"], header["qform_code"]) == (0, 0)


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
        path = tmp_path / "scan.nrrd"
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
    "folder": "is a folder; give a .nii",
    "empty": r"is empty \(0 bytes\)",
    "suffix": "only NIfTI is read",
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


def test_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: nowhere/ct\.nii\.gz; give"):
        read_volume("nowhere/ct.nii.gz")


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


def test_stem_drops_both_suffixes() -> None:
    assert [stem(x) for x in ("a/ct.nii.gz", "ct.v2.nii", "CT.NII.GZ")] == ["ct", "ct.v2", "CT"]


def test_real_ct_is_upright_and_written_back(tmp_path: Path, shared: Path) -> None:
    path = shared / "data" / "ts_patientA_ct" / "example_ct.nii.gz"
    volume = read_volume(path)
    assert volume.array.shape == (112, 101, 122)
    assert volume.spacing == pytest.approx((3.0, 3.0, 3.0))
    stored = np.asarray(nib.load(path).dataobj)
    np.testing.assert_array_equal(volume.array, stored.transpose(2, 1, 0)[:, ::-1, ::-1])
    write_like(tmp_path / "seg.nii.gz", volume.array > 0, volume)
    result = nib.load(tmp_path / "seg.nii.gz")
    np.testing.assert_array_equal(result.affine, nib.load(path).affine)
    np.testing.assert_array_equal(np.asarray(result.dataobj), stored > 0)


def test_other_units_than_millimetres_are_refused(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([0.001, 0.001, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "metres.nii.gz")
    with pytest.raises(ValueError, match="measures in meters; write its header in mm"):
        read_volume(tmp_path / "metres.nii.gz")


def test_grids_lie_apart_by_their_farthest_corners():
    one = Volume.with_spacing(np.zeros((10, 20, 30), np.uint8), (3.0, 2.0, 1.0))
    shifted, coarser = one.affine.copy(), one.affine.copy()
    shifted[:3, 3] += 0.03, -0.04, 0  # mm, so 0.05 of the smallest voxel
    coarser[:3, :3] *= 1.009  # a hundredth of a step adds up over thirty of them
    assert one.apart(Volume(one.array, shifted)) == pytest.approx(0.05)
    expected = 0.009 * np.linalg.norm([10 * 3, 20 * 2, 30 * 1])
    assert one.apart(Volume(one.array, coarser)) == pytest.approx(expected)
    assert one.apart(Volume(one.array[1:], one.affine)) == np.inf


def forms(path: Path, sform: np.ndarray, qform: np.ndarray) -> Path:
    image = nib.Nifti1Image(ramp(), None)
    image.header.set_qform(qform, 1)
    image.header.set_sform(sform, 1)
    image.to_filename(path)
    return path


def test_a_qform_that_contradicts_the_sform_is_warned_of(tmp_path: Path) -> None:
    swapped = np.diag([-1.0, 1, 1, 1]) @ AFFINE
    path = forms(tmp_path / "a.nii.gz", AFFINE, swapped)
    with pytest.warns(UserWarning, match=r"contradict each other \(.*40\.0 mm.*LAS and RAS\)"):
        volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, ramp().transpose(2, 1, 0)[:, ::-1, ::-1])


def test_a_spacing_that_contradicts_the_sform_is_warned_of(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), None)
    image.header.set_sform(AFFINE, 1)
    image.header["pixdim"][1:4] = 1, 1, 3
    image.to_filename(tmp_path / "a.nii.gz")
    with pytest.warns(UserWarning, match=r"1 x 1 x 3 mm by pixdim and 1\.5 x 2\.5 x 4 mm"):
        assert read_volume(tmp_path / "a.nii.gz").spacing == pytest.approx((4.0, 2.5, 1.5))


@pytest.mark.parametrize("degrees", [0.0, 10.0, 179.999])
def test_forms_that_agree_are_not_warned_of(tmp_path: Path, degrees: float) -> None:
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = read_volume(forms(tmp_path / "a.nii.gz", turn @ AFFINE, turn @ AFFINE))
    assert volume.spacing == pytest.approx((4.0, 2.5, 1.5))
