"""Small NIfTI files within a page: same place, small lesions kept."""

from __future__ import annotations

import numpy as np
import pytest
from predicted_folder import volume_of

from mots_pretrained.images.volume import Volume
from mots_pretrained.report.embed import embed


def test_small_volumes_keep_place_and_small_lesions():
    labels = np.zeros((40, 100, 120), np.uint8)
    labels[5:35, 20:80, 10:50] = 3
    labels[20, 50, 30] = 7
    volume = Volume.with_spacing(labels, (5.0, 1.0, 1.0))
    made = embed(volume, {"organ": 3, "lesion": 7}, most=40)
    small = volume_of(made.marks)
    assert small.shape == (24, 20, 40)
    organ = np.argwhere(np.asarray(small.dataobj) > 0).mean(axis=0)
    expected = volume.affine @ (*np.argwhere(labels > 0).mean(axis=0), 1)
    np.testing.assert_allclose(small.affine @ (*organ, 1), expected, atol=1.0)
    assert 2 in np.unique(small.dataobj)
    right, front, head = made.places["organ"]
    assert (right > 0.5, 0.3 < front < 0.7, 0.1 < head < 0.9) == (True, True, True)


def test_the_scan_is_shown_in_256_greys_of_its_window():
    scan = np.full((4, 5, 6), -1000, np.int16)
    scan[1, 2, 3], scan[3, 4, 5] = 40, 3000  # the window runs from -160 to 240
    volume = Volume.with_spacing(scan, (3.0, 2.0, 1.0))
    labels = Volume(np.zeros(scan.shape, np.uint8), volume.affine)
    made = embed(labels, {"liver": 1}, scan=volume)
    image = volume_of(made.image)
    np.testing.assert_allclose(image.affine[:3, 3], volume.affine[:3, 3])
    array = np.asarray(image.dataobj).T  # no finer than asked for: the grid is the scan's own
    assert array.shape == scan.shape
    assert (array[0, 0, 0], array[1, 2, 3], array[3, 4, 5]) == (0, 127, 255)
    assert made.places == {}


def test_without_the_scan_it_is_black_and_labels_are_numbered_by_the_list():
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[2, 1, 4] = 255
    volume = Volume.with_spacing(labels, (3.0, 2.0, 1.0))
    made = embed(volume, {"absent": 3, "node": 255})
    assert not np.asarray(volume_of(made.image).dataobj).any()
    assert np.unique(volume_of(made.marks).dataobj).tolist() == [0, 2]
    # the voxel's centre as shares towards right, front and head
    assert made.places == {"node": pytest.approx((1 - 4.5 / 6, 1 - 1.5 / 5, 2.5 / 4))}


def test_the_same_input_makes_the_same_bytes():
    volume = Volume.with_spacing(np.ones((4, 5, 6), np.uint8), (3.0, 2.0, 1.0))
    assert embed(volume, {"a": 1}) == embed(volume, {"a": 1})
