"""Sheared grids: an analytic scan through a tilted gantry, its spacing, and the way back."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_series import voxels, write_series
from small_scans import ORDERS

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import make_case, read_case
from mots_pretrained.data.layouts import CaseFiles
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_labels, read_spacing, read_volume
from mots_pretrained.images.tilt import find_tilt
from mots_pretrained.images.volume import Volume, canonical, straightened, write_like
from mots_pretrained.inference.measures import measure
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.tasks import IGNORED


def tilted(degrees: float, shape=(20, 24, 16)) -> tuple[np.ndarray, np.ndarray]:
    """A LPS-stored scan of slices 3 mm apart, and its affine; values grow with world y and z."""
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    affine[1, 2] = 3.0 * np.tan(np.radians(degrees))  # each slice lies further to the front
    affine[:3, 3] = 30, 40, -100
    x, y, z = np.meshgrid(*map(np.arange, shape), indexing="ij")
    world = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.stack([x, y, z]))
    return (world[1] * 5 + world[2] * 2 + world[0]).astype(np.float32), affine


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.header.set_qform(affine, 1, strip_shears=True)
    image.header.set_sform(affine, 1)
    image.to_filename(path)
    return path


@pytest.mark.parametrize("degrees", [22.0, -15.0])
def test_tilted_slices_are_read_on_a_straight_grid_at_their_own_distance(tmp_path, degrees):
    array, affine = tilted(degrees)
    path = save(tmp_path / "ct.nii.gz", array, affine)
    with pytest.warns(UserWarning, match=rf"tilted by {abs(degrees)} degrees, 3\.000 mm apart"):
        volume = read_volume(path)
    assert volume.spacing == pytest.approx((3.0, 2.0, 2.0))
    assert read_spacing(path) == pytest.approx((3.0, 2.0, 2.0))
    columns = volume.affine[:3, :3] / np.array(volume.spacing)
    np.testing.assert_allclose(columns.T @ columns, np.eye(3), atol=1e-6)
    # wherever the scan lies, its linear values are those of the world
    places = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    world = places @ volume.affine[:3, :3].T + volume.affine[:3, 3] - affine[:3, 3]
    inverse = np.linalg.inv(affine[:3, :3])
    inside = (
        (world @ inverse.T > -1e-3) & (world @ inverse.T < np.array(array.shape) - 0.999)
    ).all(-1)
    expected = world[..., 1] * 5 + world[..., 2] * 2 + world[..., 0]
    assert inside.sum() > 0.9 * array.size
    np.testing.assert_allclose(volume.array[inside], expected[inside], atol=1e-2)


@pytest.mark.parametrize("codes", ORDERS[::5])
def test_label_maps_go_there_and_back_to_the_voxel_in_any_order_of_axes(tmp_path, codes):
    array, affine = tilted(22.0)
    labels = np.random.default_rng(0).integers(0, 4, array.shape).astype(np.uint8)
    image = nib.Nifti1Image(labels, affine)
    transform = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    moved = image.as_reoriented(transform)
    path = save(tmp_path / "labels.nii.gz", np.asarray(moved.dataobj), moved.affine)
    with pytest.warns(UserWarning, match="tilted by"):
        volume = read_labels(path)
    assert volume.array.dtype == np.int32
    assert (
        np.bincount(volume.array.ravel())[1:].tolist() == np.bincount(labels.ravel())[1:].tolist()
    )
    write_like(tmp_path / "again.nii.gz", volume.array, volume)
    written = nib.load(tmp_path / "again.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(moved.dataobj))
    np.testing.assert_array_equal(written.affine, nib.load(path).affine)


def test_integer_scans_of_several_channels_stay_integers_and_go_on_by_their_ends():
    array, affine = tilted(22.0)
    moved = np.moveaxis(np.stack([array, array + 10]), (1, 2, 3), (3, 2, 1)).astype(np.int16)
    permuted = affine[:, [2, 1, 0, 3]]
    with pytest.warns(UserWarning, match="volume: its slices are tilted"):
        volume = straightened(Volume(moved, permuted))
    assert volume.array.dtype == np.int16
    assert volume.shape == (16, 24 + int(np.ceil(15 * 1.5 * np.tan(np.radians(22)))), 20)
    assert (volume.array.min(), volume.array.max()) == (moved.min(), moved.max())
    for plane, source in zip(volume.array[0], moved[0], strict=True):
        assert {*plane[0]} in ({*source[0]}, {*source[-1]})


@pytest.fixture
def scan() -> Volume:
    array, affine = tilted(22.0)
    with pytest.warns(UserWarning, match="tilted by"):
        return straightened(canonical(array.astype(np.int16), affine))


def test_what_the_straight_grid_adds_is_of_no_known_label(scan):
    assert scan.tilt is not None
    inside = scan.tilt.inside()
    assert inside.sum() == np.prod(scan.tilt.sheared)
    contract = Preprocessing(spacing=scan.spacing)
    case = make_case(scan, inside.astype(np.uint8), contract, {"organ": (1,)})
    np.testing.assert_array_equal(case.target[0] == IGNORED, ~inside)
    np.testing.assert_array_equal(case.target[0] == 1, inside)
    coarse = make_case(scan, inside.astype(np.uint8), Preprocessing(spacing=(6, 4, 4)), {"o": (1,)})
    assert (coarse.target == 0).mean() < 0.05  # at the edge of the scan alone
    assert (coarse.target == IGNORED).mean() == pytest.approx((~inside).mean(), abs=0.05)


def test_a_case_from_memory_is_the_case_of_its_files(tmp_path):
    """It was learned from as if its slices lay straight above each other."""
    array, affine = tilted(22.0)
    marks = (array > np.median(array)).astype(np.uint8)
    contract, classes = Preprocessing(spacing=(3, 2, 2), clip=(-200, 200)), {"organ": (1,)}
    image, label = (
        save(tmp_path / f"{name}.nii.gz", values, affine)
        for name, values in (("ct", array), ("seg", marks))
    )
    with pytest.warns(UserWarning, match="tilted by"):
        stored = read_case(CaseFiles("a", (image,), label), contract, Targets.of_classes(classes))
    scan, labels = canonical(array, affine), canonical(marks, affine).array
    with pytest.warns(UserWarning, match="tilted by"):
        case = make_case(scan, labels, contract, classes)
    np.testing.assert_allclose(case.image, stored.image, atol=1e-4)
    np.testing.assert_array_equal(case.target, stored.target)
    assert (case.target == IGNORED).any()


def test_a_category_that_the_scan_cuts_touches_its_border(scan):
    assert scan.tilt is not None
    own = np.zeros(scan.tilt.sheared, np.uint8)
    own[4:8, :, 5:9] = 1  # from the first to the last row of some slices
    labels = scan.tilt.straighten(own, labels=True)
    found = measure(Prediction(labels, scan, {"organ": (1,), "none": (2,)}))["organ"]
    assert found.border == ("front", "back")


def test_a_sheared_volume_from_memory_is_written_where_it_lies(tmp_path):
    """On its own grid with the straight one's affine, each slice lay elsewhere."""
    array, affine = tilted(22.0)
    marks = np.zeros(array.shape, np.uint8)
    marks[4:9, 5:12, 9:14] = 1
    moved = canonical(marks, affine)
    for volume in (moved, Volume(moved.array, moved.affine)):
        with pytest.warns(UserWarning, match="tilted by"):
            straight = straightened(volume, labels=True)
        np.testing.assert_allclose(straight.file_affine, volume.file_affine)
        write_like(tmp_path / "seg.nii.gz", straight.array, straight)
        with pytest.warns(UserWarning, match="tilted by"):
            back = read_labels(tmp_path / "seg.nii.gz")
        np.testing.assert_array_equal(back.array, straight.array)
        np.testing.assert_allclose(back.affine, straight.affine, atol=1e-4)
    np.testing.assert_allclose(moved.file_affine, affine)


def test_straight_and_oblique_grids_stay_as_they_are():
    turn = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    affine = turn @ np.diag([2.0, 2.0, 3.0, 1.0])
    assert find_tilt(affine, (5, 5, 5), 2, "ct") is None
    volume = canonical(np.zeros((5, 5, 5)), affine)
    assert straightened(volume) is volume


@pytest.mark.parametrize(
    ("drift", "is_tilt"), [(0.1, False), (0.74, False), (-0.74, False), (0.76, True), (-0.76, True)]
)
@pytest.mark.parametrize("along", [(1, 0, 0), (0, 1, 0)])
def test_slices_that_drift_by_half_a_pixel_are_tilted(tmp_path, drift, is_tilt, along):
    """Positions rounded to 0.1 mm were a tilt of 0.7 degrees where the stack is 8 mm high."""
    step = np.array((0, 0, 2.0)) + np.array(along) * drift / 4  # mm, of five slices
    write_series(tmp_path, np.zeros((5, 8, 8)), spacing=(1.5, 1.5), step=1, along=tuple(step))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        volume = read_volume(tmp_path)
    assert (volume.tilt is not None) == is_tilt
    assert ["tilted by" in str(warning.message) for warning in caught] == [True] * is_tilt
    assert read_spacing(tmp_path) == pytest.approx(volume.spacing)
    assert volume.spacing[0] == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("decimals", [1, 2])
def test_rounded_positions_of_few_slices_are_no_tilt(tmp_path, decimals):
    """As scanners and archives write them; read without a warning, and as they lie."""
    array = voxels()
    files = write_series(tmp_path, array, spacing=(0.7, 0.7), step=1.0, origin=(0.05, -3.14, 7.0))
    for number, path in enumerate(files):
        ds = pydicom.dcmread(path)
        jitter = (0.05, -0.05)[number % 2] if decimals == 1 else 0.004 * number
        x, y, z = map(float, ds.ImagePositionPatient)
        ds.ImagePositionPatient = [round(x + jitter, decimals), round(y - jitter, decimals), z]
        ds.save_as(path)
    volume = read_volume(tmp_path)
    assert volume.tilt is None
    np.testing.assert_array_equal(volume.array, array)


@pytest.mark.parametrize("degrees", [50.0, None])
def test_what_no_gantry_leaves_is_refused(degrees):
    if degrees is None:  # sheared in two ways at once
        affine = np.array([[2.0, 0.4, 0.5, 0], [0, 2, 0.4, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    else:
        affine = tilted(degrees)[1]
    with pytest.raises(UserError, match="ct: its axes are not perpendicular"):
        find_tilt(affine, (5, 5, 5), 2, "ct")


def test_a_tilted_gantry_is_straightened_and_results_go_back(tmp_path: Path) -> None:
    tilt = np.deg2rad(15)
    array = np.full((9, 40, 40), -1000, np.int16)
    array[:, 10:30, 10:30] = 50
    write_series(
        tmp_path / "ct",
        array,
        orientation=(1, 0, 0, 0, np.cos(tilt), -np.sin(tilt)),
        along=(0, 0, 1),
        spacing=(1.0, 1.0),
    )
    with pytest.warns(UserWarning, match=r"tilted by 15\.0 degrees, 2\.898 mm apart"):
        volume = read_volume(tmp_path / "ct")
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-5)
    labels = (volume.array > -500).astype(np.uint8)
    write_like(tmp_path / "out.nii.gz", labels, volume)
    import nibabel as nib

    out = nib.load(tmp_path / "out.nii.gz")
    assert out.shape == (40, 40, 9)
    # the sheared grid's own steps: across a column, down a row and from slice to slice, in RAS
    np.testing.assert_allclose(out.affine[:3, 2], (0, 0, 3), atol=1e-4)
    np.testing.assert_allclose(out.affine[:3, 1], (0, -np.cos(tilt), -np.sin(tilt)), atol=1e-4)
    disagree = np.asarray(out.dataobj) != (array > -500).transpose(2, 1, 0)
    assert not np.delete(disagree, [9, 10, 29, 30], axis=1).any()
