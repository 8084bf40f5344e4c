"""NRRD and MetaImage files against SimpleITK and NIfTI, and what is wrong with them."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mots_pretrained.errors import UserError
from mots_pretrained.images.itk import common_segments, segment_values
from mots_pretrained.images.reading import read_grid, read_labels, read_spacing, read_volume
from mots_pretrained.images.scan_files import list_volumes, parts, stem
from mots_pretrained.images.volume import write_like

ENDINGS = ["nrrd", "nhdr", "mha", "mhd"]


def image(dtype: str = "int16") -> sitk.Image:
    array = np.random.default_rng(3).integers(0, 200, (4, 5, 6)).astype(dtype)
    result = sitk.GetImageFromArray(array)
    result.SetSpacing((0.8, 0.9, 2.5))
    result.SetOrigin((-12, 7, 40))
    result.SetDirection((0, 0, -1, 1, 0, 0, 0, -1, 0))  # the file's axes run to P, S, R
    return result


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_a_file_is_read_as_its_nifti_is(tmp_path: Path, ending: str, dtype: str) -> None:
    sitk.WriteImage(image(dtype), str(tmp_path / f"ct.{ending}"), useCompression=True)
    sitk.WriteImage(image(dtype), str(tmp_path / "ct.nii.gz"))
    one, other = read_volume(tmp_path / f"ct.{ending}"), read_volume(tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(one.array, other.array)
    assert one.array.dtype == other.array.dtype
    assert one.apart(other) < 1e-5
    assert one.name == "ct"
    assert read_spacing(tmp_path / f"ct.{ending}") == pytest.approx(one.spacing)
    assert read_grid(tmp_path / f"ct.{ending}")[0] == (6, 5, 4)


def test_results_come_back_on_the_files_own_grid(tmp_path: Path) -> None:
    sitk.WriteImage(image(), str(tmp_path / "ct.nrrd"))
    volume = read_volume(tmp_path / "ct.nrrd")
    write_like(tmp_path / "out.nii.gz", (volume.array > 100).astype(np.uint8), volume)
    out = sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(out), sitk.GetArrayFromImage(image()) > 100
    )
    for one, other in ((out.GetOrigin(), image().GetOrigin()),
                       (out.GetDirection(), image().GetDirection()),
                       (out.GetSpacing(), image().GetSpacing())):  # fmt: skip
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_channels_come_first(tmp_path: Path) -> None:
    pair = np.random.default_rng(0).random((4, 5, 6, 2)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(pair, isVector=True), str(tmp_path / "two.nrrd"))
    volume = read_volume(tmp_path / "two.nrrd")
    assert volume.array.shape[0] == 2
    # without a direction the axes run to the left, back and head: the array as it is
    np.testing.assert_array_equal(volume.array, np.moveaxis(pair, -1, 0))


def test_digests_hold_the_files_bytes(tmp_path: Path) -> None:
    sitk.WriteImage(image(), str(tmp_path / "ct.mha"))
    digest = hashlib.sha256()
    read_volume(tmp_path / "ct.mha", digest=digest)
    assert digest.digest() == hashlib.sha256((tmp_path / "ct.mha").read_bytes()).digest()


def test_segments_of_slicer_have_names_and_values(tmp_path: Path) -> None:
    labels = image("uint8")
    for key, value in {
        "Segment0_ID": "Segment_1", "Segment0_Name": "liver", "Segment0_LabelValue": "1",
        "Segment0_Layer": "0", "Segment1_ID": "Segment_2", "Segment1_Name": "left kidney",
        "Segment1_LabelValue": "7", "Segment1_Layer": "0",
    }.items():  # fmt: skip
        labels.SetMetaData(key, value)
    path = tmp_path / "ct.seg.nrrd"
    sitk.WriteImage(labels, str(path))
    assert segment_values(path) == {"liver": 1, "left kidney": 7}
    assert stem(path) == "ct"
    assert list_volumes(tmp_path) == [path]
    assert read_labels(path).array.dtype == np.int32
    labels.SetMetaData("Segment1_Layer", "1")
    sitk.WriteImage(labels, str(path))
    with pytest.raises(UserError, match="segments that overlap, in several layers"):
        segment_values(path)


def broken(folder: Path, kind: str) -> Path:
    path = folder / ("ct.mha" if "mha" in kind else "ct.nrrd")
    sitk.WriteImage(image(), str(path))
    raw = path.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind in ("text", "text mha"):
        path.write_text("not an image\n" * 9)
    elif kind in ("truncated", "truncated mha"):
        path.write_bytes(raw[:-50])
    elif kind == "2d":
        sitk.WriteImage(image()[:, :, 0], str(path))
    elif kind == "one slice":
        sitk.WriteImage(image()[:, :, :1], str(path))
    elif kind == "complex":
        sitk.WriteImage(sitk.Cast(image(), sitk.sitkComplexFloat32), str(path))
    elif kind == "nan":
        array = sitk.GetArrayFromImage(image()).astype(np.float32)
        array[0, 0, 0] = np.nan
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    elif kind == "huge":
        path.write_bytes(raw.replace(b"sizes: 6 5 4", b"sizes: 60000 50000 40000"))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    {
        "empty": r"is empty \(0 bytes\)",
        "text": "is not a NRRD file",
        "text mha": "is not a sound MetaImage file",
        "truncated": "is damaged or truncated",
        "truncated mha": "is damaged or truncated",
        "2d": r"is no volume \(6x5\)",
        "one slice": r"is no volume \(6x5x1\)",
        "complex": "holds complex values",
        "nan": "1 of 120 voxels are NaN or infinite",
        "huge": "claims 60000x50000x40000 voxels",
    }.items(),
)
def test_bad_files_are_one_plain_line(tmp_path: Path, kind: str, message: str) -> None:
    path = broken(tmp_path, kind)
    with pytest.raises(UserError, match=message) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_segments_of_several_files_must_agree(tmp_path: Path) -> None:
    for name, segments in {"a": {"liver": 1}, "b": {"bone": 1}, "c": {"liver": 2}}.items():
        labels = image("uint8")
        for number, (segment, value) in enumerate(segments.items()):
            labels.SetMetaData(f"Segment{number}_ID", f"Segment_{value}")
            labels.SetMetaData(f"Segment{number}_Name", segment)
            labels.SetMetaData(f"Segment{number}_LabelValue", str(value))
        sitk.WriteImage(labels, str(tmp_path / f"{name}.seg.nrrd"))
    a, b, c = (tmp_path / f"{name}.seg.nrrd" for name in "abc")
    assert common_segments([b, c]) == {"bone": 1, "liver": 2}
    with pytest.raises(UserError, match=r"b.seg.nrrd has 1 as 'bone', .*a.seg.nrrd as 'liver'"):
        common_segments([a, b])
    with pytest.raises(UserError, match=r"c.seg.nrrd has 'liver' as 2, .*a.seg.nrrd as 1"):
        common_segments([a, c])


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_digests_hold_voxels_that_lie_apart(tmp_path: Path, ending: str) -> None:
    """A corrected file of voxels was not seen: its header stays the same."""
    path = tmp_path / f"ct{ending}"
    sitk.WriteImage(image(), str(path))
    header, voxels = parts(path)
    assert (header, voxels.parent) == (path, tmp_path)
    before = digest_of(path)
    assert before == hashlib.sha256(path.read_bytes() + voxels.read_bytes()).digest()
    voxels.write_bytes(voxels.read_bytes()[::-1])
    assert digest_of(path) != before
    sitk.WriteImage(image(), str(tmp_path / "whole.mha"))
    assert parts(tmp_path / "whole.mha") == (tmp_path / "whole.mha",)


def digest_of(path: Path) -> bytes:
    digest = hashlib.sha256()
    read_volume(path, digest=digest)
    return digest.digest()


NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nencoding: raw\nendian: little\n"
META = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
VOXELS = "DimSize = 6 5 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
DIRECTIONS = "space directions: (2,0,0) (0,2,0) (0,0,3)\n"
BOTH = "stores no spacing and no orientation; assumed are voxels of 1 x 1 x 1 mm and axes towards"
ORIENTATION = (
    "stores no orientation; assumed are axes towards left, back, head, so left and right may"
)
SPACING = "stores no spacing; assumed are voxels of 1 x 1 x 1 mm"


@pytest.mark.parametrize(
    ("name", "header", "told", "spacing"),
    [
        ("ct.nrrd", NRRD + "\n", BOTH, (1, 1, 1)),
        ("ct.nrrd", NRRD + "spacings: nan nan nan\n\n", BOTH, (1, 1, 1)),
        ("ct.nrrd", NRRD + "spacings: 2 2 3\n\n", ORIENTATION, (3, 2, 2)),
        ("ct.nrrd", f"{NRRD}space dimension: 3\n{DIRECTIONS}\n", ORIENTATION, (3, 2, 2)),
        ("ct.nrrd", f"{NRRD}space: scanner-xyz\n{DIRECTIONS}\n", ORIENTATION, (3, 2, 2)),
        ("ct.nrrd", f"{NRRD}space: RAS\n{DIRECTIONS}\n", "", (3, 2, 2)),
        ("ct.nrrd", f"{NRRD}space: left-posterior-superior\n{DIRECTIONS}\n", "", (3, 2, 2)),
        ("ct.mha", META + VOXELS, BOTH, (1, 1, 1)),
        ("ct.mha", f"{META}TransformMatrix = 1 0 0 0 1 0 0 0 1\n{VOXELS}", SPACING, (1, 1, 1)),
        ("ct.mha", f"{META}ElementSpacing = 2 2 3\n{VOXELS}", ORIENTATION, (3, 2, 2)),
        ("ct.mha", f"{META}Rotation = 1 0 0 0 1 0 0 0 1\nElementSize = 2 2 3\n{VOXELS}", "",
         (3, 2, 2)),
    ],
)  # fmt: skip
def test_what_is_assumed_of_a_header_is_told(
    tmp_path: Path, name: str, header: str, told: str, spacing: tuple[int, int, int]
) -> None:
    """Spacing and orientation were assumed without a word, of which NIfTI's reader warns."""
    path = tmp_path / name
    path.write_bytes(header.encode() + np.arange(120, dtype="<i2").tobytes())
    for read in (lambda path: read_volume(path).spacing, read_spacing):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert read(path) == spacing
        assert [str(one.message)[: len(f"{path}: {told}")] for one in caught] == (
            [f"{path}: {told}"] if told else []
        )
