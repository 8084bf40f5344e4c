"""Fig. 8: further right is slower, higher is better, larger has more parameters."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from mots_pretrained.report.trade_off import MethodPoint, draw_trade_off


def test_place_and_area_tell_time_dice_and_parameters(tmp_path: Path) -> None:
    slow = MethodPoint("", 7.0, 60.0, 40_000_000)  # the first colour: blue
    quick = MethodPoint("", 1.0, 80.0, 10_000_000)  # the second: orange
    draw_trade_off([slow, quick], tmp_path / "fig.png")
    red, green, blue = matplotlib.image.imread(tmp_path / "fig.png")[..., :3].transpose(2, 0, 1)
    blues = np.argwhere((blue > 0.5) & (red < 0.35) & (green > 0.3))
    oranges = np.argwhere((red > 0.5) & (blue < 0.3))
    assert blues[:, 1].mean() > oranges[:, 1].mean()
    assert blues[:, 0].mean() > oranges[:, 0].mean()  # rows run downwards
    assert 2.5 < len(blues) / len(oranges) < 5


def test_no_method_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        draw_trade_off([], tmp_path / "fig.png")
