"""A picture of a scan with its labels, as a radiologist holds it: patient's right on the left."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.images.terminology import colour_of
from mots_pretrained.images.volume import Volume
from mots_pretrained.report.canvas import INK, MUTED, PAPER, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Plane = NDArray[Any]

_WINDOW = (-160.0, 240.0)  # HU: the abdominal window
_AIR = -200.0  # a scan with values below is shown in Hounsfield units

_GAP, _HEAD, _FOOT, _LEGEND, _LINE = 0.15, 0.6, 0.35, 2.9, 0.25  # inches


class _View(NamedTuple):
    """A kind of slice: the axis it cuts, those it shows (down, across), and its sides' names."""

    name: str
    through: int
    shown: tuple[int, int]
    sides: str  # left, right, top, bottom


_VIEWS = (
    _View("axial", 0, (1, 2), "RLAP"),
    _View("coronal", 1, (0, 2), "RLSI"),
    _View("sagittal", 2, (0, 1), "APSI"),
)
_PLACES = ((0.01, 0.5), (0.99, 0.5), (0.5, 0.985), (0.5, 0.015))
_ALIGN = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))


def draw_overlay(
    volume: Volume,
    labels: NDArray[Any],
    path: str | os.PathLike[str],
    *,
    values: Mapping[str, int],
    volumes: Mapping[str, float] | None = None,
    title: str | None = None,
    channel: int = 0,
) -> None:
    """Draw an axial, a coronal and a sagittal slice through what was found, with a legend.

    Each slice is the one in which the findings together are largest, every finding counting by
    its share of its own largest extent, so that a small tumour weighs as much as a liver.

    Args:
        volume: The scan.
        labels: ``(D, H, W)`` on the scan's grid, 0 for background.
        path: A ``.png`` file to write or replace.
        values: Value of each category in ``labels``.
        volumes: Millilitres to show beside the names.
        title: What to write above; the scan's name by default.
        channel: Which channel to show, of several.

    Raises:
        ValueError: If the labels are not on the scan's grid.

    Example:
        >>> draw_overlay(prediction.volume, prediction.labels, "ct_overlay.png",
        ...              values=prediction.values, volumes=prediction.volumes)  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    if labels.shape != volume.shape:
        raise UserError(f"labels of {labels.shape} are not on the scan's grid {volume.shape}")
    scan = volume.array[channel] if volume.array.ndim == 4 else volume.array
    found = {name: value for name, value in values.items() if (labels == value).any()}
    display = display_range(scan)
    at = best_slices(labels, list(found.values()))
    extent = [n * step for n, step in zip(volume.shape, volume.spacing, strict=True)]  # mm
    depth, height, width = extent
    wide, tall = 2 * width + height, max(height, depth)
    scale = min(11.0 / wide, 7.0 / tall)  # one for all slices, in inches a millimetre
    room = max(scale * tall, _LINE * (len(found) + 1))
    inches = np.array([scale * wide + 4 * _GAP + _LEGEND, room + _HEAD + _FOOT])
    figure = Figure(figsize=tuple(inches), facecolor=PAPER)
    left = _GAP
    for view in _VIEWS:
        down, across = (scale * extent[axis] for axis in view.shown)
        corner = np.array([left, _FOOT + (room - down) / 2])
        axes = figure.add_axes((*(corner / inches), *(np.array([across, down]) / inches)))
        image, marks = (np.take(array, at[view.through], view.through) for array in (scan, labels))
        if view.shown[0] == 0:  # depth runs from the feet up, a picture's rows from the top down
            image, marks = image[::-1], marks[::-1]
        # stretched to the axes, whose sides are true to scale
        axes.imshow(image, cmap="gray", vmin=display[0], vmax=display[1], aspect="auto",
                    interpolation="bilinear")  # fmt: skip
        draw_labels(axes, marks, found)
        _frame(axes, f"{view.name} {at[view.through] + 1} / {labels.shape[view.through]}", view)
        left += across + _GAP
    _legend(figure, left / inches[0], found, volumes or {}, len(values))
    figure.text(_GAP / inches[0], 1 - _HEAD / 2 / inches[1], title or volume.name, color=INK,
                fontsize=13, fontweight="bold", va="center", parse_math=False)  # fmt: skip
    save_figure(figure, path)


def best_slices(labels: NDArray[Any], values: list[int]) -> tuple[int, int, int]:
    """Find the slice along each axis that shows most; the middle one where nothing was found."""
    score = [np.zeros(size) for size in labels.shape]
    for value in values:
        mask = labels == value
        for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
            area = mask.sum(axis=others)
            score[axis] += area / area.max()
    depth, height, width = (int(line.argmax()) if line.any() else len(line) // 2 for line in score)
    return depth, height, width


def display_range(scan: NDArray[Any]) -> tuple[float, float]:
    """The abdominal window for CT numbers, else the middle of the values that are not zero."""
    if scan.min() < _AIR:
        return _WINDOW
    sample = scan[:: max(1, scan.shape[0] // 32)]
    inside = sample[sample != 0]
    if not inside.size:
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(inside, (1, 99.5)))
    return low, max(high, low + 1e-6)


def draw_labels(axes: Axes, marks: Plane, found: Mapping[str, int]) -> None:
    """Tint each category and draw its outline, so that the anatomy stays visible."""
    from matplotlib.colors import to_rgb

    tint = np.zeros((*marks.shape, 4))
    for name, value in found.items():
        inside = marks == value
        if not inside.any():
            continue
        colour = to_rgb(colour_of(name, value))
        tint[inside] = (*colour, 0.38)
        if min(marks.shape) > 1:
            axes.contour(inside, levels=[0.5], colors=[colour], linewidths=1.1)
    axes.imshow(tint, aspect="auto", interpolation="nearest")


def _frame(axes: Axes, caption: str, view: _View) -> None:
    """Name the slice and its four sides, as they are for the patient."""
    from matplotlib.patheffects import withStroke

    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(caption, color=MUTED, fontsize=9)
    edge = [withStroke(linewidth=2.5, foreground="black")]
    for letter, (x, y), align in zip(view.sides, _PLACES, _ALIGN, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, color="#e8e8e8", fontsize=9,
                  fontweight="bold", ha=align[0], va=align[1], path_effects=edge)  # fmt: skip


def _legend(
    figure: Any, left: float, found: Mapping[str, int], volumes: Mapping[str, float], asked: int
) -> None:
    """List what was found, with its millilitres, and how much was looked for."""
    from matplotlib.patches import Patch

    patches = []
    for name, value in found.items():
        text = name.replace("_", " ").replace("$", r"\$")  # else matplotlib sees mathematics
        if name in volumes:
            text += f"  {_millilitres(volumes[name])}"
        patches.append(Patch(facecolor=colour_of(name, value), edgecolor="none", label=text))
    if not patches:
        patches.append(Patch(alpha=0, label=f"nothing found (of {asked})"))
    elif len(found) < asked:
        patches.append(Patch(alpha=0, label=f"{asked - len(found)} more not found"))
    figure.legend(handles=patches, loc="center left", bbox_to_anchor=(left, 0.5), frameon=False,
                  labelcolor=INK, fontsize=10, handlelength=1.1, handleheight=1.1,
                  labelspacing=0.7)  # fmt: skip


def _millilitres(amount: float) -> str:
    return f"{amount:,.0f} ml" if amount >= 10 else f"{amount:.1f} ml"
