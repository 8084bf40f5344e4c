"""Volumes, and their way back to the grids of their files."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_scans import AFFINE, ORDERS, ramp

from mots_pretrained.images.nifti import write_nifti
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, canonical, write_like


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


def test_a_volume_from_memory_round_trips(tmp_path: Path) -> None:
    volume = Volume.with_spacing(ramp(), (3.0, 2.0, 1.0))
    write_like(tmp_path / "a.nii.gz", volume.array, volume, dtype=np.int16)
    back = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-6)
    assert nib.aff2axcodes(nib.load(tmp_path / "a.nii.gz").affine) == ("L", "P", "S")


@pytest.mark.parametrize("codes", ORDERS)
def test_an_array_in_another_order_than_the_canonical_one_is_refused(codes: str) -> None:
    """Spacing and sides were silently those of other axes."""
    transform = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(AFFINE), nib.orientations.axcodes2ornt(tuple(codes))
    )
    affine = AFFINE @ nib.orientations.inv_ornt_aff(transform, (7, 6, 5))
    array = np.zeros((4, 5, 6), np.int16)
    if codes == "SPL":
        assert Volume(array, affine).spacing == (4.0, 2.5, 1.5)
        return
    message = rf"towards {codes}, where \(D, H, W\) run towards SPL; .*canonical\(array, affine\)"
    with pytest.raises(ValueError, match=message):
        Volume(array, affine)


def test_what_canonical_gives_may_be_made_anew_however_it_is_turned() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        affine = np.eye(4)
        affine[:3, :3] = turn * rng.uniform(0.5, 5, 3)
        volume = canonical(np.zeros((2, 3, 4), np.int16), affine)
        assert Volume(volume.array, volume.affine).spacing == volume.spacing


def test_4d_with_one_channel_is_3d_and_its_map_too(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(ramp()[..., None], AFFINE), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.array.ndim == 3
    write_like(tmp_path / "b.nii.gz", volume.array % 2, volume)
    assert nib.load(tmp_path / "b.nii.gz").shape == (5, 6, 7)


def test_grids_lie_apart_by_their_farthest_corners():
    one = Volume.with_spacing(np.zeros((10, 20, 30), np.uint8), (3.0, 2.0, 1.0))
    shifted, coarser = one.affine.copy(), one.affine.copy()
    shifted[:3, 3] += 0.03, -0.04, 0  # mm, so 0.05 of the smallest voxel
    coarser[:3, :3] *= 1.009  # a hundredth of a step adds up over thirty of them
    assert one.apart(Volume(one.array, shifted)) == pytest.approx(0.05)
    expected = 0.009 * np.linalg.norm([10 * 3, 20 * 2, 30 * 1])
    assert one.apart(Volume(one.array, coarser)) == pytest.approx(expected)
    assert one.apart(Volume(one.array[1:], one.affine)) == np.inf


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("degrees", [45, 135, 225, 315])
def test_grids_at_45_degrees_are_one_whatever_their_rounding(tmp_path, axes, degrees):
    """Each file's axes were named after another axis of the body, as its header was rounded."""
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    volumes = []
    for error in (0, 1e-6, -1e-6, 1e-4, -1e-4):
        turn = np.deg2rad(degrees) + error
        affine = np.eye(4)
        affine[np.ix_(axes, axes)] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        affine = affine @ np.diag([3.0, 3.0, 4.0, 1.0])
        path = tmp_path / "a.nii.gz"
        nib.save(nib.Nifti1Image(array, affine), path)
        volumes.append(read_volume(path))
        write_like(path, volumes[-1].array, volumes[-1], dtype=np.int16)
        np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), array)
    for volume in volumes:
        assert volume.apart(volumes[0]) < 0.01
        np.testing.assert_array_equal(volume.array, volumes[0].array)
