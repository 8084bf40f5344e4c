"""Slices at uneven distances: filled, interpolated, refused, and results on the slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_series import (
    voxels,
    write_series,
)

from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.uneven import EvenPlanes, even_planes
from mots_pretrained.images.volume import write_like


def test_planes_between_slices_are_mixed_and_slices_stay_themselves() -> None:
    # slices at planes 0, 1, 2.5 and 4 of five
    planes = EvenPlanes(5, np.array([0.0, 1.0, 2.5, 4.0]))
    whole = planes.fill(np.array([[0], [30], [60], [100]], np.int16))
    assert whole.dtype == np.int16
    # plane 2 is two thirds from the second to the third slice, plane 3 one third on to the fourth
    assert whole[:, 0].tolist() == [0, 30, 50, 73, 100]
    parts = planes.fill(np.array([[0.0], [30], [60], [100]], np.float32))
    np.testing.assert_allclose(parts[:, 0], [0, 30, 50, 60 + 40 / 3, 100], rtol=1e-6)
    # results: the plane nearest to each slice; 2.5 rounds to the even one
    assert planes.back(np.arange(5), axis=0).tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize(
    "positions",
    [
        np.arange(8) * 2.5 - 100,
        np.round(np.arange(20) * 0.625, 1),  # headers round
        np.array([0, 5.1, 9.9, 15]),  # up to a twenty-fifth of the distance
    ],
    ids=["even", "rounded", "nearly"],
)
def test_even_slices_need_no_grid(positions) -> None:
    assert even_planes(positions, "ct") is None


def test_a_gap_of_up_to_six_millimetres_is_filled_between_thin_slices() -> None:
    positions = np.array([0, 1, 2, 3, 4, 10.0])
    with pytest.warns(UserWarning, match=r"6 slices are 1 to 6 mm apart, mostly 1; .* 11 planes"):
        planes = even_planes(positions, "ct")
    assert planes.count == 11
    np.testing.assert_allclose(planes.places, positions)
    with pytest.raises(UserError, match=r"6\.1 mm lie between slices 5 and 6 of 6, elsewhere 1 mm"):
        even_planes(np.array([0, 1, 2, 3, 4, 10.1]), "ct")


def test_a_missing_slice_is_filled_and_told(tmp_path: Path) -> None:
    array = voxels((7, 8, 8))
    files = write_series(tmp_path / "ct", array, step=5)
    files[3].unlink()
    with pytest.warns(
        UserWarning, match=r"6 slices are 5 to 10 mm apart, mostly 5; .* of 7 planes"
    ):
        volume = read_volume(tmp_path / "ct")
    assert volume.spacing[0] == pytest.approx(5)
    kept = [0, 1, 2, 4, 5, 6]
    np.testing.assert_array_equal(volume.array[kept], array[kept])
    between = np.rint((array[2].astype(np.float32) + array[4]) / 2)
    np.testing.assert_array_equal(volume.array[3], between)


def test_uneven_slices_are_interpolated_onto_an_even_grid(tmp_path: Path) -> None:
    places = np.array([0, 2, 4, 5, 6, 8, 10.6])
    ramp = np.broadcast_to((places * 10)[:, None, None], (7, 8, 8))
    write_series(tmp_path / "ct", np.rint(ramp), places=places)
    with pytest.warns(UserWarning, match="7 slices are 1 to 2.6 mm apart, mostly 2;"):
        volume = read_volume(tmp_path / "ct")
    count = volume.shape[0]
    assert count == 6
    np.testing.assert_allclose(volume.spacing[0], 10.6 / 5)
    np.testing.assert_allclose(volume.array[:, 4, 4], np.linspace(0, 106, count), atol=0.51)


def test_results_of_uneven_slices_lie_on_the_slices(tmp_path: Path) -> None:
    places = [0, 2, 4, 5, 6, 8, 10.6]
    files = write_series(tmp_path / "ct", voxels((7, 8, 8)), places=places)
    with pytest.warns(UserWarning, match=r"results are written on the slices .* as 1.767 mm apart"):
        volume = read_volume(tmp_path / "ct")
    labels = np.zeros(volume.shape, np.uint8)
    labels[:] = np.arange(6)[:, None, None]  # six even planes, 2.12 mm apart
    write_like(tmp_path / "out.nii.gz", labels, volume)
    out, series = sitk.ReadImage(str(tmp_path / "out.nii.gz")), sitk.ReadImage([*map(str, files)])
    assert out.GetSize() == series.GetSize()
    np.testing.assert_allclose(out.GetSpacing(), series.GetSpacing(), atol=1e-5)
    nearest = np.rint(np.array(places) / 2.12)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(out)[:, 4, 4], nearest)


def test_rounded_positions_are_even(tmp_path: Path) -> None:
    places = np.round(np.arange(20) * 0.625, 1)
    write_series(tmp_path / "ct", voxels((20, 8, 8)), places=places)
    assert read_volume(tmp_path / "ct").shape[0] == 20  # without a warning, which would be an error


def test_a_gap_too_wide_is_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels((9, 8, 8)), step=5)
    for path in files[4:6]:
        path.unlink()
    with pytest.raises(UserError, match="15 mm lie between slices 4 and 5 of 7, elsewhere 5 mm"):
        read_volume(tmp_path / "ct")


@pytest.mark.parametrize("shift", [0.5, 1.0, 1.6])
def test_stacks_laid_over_each_other_are_refused(shift: float) -> None:
    one = np.arange(20) * 5.0
    with pytest.raises(UserError, match="mm apart by turns, as of two series in one; part them"):
        even_planes(np.sort(np.concatenate([one, one + shift])), "ct")
    mixed = np.concatenate([one, 95 + np.arange(1, 30) * 1.25])  # thin slices after thick ones
    with pytest.warns(UserWarning, match="apart, mostly"):
        assert even_planes(mixed, "ct") is not None
