"""Fig. 7: the cross and the points lie where they are said to lie, level by level."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from mots_pretrained.report.sampling_points import SampledQuery, draw_sampling_points


def query(h: float, w: float, levels: int = 2) -> SampledQuery:
    """All points of level 2 lie at (h, w), those of level 1 outside of the slice."""
    locations = np.full((1, levels, 3, 3), 9.0)
    locations[:, 1] = (0.5, h, w)
    weights = np.full((1, levels, 3), 1 / 6)
    return SampledQuery("liver", np.array([0.5, 0.25, 0.75]), locations, weights)


def test_the_cross_is_in_every_panel_and_the_points_in_their_own(tmp_path: Path) -> None:
    draw_sampling_points(
        np.zeros((4, 40, 40), np.float32), [query(0.75, 0.25)], tmp_path / "fig.png"
    )
    picture = matplotlib.image.imread(tmp_path / "fig.png")[..., :3]
    red, green, blue = picture.transpose(2, 0, 1)
    crosses = np.argwhere((green > 0.9) & (red < 0.2) & (blue < 0.6))
    black = np.argwhere(picture.max(axis=2) < 0.01)
    full = np.bincount(black[:, 1], minlength=len(picture[0])) > 50
    black = black[(full & np.roll(full, 7))[black[:, 1]]]  # without the bar's outline
    top, left = black.min(axis=0)
    bottom, right = black.max(axis=0)
    middle = (left + right) / 2
    on_the_left = crosses[crosses[:, 1] < middle]
    on_the_right = crosses[crosses[:, 1] > middle]
    assert len(on_the_left) > 10
    assert len(on_the_left) == pytest.approx(len(on_the_right), abs=8)
    for found in (on_the_left, on_the_right):  # a quarter from above
        share = (found[:, 0].mean() - top) / (bottom - top)
        assert share == pytest.approx(0.25, abs=0.03)
    points = np.argwhere((red > 0.8) & (green > 0.85) & (blue < 0.3))  # the colour of the most
    inside = points[(points[:, 1] < right) & (points[:, 0] > top) & (points[:, 0] < bottom)]
    assert len(inside) > 5
    assert (inside[:, 1] > middle).all()
    assert (inside[:, 0].mean() - top) / (bottom - top) == pytest.approx(0.75, abs=0.03)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    scan = np.zeros((4, 8, 8))
    with pytest.raises(ValueError, match="and a query"):
        draw_sampling_points(scan, [], tmp_path / "fig.png")
    wrong = query(0.5, 0.5)._replace(weights=np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"liver: locations \(1, 2, 3, 3\) and weights"):
        draw_sampling_points(scan, [wrong], tmp_path / "fig.png")
