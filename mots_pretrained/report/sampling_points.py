"""Fig. 7: sampling points and reference points of deformable attention on a slice, by level."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.report.canvas import INK, MUTED, PAPER, save_figure
from mots_pretrained.report.overlay import display_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.floating[Any]]

_COLOURS = "plasma"


class SampledQuery(NamedTuple):
    """One query and where it samples; points are normalised, 0 to 1, in the order (d, h, w).

    Attributes:
        name: What lies at its reference point.
        reference: ``(3,)``.
        locations: ``(heads, levels, points, 3)``.
        weights: ``(heads, levels, points)``.
    """

    name: str
    reference: Array
    locations: Array
    weights: Array


def draw_sampling_points(
    scan: NDArray[Any],
    queries: Sequence[SampledQuery],
    path: str | os.PathLike[str],
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    title: str = "",
) -> None:
    """Draw, on the axial slice of each reference point, what its query samples from each level.

    A line a query, a column a level, coarsest last; circles are the sampling points of all heads,
    wherever their depth, coloured by attention weight; the cross is the reference point.

    Args:
        scan: ``(D, H, W)``, what the network was given.
        queries: Which queries to draw.
        path: A ``.png`` file to write or replace.
        spacing: Of the scan, in mm.
        title: What to write above.

    Raises:
        ValueError: If there is no query, or one has shapes that do not fit.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    _check(scan, queries)
    levels = queries[0].weights.shape[1]
    depth, height, width = scan.shape
    across = 3.2
    down = across * height * spacing[1] / (width * spacing[2])
    figure = Figure(
        figsize=(across * levels + 1.2, (down + 0.4) * len(queries) + 0.5),
        facecolor=PAPER,
        layout="constrained",
    )
    panels = figure.subplots(len(queries), levels, squeeze=False)
    most = max(float(query.weights.max()) for query in queries)
    for line, query in zip(panels, queries, strict=True):
        at = min(depth - 1, max(0, int(query.reference[0] * depth)))
        for level, axes in enumerate(line):
            _draw_level(axes, scan[at], query, level, most, spacing)
            axes.set_title(f"{query.name}, level {level + 1}", color=MUTED, fontsize=9)
    colours = ScalarMappable(Normalize(0, most), _COLOURS)
    bar = figure.colorbar(colours, ax=panels, shrink=0.7)
    bar.set_label("attention weight", color=INK)
    bar.ax.tick_params(colors=MUTED, labelsize=8)
    if title:
        figure.suptitle(title, color=INK, fontsize=12, fontweight="bold")
    save_figure(figure, path)


def _draw_level(
    axes: Axes,
    image: NDArray[Any],
    query: SampledQuery,
    level: int,
    most: float,
    spacing: tuple[float, float, float],
) -> None:
    """Draw one level's points of one query; a voxel's centre lies half a voxel in."""
    low, high = display_range(image)
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=spacing[1] / spacing[2])
    height, width = image.shape
    points = query.locations[:, level].reshape(-1, 3)
    axes.scatter(
        points[:, 2] * width - 0.5,
        points[:, 1] * height - 0.5,
        c=query.weights[:, level].reshape(-1),
        cmap=_COLOURS,
        vmin=0,
        vmax=most,
        s=16,
        linewidths=0,
    )
    _, h, w = query.reference
    axes.plot(
        w * width - 0.5, h * height - 0.5, "+", color="#00ff66", markersize=12, markeredgewidth=2
    )
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_axis_off()


def _check(scan: NDArray[Any], queries: Sequence[SampledQuery]) -> None:
    if scan.ndim != 3 or not queries:
        raise UserError(f"wanted are a scan (D, H, W) and a query, not {scan.shape}, {queries!r}")
    for query in queries:
        fits = query.locations.shape == (*query.weights.shape, 3) and query.weights.ndim == 3
        if not fits or query.weights.shape[1] != queries[0].weights.shape[1]:
            raise UserError(
                f"{query.name}: locations {query.locations.shape} and weights "
                f"{query.weights.shape} are not (heads, levels, points, 3) and the same without 3"
            )
