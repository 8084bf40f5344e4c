"""Label maps on series of every kind, and what other programs read of them: images by images."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from dicom_series import AXIAL, CORONAL, SAGITTAL, enhanced, voxels, write_series
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray

from mots_pretrained.images.reading import read_volume
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


def labelled(place: Path) -> tuple[Volume, NDArray[np.uint8], NDArray[np.uint8]]:
    """A series or file as it is read, labels for it, and what of them lies on each image."""
    volume = read_volume(place)
    labels = blobs(volume.shape)
    return volume, labels, truth(labels, volume)


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


FRAMES = [2, 0, 1, 4, 3]
"""The slices of an enhanced CT, in the order of its frames."""


def in_frames(folder: Path) -> Path:
    """Write an enhanced CT."""
    path = folder / "one.dcm"
    enhanced(write_series(folder / "ct", voxels((5, 12, 14))), path, FRAMES)
    return path


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
