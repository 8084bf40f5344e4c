"""A series' voxels and grid, against SimpleITK, NRRD and grids worked out by hand."""

from __future__ import annotations

import itertools
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_series import (
    AXIAL,
    assert_same,
    by_simpleitk,
    voxels,
    write_series,
)

from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.data.survey import survey
from mots_pretrained.errors import UserError
from mots_pretrained.images import dicom_volume
from mots_pretrained.images.dicom import choose_series
from mots_pretrained.images.dicom_volume import read_series
from mots_pretrained.images.reading import read_grid, read_spacing, read_volume
from mots_pretrained.images.volume import SAME_GRID

UNITS = [tuple(s * np.eye(3, dtype=int)[k]) for k in range(3) for s in (1, -1)]


AXES = [
    (*row, *column) for row, column in itertools.product(UNITS, UNITS) if not np.dot(row, column)
]


def test_every_axis_order_is_read_as_simpleitk_reads_it(tmp_path: Path) -> None:
    assert len(AXES) == 24
    for number, orientation in enumerate([*AXES, (0.96, 0.28, 0, -0.28, 0.96, 0)]):
        folder = tmp_path / str(number)
        files = write_series(folder / "series", voxels((4, 6, 7), number), orientation=orientation)
        assert_same(read_volume(folder / "series"), by_simpleitk(files, folder))


def test_positions_count_and_the_thickness_does_not(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", voxels(), step=1.25, spacing=(0.7, 0.9))
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_allclose(volume.spacing, (1.25, 0.7, 0.9))
    # LPS (-10, 20, -30) is RAS (10, -20, -30), the first voxel of the first slice
    np.testing.assert_allclose(volume.affine[:3, 3], (10, -20, -30))


TILT = (1, 0, 0, 0, np.cos(0.3), -np.sin(0.3))


COUNTER_TILT = (1, 0, 0, 0, np.cos(-0.4), -np.sin(-0.4))


OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)


EVEN, UNEVEN = np.arange(9) * 3.0, np.array([0, 2, 4, 6.7, 8, 9, 11, 15, 17.0])


@pytest.mark.filterwarnings("ignore:.*(slices are|tilted by)")
@pytest.mark.parametrize("places", [EVEN, UNEVEN, np.delete(EVEN, 4), -EVEN], ids=str)
@pytest.mark.parametrize(
    ("orientation", "along"),
    [(AXIAL, None), (TILT, (0, 0, 1)), (COUNTER_TILT, (0, 0, 1)), (OBLIQUE, None)],
)
def test_every_voxel_shows_what_lies_at_its_place(
    tmp_path: Path, orientation, along, places
) -> None:
    def field(x, y, z):  # linear, so that interpolation is exact; in RAS millimetres
        return 3 * x - 5 * y + 7 * z

    row, down = np.array(orientation[:3]), np.array(orientation[3:])
    step = np.cross(row, down) if along is None else np.array(along)
    origin = np.array([-10.0, 20.0, -30.0])
    k, j, i = np.ogrid[: len(places), :30, :32]
    lps = [origin[a] + places[k] * step[a] + j * 2.0 * down[a] + i * 1.5 * row[a] for a in range(3)]
    array = field(-lps[0], -lps[1], lps[2])
    write_series(tmp_path / "ct", array, orientation=orientation, along=along, places=places,
                 slope=0.05, intercept=0)  # fmt: skip
    volume = read_volume(tmp_path / "ct")
    d, h, w = np.ogrid[tuple(slice(n) for n in volume.shape)]
    world = [a[0] * d + a[1] * h + a[2] * w + a[3] for a in volume.affine[:3]]
    off = np.abs(volume.array - field(*world))
    if volume.tilt is not None:  # beyond the images the outermost voxels go on
        off = off[:, 12:18, 4:-4]
    assert off.size > 1000
    assert off.max() < 0.06  # half a step of the stored values, and float32


def test_duplicates_are_dropped_if_they_are_the_same(tmp_path: Path) -> None:
    array = voxels()
    files = write_series(tmp_path / "ct", array)
    shutil.copy(files[2], tmp_path / "ct" / "copy of 2")
    with pytest.warns(UserWarning, match="1 duplicated images are left out"):
        np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, array)
    ds = pydicom.dcmread(files[2])
    ds.PixelData = b"\1\0" * 64
    ds.save_as(tmp_path / "ct" / "copy of 2")
    with pytest.raises(UserError, match=r"two different images lie at one place \(.*002.dcm\)?"):
        read_volume(tmp_path / "ct")


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE, TILT])
@pytest.mark.parametrize("places", [EVEN, UNEVEN])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.filterwarnings("ignore:.*(slices are|duplicated images)")
def test_the_grid_is_read_without_a_pixel(
    tmp_path: Path, monkeypatch, orientation, places, packed
) -> None:
    """Bit for bit that of the voxels, also of uneven and of duplicated images; all were decoded."""
    files = write_series(tmp_path / "ct", voxels((9, 6, 7)), orientation=orientation, places=places)
    shutil.copy(files[2], tmp_path / "ct" / "copy of 2")
    path = tmp_path / "ct"
    if packed:
        path = Path(shutil.make_archive(f"{tmp_path / 'packed'}", "zip", path))
    array, affine, _ = read_series(choose_series(path))
    spacing = read_volume(path).spacing
    monkeypatch.setattr(pydicom.pixels, "pixel_array", None)  # upon which none can be decoded
    with pytest.raises(UserError, match="damaged"):
        read_volume(path)
    monkeypatch.setattr(dicom_volume, "read_pixels", None)
    shape, found = read_grid(path)
    assert shape == array.shape
    assert found.tobytes() == affine.tobytes()
    if orientation != TILT:  # whose slices a volume shifts onto a straight grid
        assert read_spacing(path) == spacing


def test_facts_of_a_case_of_series_are_read_without_a_pixel(tmp_path: Path, monkeypatch) -> None:
    write_series(tmp_path / "ct", voxels(), step=1.25, spacing=(0.7, 0.9))
    monkeypatch.setattr(dicom_volume, "read_pixels", None)
    case = CaseFiles("a", (tmp_path / "ct",))
    facts = survey(Collection("own", tmp_path, (case,)))["a"]
    assert (facts.channels, facts.spacing) == (1, (1.25, 0.7, 0.9))


def test_the_grid_alone_tells_of_what_is_left_out(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels())
    shutil.copy(files[2], tmp_path / "ct" / "copy of 2")
    with pytest.warns(UserWarning, match="1 duplicated images are left out"):
        assert read_grid(tmp_path / "ct")[0] == (8, 8, 6)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "orientation is damaged|single images"),
        ({"PixelSpacing": [0, 1]}, "pixel spacing .* must be above zero"),
        ({"ImagePositionPatient": None}, "no DICOM image with a place"),
        ({"RescaleSlope": 0}, "makes no CT numbers"),
        ({"Modality": "SEG"}, "no DICOM image with a place"),
        ({"SamplesPerPixel": 3}, "no DICOM image with a place"),
        ({"Rows": 60000, "Columns": 60000}, "too large"),
    ],
)
def test_headers_that_cannot_be_are_refused(tmp_path: Path, tags, message: str) -> None:
    for path in write_series(tmp_path / "ct", voxels()):
        ds = pydicom.dcmread(path)
        for name, value in tags.items():
            if value is None:
                del ds[name]
            else:
                setattr(ds, name, value)
        ds.save_as(path)
    with pytest.raises(UserError, match=message):
        read_volume(tmp_path / "ct")


def test_images_of_another_size_are_left_out_with_a_warning(tmp_path: Path) -> None:
    array = voxels()
    write_series(tmp_path / "ct", array, SeriesInstanceUID="1.2")
    write_series(tmp_path / "ct", voxels((1, 9, 9)), SeriesInstanceUID="1.2", names=lambda k: "odd")
    with pytest.warns(UserWarning, match="1 images of another size, direction or study"):
        np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, array)


def test_images_beside_the_line_are_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels())
    ds = pydicom.dcmread(files[2])
    ds.ImagePositionPatient[0] += 9
    ds.save_as(files[2])
    with pytest.raises(UserError, match=r"no straight stack: .*002\.dcm lies 9 mm beside"):
        read_volume(tmp_path / "ct")


@pytest.mark.parametrize(
    ("zipped_series", "shape"),
    [
        ("cip_chest_dicom/ct-64Dicom.zip", (79, 64, 64)),
        ("crlm_ct/CRLM-CT-1004.zip", (41, 512, 512)),
        ("crlm_ct/CRLM-CT-1006.zip", (51, 512, 512)),
    ],
)
def test_real_series_are_read_as_simpleitk_reads_them(
    tmp_path: Path, shared: Path, zipped_series: str, shape
) -> None:
    volume = read_volume(shared / "data" / zipped_series)
    assert volume.shape == shape
    assert read_grid(shared / "data" / zipped_series)[0] == shape[::-1]
    with zipfile.ZipFile(shared / "data" / zipped_series) as archive:
        archive.extractall(tmp_path)
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    assert_same(volume, by_simpleitk([Path(name) for name in names], tmp_path))
    np.testing.assert_array_equal(read_volume(folder).array, volume.array)


def test_the_real_chest_series_is_the_nrrd_beside_it(shared: Path) -> None:
    place = shared / "data" / "cip_chest_dicom"
    series, nrrd = read_volume(place / "ct-64Dicom.zip"), read_volume(place / "ct-64.nrrd")
    np.testing.assert_array_equal(series.array, nrrd.array)
    assert series.apart(nrrd) < SAME_GRID
