"""Fig. 8: accuracy against inference time, each method a circle as large as its parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from mots_pretrained.errors import UserError
from mots_pretrained.report.canvas import INK, MUTED, PAPER, save_figure

_COLOURS = ("#4da3ff", "#ff9f45", "#3fbf6f", "#e0709a", "#f2cf63", "#9b6bd3", "#12a594")


class MethodPoint(NamedTuple):
    """One method's cost and accuracy.

    Attributes:
        name: The method.
        seconds: Of inference.
        dice: Percent.
        parameters: Of the network.
    """

    name: str
    seconds: float
    dice: float
    parameters: int


def draw_trade_off(
    points: Sequence[MethodPoint],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    across: str = "seconds for seven tasks",
) -> None:
    """Draw accuracy over inference time.

    Args:
        points: The methods.
        path: A ``.png`` file to write or replace.
        title: What to write above.
        across: Name of the horizontal axis.

    Raises:
        ValueError: If there is no method.
    """
    from matplotlib.figure import Figure

    if not points:
        raise UserError("there is no method to draw; give at least one")
    figure = Figure(figsize=(7.2, 4.6), facecolor=PAPER, layout="constrained")
    axes = figure.subplots()
    largest = max(point.parameters for point in points)
    for index, point in enumerate(points):
        colour = _COLOURS[index % len(_COLOURS)]
        area = 1400 * point.parameters / largest  # a circle's area tells the parameters
        axes.scatter(point.seconds, point.dice, s=area, color=colour, alpha=0.6, linewidths=0)
        axes.annotate(
            f"{point.name}\n{point.parameters / 1e6:.1f} M",
            (point.seconds, point.dice),
            color=INK,
            fontsize=8,
            ha="center",
            va="center",
        )
    axes.margins(0.2)
    axes.set_facecolor(PAPER)
    axes.set_xlabel(across, color=MUTED)
    axes.set_ylabel("mean Dice, %", color=MUTED)
    axes.tick_params(colors=MUTED, labelsize=8)
    axes.grid(color="#2a2e35", linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#3a3f47")
    if title:
        axes.set_title(title, color=INK, fontsize=12, fontweight="bold")
    save_figure(figure, path)
