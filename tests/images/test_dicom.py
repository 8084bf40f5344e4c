"""DICOM series, generated and real, against SimpleITK, NRRD and grids worked out by hand."""

from __future__ import annotations

import itertools
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_series import AXIAL, CORONAL, SAGITTAL, enhanced, voxels, write_series

from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.images import dicom_files
from mots_pretrained.images.dicom import choose_series, find_series
from mots_pretrained.images.reading import read_channels, read_volume
from mots_pretrained.images.volume import SAME_GRID, Volume, write_like

UNITS = [tuple(s * np.eye(3, dtype=int)[k]) for k in range(3) for s in (1, -1)]
AXES = [
    (*row, *column) for row, column in itertools.product(UNITS, UNITS) if not np.dot(row, column)
]


def by_simpleitk(files: list[Path], place: Path) -> Volume:
    """The same files through SimpleITK and NIfTI."""
    image = sitk.ReadImage([str(path) for path in files])
    sitk.WriteImage(image, str(place / "by_itk.nii.gz"))
    return read_volume(place / "by_itk.nii.gz")


def assert_same(one: Volume, other: Volume) -> None:
    np.testing.assert_array_equal(one.array, other.array)
    assert one.apart(other) < 1e-3


def test_every_axis_order_is_read_as_simpleitk_reads_it(tmp_path: Path) -> None:
    assert len(AXES) == 24
    for number, orientation in enumerate([*AXES, (0.96, 0.28, 0, -0.28, 0.96, 0)]):
        folder = tmp_path / str(number)
        files = write_series(folder / "series", voxels((4, 6, 7), number), orientation=orientation)
        assert_same(read_volume(folder / "series"), by_simpleitk(files, folder))


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL])
def test_names_numbers_and_order_of_files_say_nothing(tmp_path: Path, orientation) -> None:
    array = voxels()
    places = [0, 3, 6, 9, 12, 15]
    mixed = [3, 0, 5, 1, 4, 2]
    write_series(
        tmp_path / "a",
        array[mixed],
        orientation=orientation,
        places=[places[k] for k in mixed],
        names=lambda index: f"{index * 7919 % 97:02x}",
        order=[9, 1, 1, 400, 2, 7],
    )
    (tmp_path / "a" / "notes.txt").write_text("no DICOM")
    (tmp_path / "a" / "DICOMDIR").write_bytes(b"\0" * 200)
    truth = write_series(tmp_path / "b", array, orientation=orientation)
    assert_same(read_volume(tmp_path / "a"), by_simpleitk(truth, tmp_path))


def test_positions_count_and_the_thickness_does_not(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", voxels(), step=1.25, spacing=(0.7, 0.9))
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_allclose(volume.spacing, (1.25, 0.7, 0.9))
    # LPS (-10, 20, -30) is RAS (10, -20, -30), the first voxel of the first slice
    np.testing.assert_allclose(volume.affine[:3, 3], (10, -20, -30))


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


def test_acquisitions_of_one_series_are_told_apart(tmp_path: Path) -> None:
    early, late = voxels(seed=1), voxels(seed=2)
    for name, number, array in (("a", 1, early), ("b", 2, late)):
        write_series(
            tmp_path / "ct" / name, array, SeriesInstanceUID="1.2.3", AcquisitionNumber=number
        )
    with pytest.raises(UserError, match="2 series that could be meant; choose one with --series"):
        read_volume(tmp_path / "ct")
    read = read_volume(tmp_path / "ct", series="Abdomen, acquisition 2")
    np.testing.assert_array_equal(read.array, late)


def several(root: Path) -> dict[str, np.ndarray]:
    """A place with two CT series, an MR series and a localizer."""
    arrays = {name: voxels(seed=k) for k, name in enumerate(("portal", "arterial", "mr"))}
    write_series(root, arrays["portal"], names=lambda k: f"p{k}", SeriesNumber=4,
                 SeriesDescription="Abdomen portal 5.0", SeriesInstanceUID="1.2.4")  # fmt: skip
    write_series(root, arrays["arterial"], names=lambda k: f"a{k}", SeriesNumber=5,
                 SeriesDescription="Abdomen arterial", SeriesInstanceUID="1.2.5")  # fmt: skip
    write_series(root, arrays["mr"], names=lambda k: f"m{k}", SeriesNumber=6, Modality="MR",
                 SeriesDescription="T2")  # fmt: skip
    write_series(root, voxels((2, 30, 30)), names=lambda k: f"l{k}", SeriesNumber=1,
                 ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], orientation=CORONAL)  # fmt: skip
    return arrays


def test_a_series_is_chosen_by_uid_number_or_description(tmp_path: Path) -> None:
    arrays = several(tmp_path)
    for name, words in {
        "portal": ("1.2.4", "4", "abdomen PORTAL 5.0", "portal"),
        "arterial": ("1.2.5", "5", "arterial"),
        "mr": ("6", "t2"),
    }.items():
        for wanted in words:
            np.testing.assert_array_equal(read_volume(tmp_path, series=wanted).array, arrays[name])
    with pytest.raises(UserError) as caught:
        read_volume(tmp_path)
    message = str(caught.value)
    assert '4: "Abdomen portal 5.0" (CT, 6 images of 8x8, 1.2.4)' in message
    assert "T2" not in message  # two CT volumes could be meant, and nothing else
    with pytest.raises(UserError, match="2 series that could be meant"):
        read_volume(tmp_path, series="abdomen")
    with pytest.raises(UnknownNameError, match="no series 'venous'; there are: 4: "):
        read_volume(tmp_path, series="venous")
    assert len(find_series(tmp_path)) == 4


def test_the_only_ct_volume_is_taken_without_asking(tmp_path: Path) -> None:
    arrays = several(tmp_path)
    for path in tmp_path.glob("a*"):
        path.unlink()
    np.testing.assert_array_equal(read_volume(tmp_path).array, arrays["portal"])
    for path in tmp_path.glob("p*"):
        path.unlink()
    assert choose_series(tmp_path).header.modality == "MR"


def test_channels_may_be_series(tmp_path: Path) -> None:
    arrays = [voxels(seed=1), voxels(seed=2)]
    for name, array in zip("ab", arrays, strict=True):
        write_series(tmp_path / name, array, Modality="MR", intercept=0)
    np.testing.assert_array_equal(read_channels([tmp_path / "a", tmp_path / "b"]).array, arrays)


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(sorted(folder.iterdir())):
            archive.write(file, f"../../{number}/{file.name}")  # never unpacked
        archive.writestr("readme.txt", "no DICOM")
    return path


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


@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG"])
def test_lossless_jpeg_is_decompressed(tmp_path: Path, compressor: str) -> None:
    array = voxels((4, 16, 16))
    files = write_series(tmp_path / "ct", array, intercept=0)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    for path, plane in zip(files, array, strict=True):
        writer.SetFileName(str(tmp_path / "packed.dcm"))
        writer.Execute(sitk.GetImageFromArray(plane))
        packed, ds = pydicom.dcmread(tmp_path / "packed.dcm"), pydicom.dcmread(path)
        ds.PixelData = packed.PixelData
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        ds.save_as(path)
    # pydicom alone reads JPEG 2000 (by pillow) but no lossless JPEG, which SimpleITK does
    assert ds.file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, array)
    path = zipped(tmp_path / "ct", tmp_path / "ct.zip")
    np.testing.assert_array_equal(read_volume(path).array, array)


def test_what_nothing_decompresses_is_named(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels())
    compressed(files, pydicom.uid.RLELossless)
    for path in files:
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
        ds.save_as(path)
    with pytest.raises(UserError, match=r"High-Throughput JPEG 2000.*pip install pylibjpeg"):
        read_volume(tmp_path / "ct")


def test_an_enhanced_ct_of_one_file_is_a_series(tmp_path: Path) -> None:
    array = voxels((5, 8, 8))
    files = write_series(tmp_path / "classic", array)
    truth = by_simpleitk(files, tmp_path)
    enhanced(files, tmp_path / "one.dcm", [2, 0, 1, 4, 3])
    assert_same(read_volume(tmp_path / "one.dcm"), truth)


def test_damaged_images_are_named_in_one_line(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels())
    files[2].write_bytes(files[2].read_bytes()[:-40])
    with pytest.raises(UserError, match=r"002\.dcm .*fetch it again") as caught:
        read_volume(tmp_path / "ct")
    assert "\n" not in str(caught.value)


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
    with pytest.warns(UserWarning, match="1 images of another size or direction are left out"):
        np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, array)


def test_images_beside_the_line_are_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels())
    ds = pydicom.dcmread(files[2])
    ds.ImagePositionPatient[0] += 9
    ds.save_as(files[2])
    with pytest.raises(UserError, match=r"no straight stack: .*002\.dcm lies 9 mm beside"):
        read_volume(tmp_path / "ct")


def test_one_image_and_no_image_are_no_volume(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels((1, 8, 8)))
    for place in (files[0], tmp_path / "ct"):
        with pytest.raises(UserError, match="single images only"):
            read_volume(place)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no DICOM image"):
        read_volume(tmp_path / "empty")
    with pytest.raises(MissingFileError, match="no such file"):
        read_volume(tmp_path / "nowhere")


def test_files_without_preamble_are_dicom(tmp_path: Path) -> None:
    array = voxels()
    for path in write_series(tmp_path / "ct", array, names=lambda k: f"{k}"):
        ds = pydicom.dcmread(path)
        bare = pydicom.Dataset(dict(ds))
        bare.save_as(path, implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, array)


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    write_series(tmp_path / "ct", voxels())
    sitk.WriteImage(sitk.GetImageFromArray(voxels()), str(tmp_path / "ct.nrrd"))
    for module, path in (("pydicom", tmp_path / "ct"), ("SimpleITK", tmp_path / "ct.nrrd")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UserError, match=rf"needs {module}; .* 'mots_pretrained\[dicom\]'"):
            read_volume(path)


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


def test_directions_that_differ_by_rounding_are_one_series(tmp_path: Path) -> None:
    array = voxels()
    for number, path in enumerate(write_series(tmp_path / "ct", array)):
        ds = pydicom.dcmread(path)
        ds.ImageOrientationPatient = [1, 0.0005 - number * 1e-4, 0, 0, 1, 0]
        ds.save_as(path)
    (series,) = find_series(tmp_path / "ct")
    assert len(series.slices) == 6


def test_times_of_one_place_are_series_of_their_own(tmp_path: Path) -> None:
    for time in (1, 2, 3):
        folder = tmp_path / "ct" / str(time)
        write_series(folder, voxels(seed=time), SeriesInstanceUID="1.2", TriggerTime=100 * time)
    labels = [series.label for series in find_series(tmp_path / "ct")]
    assert labels == [f"Abdomen, trigger time {time}.0" for time in (100, 200, 300)]
    read = read_volume(tmp_path / "ct", series="trigger time 300.0")
    np.testing.assert_array_equal(read.array, voxels(seed=3))


def test_pydicoms_own_collection_is_looked_through(tmp_path: Path) -> None:
    tests = Path(pydicom.__file__).parent / "data" / "test_files"
    found = find_series(tests / "dicomdirtests")
    assert sorted(len(series.slices) for series in found if series.is_volume) == [4, 5]
    with pytest.raises(UserError, match=r"2 series that could be meant.*SmartScore"):
        read_volume(tests / "dicomdirtests")
    assert read_volume(tests / "dicomdirtests", series="SmartScore").shape == (5, 16, 16)


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
