"""The overlay picture: upright, patient's right on the left, through what was found."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from mots_pretrained.images.volume import Volume
from mots_pretrained.report.overlay import best_slices, colour_of, draw_overlay

VALUES = {"liver": 1, "liver_tumour": 2, "spleen": 11}


def panels(path: Path) -> list[np.ndarray]:
    """Cut the picture into its three slices: a scan of one tissue shows as one grey."""
    picture = matplotlib.image.imread(path)[..., :3]
    grey = (np.ptp(picture, axis=2) < 0.01) & (np.abs(picture.mean(axis=2) - 0.5) < 0.02)
    columns = grey.sum(axis=0) > 20
    edges = np.flatnonzero(np.diff(np.r_[False, columns, False].astype(int)))
    cut = []
    for left, right in edges.reshape(-1, 2):
        if right - left > 50:
            rows = np.flatnonzero(grey[:, left:right].sum(axis=1) > 20)
            cut.append(picture[rows[0] : rows[-1] + 1, left:right])
    return cut


def centre_of_colour(panel: np.ndarray) -> np.ndarray:
    """Where the tint lies, as shares of the panel's height and width."""
    tinted = np.ptp(panel, axis=2) > 0.08
    return np.argwhere(tinted).mean(axis=0) / tinted.shape


def test_head_up_front_up_and_the_patient_s_right_on_the_left(tmp_path: Path) -> None:
    scan = np.full((40, 60, 50), 40, np.int16)  # the middle of the abdominal window: grey
    scan[0, 0, 0] = -1000
    labels = np.zeros(scan.shape, np.uint8)
    labels[30:38, 3:15, 5:15] = 1  # high, in front, on the right
    volume = Volume.with_spacing(scan, (4.0, 2.0, 3.0), name="scan")
    draw_overlay(volume, labels, tmp_path / "a.png", values=VALUES)
    axial, coronal, sagittal = panels(tmp_path / "a.png")
    across = {"d": 1 - 34 / 40, "h": 9 / 60, "w": 10 / 50}
    np.testing.assert_allclose(centre_of_colour(axial), [across["h"], across["w"]], atol=0.02)
    np.testing.assert_allclose(centre_of_colour(coronal), [across["d"], across["w"]], atol=0.02)
    np.testing.assert_allclose(centre_of_colour(sagittal), [across["d"], across["h"]], atol=0.02)
    # true to scale: 160 x 120 x 150 mm
    shapes = [np.array(p.shape[:2], float) for p in (axial, coronal, sagittal)]
    expected = [(120, 150), (160, 150), (160, 120)]
    for shape, (tall, wide) in zip(shapes, expected, strict=True):
        assert shape[0] / shape[1] == pytest.approx(tall / wide, rel=0.03)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]


def test_slices_go_through_the_findings_each_counting_alike() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:12, 5:15, 5:15] = 1
    labels[8:10, 12, 6] = 2
    labels[9, 12, 7] = 2
    assert best_slices(labels, [1, 2]) == (9, 12, 6)
    assert best_slices(labels, [2]) == (9, 12, 6)
    assert best_slices(np.zeros((4, 6, 8), int), []) == (2, 3, 4)


def test_nothing_found_is_a_picture_too(tmp_path: Path) -> None:
    scan = np.random.default_rng(0).normal(100, 20, (2, 8, 30, 20)).astype(np.float32)
    volume = Volume.with_spacing(scan, (8.0, 1.0, 1.0))
    draw_overlay(
        volume, np.zeros((8, 30, 20), np.uint8), tmp_path / "a.png", values=VALUES, channel=1
    )
    picture = matplotlib.image.imread(tmp_path / "a.png")
    assert picture.std() > 0.05  # values that are no CT numbers get a range of their own


def test_colours_are_steady() -> None:
    assert colour_of("liver", 1) == colour_of("liver", 5)
    names = list(VALUES)
    assert len({colour_of(name, value) for name, value in VALUES.items()}) == len(names)
    assert colour_of("class_3", 3) != colour_of("class_4", 4)


def test_wrong_grids_and_names_are_refused(tmp_path: Path) -> None:
    volume = Volume.with_spacing(np.zeros((4, 5, 6), np.int16), (1, 1, 1))
    labels = np.zeros((4, 5, 6), np.uint8)
    with pytest.raises(ValueError, match="not on the scan's grid"):
        draw_overlay(volume, labels[:3], tmp_path / "a.png", values=VALUES)
    with pytest.raises(ValueError, match=r"give a name ending in \.png"):
        draw_overlay(volume, labels, tmp_path / "a.jpg", values=VALUES)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        draw_overlay(volume, labels, tmp_path / "none" / "a.png", values=VALUES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["肝臓_left", "a$b$c_{", "$\\frac$"])
def test_names_in_any_script_and_with_signs_of_mathematics_are_drawn(tmp_path, name) -> None:
    labels = np.zeros((8, 9, 10), np.uint8)
    labels[2:5, 2:5, 2:5] = 1
    volume = Volume.with_spacing(np.zeros(labels.shape, np.int16), (3, 2, 1), name=name)
    draw_overlay(volume, labels, tmp_path / "a.png", values={name: 1}, volumes={name: 2.0})
    assert (tmp_path / "a.png").stat().st_size > 1000  # without a warning
