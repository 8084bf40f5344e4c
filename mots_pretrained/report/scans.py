"""A picture of what labelled scans are worth: Dice over their number, from two kinds of weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mots_pretrained.report.canvas import INK, MUTED, PAPER, save_figure

_PRETRAINED, _RANDOM = "#4da3ff", "#ff9f45"


class ScansPoint(NamedTuple):
    """Scores with so many labelled scans.

    Attributes:
        scans: Their number.
        pretrained: Mean Dice from pretrained weights.
        random: Mean Dice from random weights.
        low: Lower end of the paired interval of the difference; NaN where it is unknown.
        high: Upper end.
    """

    scans: int
    pretrained: float
    random: float
    low: float
    high: float


def draw_scans(points: Sequence[ScansPoint], path: str | os.PathLike[str]) -> None:
    """Draw both lines; bars are the difference's interval, put upon the random weights' line.

    Args:
        points: At least one, by the number of scans.
        path: A ``.png`` file to write or replace.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.9), facecolor=PAPER, layout="constrained")
    panel = figure.subplots()
    scans = [point.scans for point in points]
    first, second = (np.array([point[i] for point in points]) for i in (1, 2))
    low, high = (second + np.array([point[i] for point in points]) for i in (3, 4))
    ends = np.nan_to_num(np.clip([first - low, high - first], 0, None))
    panel.errorbar(scans, first, ends, color=_PRETRAINED, marker="o", capsize=3, label="pretrained")
    panel.plot(scans, second, color=_RANDOM, marker="o", label="random weights")
    panel.set_xscale("log", base=2)
    panel.set_xticks(scans, [str(count) for count in scans])
    panel.set_ylim(0, 1)
    panel.set_facecolor(PAPER)
    panel.set_xlabel("labelled scans", color=MUTED)
    panel.set_ylabel("mean Dice of held-out scans", color=MUTED)
    panel.tick_params(colors=MUTED, labelsize=8)
    panel.grid(color="#2a2e35", linewidth=0.8)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#3a3f47")
    panel.legend(frameon=False, labelcolor=INK, fontsize=9)
    save_figure(figure, path)
