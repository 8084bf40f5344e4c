"""Reading scans: canonical axes, channels, labels, and one line for every bad input."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_series import (
    voxels,
    write_series,
)
from small_scans import AFFINE, ORDERS, ramp

from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_channels, read_labels, read_volume
from mots_pretrained.images.volume import write_like


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


def test_channels_may_be_series(tmp_path: Path) -> None:
    arrays = [voxels(seed=1), voxels(seed=2)]
    for name, array in zip("ab", arrays, strict=True):
        write_series(tmp_path / name, array, Modality="MR", intercept=0)
    np.testing.assert_array_equal(read_channels([tmp_path / "a", tmp_path / "b"]).array, arrays)
