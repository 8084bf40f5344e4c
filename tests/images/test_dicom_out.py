"""DICOM SEG, RTSTRUCT and .seg.nrrd read back by highdicom, pydicom, rt-utils and SimpleITK."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_series import AXIAL, CORONAL, SAGITTAL, enhanced, voxels, write_series
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from rt_utils import RTStructBuilder

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.images.reading import read_labels, read_volume
from mots_pretrained.images.segmentation import (
    DICOM_FORMATS,
    FORMATS,
    check_formats,
    write_segmentation,
)
from mots_pretrained.images.volume import Volume

VALUES = {"liver": (1, 2), "liver_tumour": (2,), "left_kidney": (255,), "spleen": (4,)}
OWN = {name: values[0] for name, values in VALUES.items()}


def blobs(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Labels with holes, single voxels, voxels at the edges and diagonal neighbours."""
    labels = np.zeros(shape, np.uint8)
    labels[:, 1:-1, 1:-1] = 1
    labels[1:-1, 2:5, 2:5] = 2
    labels[2, 3, 3] = 0  # a hole within the tumour
    labels[0, 0, 0] = labels[0, -1, -1] = labels[1, 0, 1] = labels[1, 1, 2] = 255
    labels[-1, :, -1] = 255
    return labels


def truth(labels: NDArray[np.uint8], volume: Volume) -> NDArray[np.uint8]:
    """What lies on each image: ``(images, rows, columns)``, in the order of their places."""
    return volume.restore(labels).T


def read_seg(path: Path, files: list[Path]) -> dict[str, NDArray[np.bool_]]:
    """Each segment on the source images, found by their UIDs."""
    seg = hd.seg.segread(path)
    uids = [pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
    pixels = seg.get_pixels_by_source_instance(uids, ignore_spatial_locations=True,
                                               assert_missing_frames_are_empty=True)  # fmt: skip
    return {
        segment.SegmentLabel: pixels[..., segment.SegmentNumber - 1].astype(bool)
        for segment in seg.SegmentSequence
    }


def read_contours(path: Path, files: list[Path]) -> dict[str, NDArray[np.bool_]]:
    """Each structure on the images: which pixel centres lie within its contours."""
    structures = pydicom.dcmread(path)
    images = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    names = {roi.ROINumber: roi.ROIName for roi in structures.StructureSetROISequence}
    found = {}
    for roi in structures.ROIContourSequence:
        masks = np.zeros((len(images), images[0].Rows, images[0].Columns), bool)
        for contour in roi.get("ContourSequence", ()):
            uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
            index = [image.SOPInstanceUID for image in images].index(uid)
            masks[index] ^= inside(np.reshape(contour.ContourData, (-1, 3)), images[index])
        found[names[roi.ReferencedROINumber]] = masks
    return found


def inside(points: NDArray[np.float64], image: pydicom.Dataset) -> NDArray[np.bool_]:
    away = points.astype(float) - np.array(image.ImagePositionPatient, float)
    row, down = np.reshape(image.ImageOrientationPatient, (2, 3)).astype(float)
    normal = np.cross(row, down)
    np.testing.assert_allclose(away @ normal, 0, atol=1e-3)  # on the image's own plane
    x, y = away @ row / image.PixelSpacing[1], away @ down / image.PixelSpacing[0]
    centres = np.stack(np.meshgrid(np.arange(image.Columns), np.arange(image.Rows)), -1)
    flat = Polygon(np.stack([x, y], -1), closed=False).contains_points(centres.reshape(-1, 2))
    return flat.reshape(image.Rows, image.Columns)


def uneven(folder: Path) -> list[Path]:
    return write_series(folder, voxels((6, 12, 14)), places=[0, 2, 4, 5, 6, 8])


def tilted(folder: Path) -> list[Path]:
    turned = (1, 0, 0, 0, np.cos(0.3), -np.sin(0.3))
    return write_series(folder, voxels((6, 12, 14)), orientation=turned, along=(0, 0, 1))


def backwards(folder: Path) -> list[Path]:
    return write_series(folder, voxels((6, 12, 14)), step=-2.0)[::-1]


SERIES = {
    "axial": lambda folder: write_series(folder, voxels((6, 12, 14)), orientation=AXIAL),
    "coronal": lambda folder: write_series(folder, voxels((6, 12, 14)), orientation=CORONAL),
    "sagittal": lambda folder: write_series(folder, voxels((6, 12, 14)), orientation=SAGITTAL),
    "backwards": backwards,
    "uneven": uneven,
    "tilted": tilted,
}


@pytest.mark.filterwarnings("ignore:.*(slices are|tilted by)")
@pytest.mark.parametrize("kind", SERIES)
def test_dicom_results_lie_on_the_series_own_slices(tmp_path: Path, kind: str) -> None:
    files = SERIES[kind](tmp_path / "ct")
    volume = read_volume(tmp_path / "ct")
    labels = blobs(volume.shape)
    written = write_segmentation(tmp_path, labels, volume, VALUES, formats=list(FORMATS))
    assert {name: path.name for name, path in written.items()} == {
        "nifti": "ct_seg.nii.gz", "nrrd": "ct.seg.nrrd", "dicom-seg": "ct_seg.dcm",
        "rtstruct": "ct_rtstruct.dcm", "nnunet": "ct.nii.gz",
    }  # fmt: skip
    expected = truth(labels, volume)
    assert len(expected) == len(files)
    segments = read_seg(written["dicom-seg"], files)
    contours = read_contours(written["rtstruct"], files)
    assert list(segments) == list(contours) == list(VALUES)
    for name, value in OWN.items():
        np.testing.assert_array_equal(segments[name], expected == value, err_msg=name)
        np.testing.assert_array_equal(contours[name], expected == value, err_msg=name)
    image, nifti = (sitk.ReadImage(str(written[kind])) for kind in ("nrrd", "nifti"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(nifti))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.restore(labels).T)
    np.testing.assert_allclose(image.GetOrigin(), nifti.GetOrigin(), atol=1e-4)
    if kind != "tilted":  # ITK reads shear from NRRD, and from NIfTI what it would from DICOM
        np.testing.assert_allclose(image.GetDirection(), nifti.GetDirection(), atol=1e-5)
    series = sitk.ReadImage([str(file) for file in files])
    np.testing.assert_allclose(nifti.GetDirection(), series.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(nifti.GetSpacing(), series.GetSpacing(), atol=1e-5)
    np.testing.assert_allclose(nifti.GetOrigin(), series.GetOrigin(), atol=1e-4)


def test_rt_utils_reads_the_same_voxels(tmp_path: Path) -> None:
    array = voxels((5, 16, 16))  # rt-utils takes images to be square, and pixels too
    write_series(tmp_path / "ct", array, spacing=(1.5, 1.5))
    volume = read_volume(tmp_path / "ct")
    labels = blobs(volume.shape)
    path = write_segmentation(tmp_path, labels, volume, VALUES, formats=["rtstruct"])["rtstruct"]
    structures = RTStructBuilder.create_from(str(tmp_path / "ct"), str(path))
    assert structures.get_roi_names() == list(VALUES)
    expected = truth(labels, volume)
    for name in ("liver", "liver_tumour", "left_kidney"):
        mask = structures.get_roi_mask_by_name(name)
        np.testing.assert_array_equal(mask, (expected == OWN[name]).transpose(1, 2, 0))


def test_segments_say_what_they_are(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", voxels((4, 12, 14)), PatientSex="Q", PatientName="anonymous")
    volume = read_volume(tmp_path / "ct")
    path = write_segmentation(tmp_path, blobs(volume.shape), volume, VALUES, formats=["dicom-seg"])[
        "dicom-seg"
    ]
    seg = pydicom.dcmread(path)
    liver, tumour, kidney, _ = seg.SegmentSequence
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert tumour.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert tumour.AnatomicRegionSequence[0].CodeMeaning == "Liver"
    modifier = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert modifier[0].CodeMeaning == "Left"
    colour = hd.color.CIELabColor.from_dicom_value(liver.RecommendedDisplayCIELabValue).to_rgb()
    np.testing.assert_allclose(colour, (0xD9, 0x8C, 0x4A), atol=1)
    source = pydicom.dcmread(tmp_path / "ct" / "000.dcm")
    for name in ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID"):
        assert seg[name].value == source[name].value


def test_an_enhanced_ct_gets_results_on_its_frames(tmp_path: Path) -> None:
    order = [2, 0, 1, 4, 3]
    enhanced(write_series(tmp_path / "ct", voxels((5, 12, 14))), tmp_path / "one.dcm", order)
    volume = read_volume(tmp_path / "one.dcm")
    labels = blobs(volume.shape)
    path = write_segmentation(tmp_path, labels, volume, VALUES, formats=["dicom-seg"])["dicom-seg"]
    seg = hd.seg.segread(path)
    uid = pydicom.dcmread(tmp_path / "one.dcm").SOPInstanceUID
    pixels = seg.get_pixels_by_source_frame(uid, [1, 2, 3, 4, 5], ignore_spatial_locations=True,
                                            assert_missing_frames_are_empty=True)  # fmt: skip
    expected = truth(labels, volume)[order]
    path = write_segmentation(tmp_path, labels, volume, VALUES, formats=["rtstruct"])["rtstruct"]
    tumour = pydicom.dcmread(path).ROIContourSequence[1].ContourSequence
    frames = {contour.ContourImageSequence[0].ReferencedFrameNumber for contour in tumour}
    assert frames == {1 + k for k in range(5) if (expected[k] == OWN["liver_tumour"]).any()}
    for number, value in enumerate(OWN.values()):
        np.testing.assert_array_equal(pixels[..., number], expected == value)


@pytest.mark.parametrize(
    "name", ["PatientID", "FrameOfReferenceUID", "SliceThickness", "SeriesNumber"]
)
def test_what_anonymisation_removed_is_no_hindrance(tmp_path: Path, name: str) -> None:
    files = write_series(tmp_path / "ct", voxels((4, 12, 14)))
    for path in files:
        ds = pydicom.dcmread(path)
        del ds[name]
        ds.save_as(path)
    volume = read_volume(tmp_path / "ct")
    labels = blobs(volume.shape)
    written = write_segmentation(tmp_path, labels, volume, VALUES, formats=DICOM_FORMATS)
    for masks in (read_seg(written["dicom-seg"], files), read_contours(written["rtstruct"], files)):
        np.testing.assert_array_equal(masks["liver"], truth(labels, volume) == 1)


@pytest.mark.parametrize("name", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_without_uids_nothing_can_refer_to_a_series(tmp_path: Path, name: str) -> None:
    for path in write_series(tmp_path / "ct", voxels((4, 12, 14))):
        ds = pydicom.dcmread(path)
        del ds[name]
        ds.save_as(path)
    volume = read_volume(tmp_path / "ct")
    for kind in DICOM_FORMATS:
        with pytest.raises(UserError, match=f"has no {name}, by which DICOM results refer to it"):
            write_segmentation(
                tmp_path, blobs(volume.shape), volume, VALUES, formats=["nifti", kind]
            )
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_names_in_any_script_are_kept(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "ct", voxels((4, 12, 14))):
        ds = pydicom.dcmread(path)
        ds.SpecificCharacterSet, ds.PatientName = "ISO_IR 100", "Müller^Jörg"
        ds.save_as(path)
    volume = read_volume(tmp_path / "ct")
    values = {"肝": (1,), "foie_grés": (2,)}
    written = write_segmentation(
        tmp_path, blobs(volume.shape) % 3, volume, values, formats=list(FORMATS)
    )
    seg, structures = (pydicom.dcmread(written[kind]) for kind in DICOM_FORMATS)
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == list(values)
    assert [roi.ROIName for roi in structures.StructureSetROISequence] == list(values)
    assert seg.PatientName == structures.PatientName == "Müller^Jörg"


def test_nothing_found_is_written_as_well(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels((4, 12, 14)))
    volume = read_volume(tmp_path / "ct")
    empty = np.zeros(volume.shape, np.uint8)
    written = write_segmentation(tmp_path, empty, volume, VALUES, formats=list(FORMATS))
    for masks in (read_seg(written["dicom-seg"], files), read_contours(written["rtstruct"], files)):
        assert list(masks) == list(VALUES)
        assert not any(mask.any() for mask in masks.values())
    structures = pydicom.dcmread(written["rtstruct"])
    assert not any("ContourSequence" in roi for roi in structures.ROIContourSequence)


def test_dicom_results_need_a_dicom_scan(tmp_path: Path) -> None:
    scan = Volume.with_spacing(np.zeros((3, 4, 5), np.int16), (3, 2, 1), name="ct")
    for kind in ("dicom-seg", "rtstruct"):
        with pytest.raises(UserError, match=f"format {kind} refers to a DICOM series, and this"):
            write_segmentation(tmp_path, scan.array, scan, VALUES, formats=["nifti", kind])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnknownNameError, match="unknown format 'stl'; allowed are nifti, nrrd"):
        check_formats(["stl"], dicom=True)
    with pytest.raises(UserError, match="no format given"):
        check_formats([], dicom=True)


def test_slicers_fields_are_there(tmp_path: Path) -> None:
    scan = Volume.with_spacing(np.zeros((3, 12, 14), np.int16), (3, 2, 1), name="ct")
    path = write_segmentation(tmp_path, blobs(scan.shape), scan, VALUES, formats=["nrrd"])["nrrd"]
    image = sitk.ReadImage(str(path))
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert fields["Segment1_Name"] == "liver_tumour"
    assert fields["Segment2_LabelValue"] == "255"
    assert fields["Segment0_Color"] == "0.85098 0.54902 0.290196"
    assert fields["Segment0_Extent"] == "0 13 0 11 0 2"
    assert fields["Segment2_Tags"].endswith(
        "~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left"
        "~Anatomic codes - DICOM master list~^^~^^|"
    )
    np.testing.assert_array_equal(read_labels(path).array, blobs(scan.shape))
