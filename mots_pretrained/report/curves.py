"""A picture of training curves: one panel a column of the log, one line a run."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mots_pretrained.errors import UserError
from mots_pretrained.report.canvas import INK, MUTED, PAPER, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, str | float]

_LINES = ("#4da3ff", "#ff9f45", "#3fbf6f", "#e0709a", "#f2cf63", "#9b6bd3")


def draw_curves(
    runs: Mapping[str, Sequence[Row]],
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] = ("total",),
    across: str = "step",
    title: str = "",
) -> None:
    """Draw the columns of one or more training logs.

    Args:
        runs: Rows of each run by its name; numbers may be texts, as a CSV gives them. Rows that
            lack a column are left out of its panel.
        path: A ``.png`` file to write or replace.
        columns: The columns to draw, a panel each.
        across: The column of the horizontal axis.
        title: What to write above.

    Raises:
        ValueError: If no run has a column; the message lists those there are.

    Example:
        >>> rows = [{"step": 10, "total": 1.4}, {"step": 20, "total": 0.9}]
        >>> draw_curves({"pretrained": rows}, "curves.png")  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(columns), 3.9), facecolor=PAPER, layout="constrained")
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        lines = {name: points(rows, across, column) for name, rows in runs.items()}
        if not any(lines.values()):
            known = sorted({key for rows in runs.values() for row in rows for key in row})
            raise UserError(f"no log has {across!r} and {column!r}; there are: {', '.join(known)}")
        _draw_panel(panel, lines, column, across)
    if title:
        figure.suptitle(title, color=INK, fontsize=12, fontweight="bold")
    save_figure(figure, path)


def points(rows: Sequence[Row], across: str, column: str) -> list[tuple[float, float]]:
    """Return a column's finite numbers over another's."""
    pairs = []
    for row in rows:
        if row.get(across, "") == "" or row.get(column, "") == "":
            continue
        pair = float(row[across]), float(row[column])
        if all(map(math.isfinite, pair)):
            pairs.append(pair)
    return pairs


def _draw_panel(
    panel: Axes, lines: Mapping[str, list[tuple[float, float]]], column: str, across: str
) -> None:
    for index, (name, line) in enumerate(lines.items()):
        if line:
            marker = "o" if len(line) == 1 else ""
            panel.plot(*zip(*line, strict=True), color=_LINES[index % len(_LINES)], label=name,
                       linewidth=1.8, marker=marker)  # fmt: skip
    panel.set_facecolor(PAPER)
    panel.set_xlabel(across, color=MUTED)
    panel.set_ylabel(column.replace("_", " "), color=MUTED)
    panel.tick_params(colors=MUTED, labelsize=8)
    panel.grid(color="#2a2e35", linewidth=0.8)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#3a3f47")
    if len(lines) > 1:
        panel.legend(frameon=False, labelcolor=INK, fontsize=9)
