"""Small pictures of cases: upright, true to scale, each category outlined in its own colour."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from mots_pretrained.images.terminology import colour_of
from mots_pretrained.images.volume import Volume
from mots_pretrained.report.thumbnail import draw_thumbnail


def opened(file: bytes) -> np.ndarray:
    assert file[:3] == b"\xff\xd8\xff"
    return np.asarray(Image.open(BytesIO(file)).convert("RGB")).astype(int)


def near(picture: np.ndarray, name: str, value: int) -> np.ndarray:
    """Where a picture has the colour of a category, but for what JPEG makes of it."""
    colour = 255 * np.array(to_rgb(colour_of(name, value)))
    return np.abs(picture - colour).max(axis=2) < 60


def test_an_axial_slice_beside_a_coronal_one_with_the_head_up() -> None:
    scan = np.full((20, 30, 40), 40, np.int16)
    scan[0, 0, 0] = -1000
    labels = np.zeros(scan.shape, np.uint8)
    labels[14:19, 3:12, 4:16] = 1  # high, in front, on the patient's right
    # 100 x 60 x 80 mm: 2.125 pixels a millimetre make the axial slice 170 wide
    volume = Volume.with_spacing(scan, (5.0, 2.0, 2.0))
    picture = opened(draw_thumbnail(volume, labels, {"liver": 1}))
    assert picture.shape == (round(100 * 2.125), 170 + 4 + 170, 3)
    axial, coronal = picture[:, :170], picture[:, 174:]
    tall = round(60 * 2.125)
    top = (picture.shape[0] - tall) // 2
    rows, columns = np.nonzero(near(axial, "liver", 1))
    # the outline of h 3 to 12 of 30 and w 4 to 16 of 40
    np.testing.assert_allclose(np.ptp(rows) / tall, 9 / 30, atol=0.03)
    np.testing.assert_allclose((rows.mean() - top) / tall, 7.5 / 30, atol=0.03)
    np.testing.assert_allclose(columns.mean() / 170, 10 / 40, atol=0.03)
    rows, columns = np.nonzero(near(coronal, "liver", 1))
    np.testing.assert_allclose(rows.mean() / len(coronal), 1 - 16.5 / 20, atol=0.03)
    np.testing.assert_allclose(columns.mean() / 170, 10 / 40, atol=0.03)
    # outlined, not filled: the middle keeps the scan's own grey
    middle = axial[top + round(7.5 / 30 * tall), round(10 / 40 * 170)]
    assert np.ptp(middle) < 20


def test_a_tall_scan_is_bounded_by_its_height_and_a_case_without_labels_is_drawn() -> None:
    scan = np.random.default_rng(0).normal(40, 30, (30, 6, 8)).astype(np.float32)
    volume = Volume.with_spacing(scan, (10.0, 1.0, 1.0))
    picture = opened(draw_thumbnail(volume, np.zeros(scan.shape, np.uint8), {"liver": 1}))
    assert picture.shape[0] == 230
    assert not near(picture, "liver", 1).any()
