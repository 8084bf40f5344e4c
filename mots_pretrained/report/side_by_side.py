"""Fig. 9: what several methods make of the same cases, side by side with the truth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.images.terminology import colour_of
from mots_pretrained.report.canvas import INK, MUTED, PAPER, save_figure
from mots_pretrained.report.overlay import best_slices, display_range, draw_labels

_ENTRY = 1.8  # inches that the longest name of an organ takes in the legend


class ComparedCase(NamedTuple):
    """A case and what was made of it.

    Attributes:
        name: What to call it.
        scan: ``(D, H, W)``.
        labels: Label maps ``(D, H, W)`` by title, in the order of the columns; the first is the
            truth, which chooses the slice.
        spacing: Millimetres along (D, H, W).
    """

    name: str
    scan: NDArray[Any]
    labels: Mapping[str, NDArray[Any]]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)


def draw_side_by_side(
    cases: Sequence[ComparedCase],
    path: str | os.PathLike[str],
    *,
    values: Mapping[str, int],
    title: str = "",
) -> None:
    """Draw a line a case: the axial slice in which the truth shows most, then each label map.

    Args:
        cases: The cases, all with the same titles.
        path: A ``.png`` file to write or replace.
        values: Value of each category in the label maps.
        title: What to write above.

    Raises:
        ValueError: If there is no case, titles differ or a label map has another shape.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    _check(cases)
    columns = ["scan", *cases[0].labels]
    sizes = [(n * s for n, s in zip(c.scan.shape, c.spacing, strict=True)) for c in cases]
    heights = [1.7 * height / width for _, height, width in sizes]
    figure = Figure(
        figsize=(1.75 * len(columns) + 0.4, sum(heights) + 1.1),
        facecolor=PAPER,
        layout="constrained",
    )
    panels = figure.subplots(len(cases), len(columns), squeeze=False, height_ratios=heights)
    shown: dict[str, int] = {}
    for row, (line, case) in enumerate(zip(panels, cases, strict=True)):
        truth = next(iter(case.labels.values()))
        present = {
            n: v for n, v in values.items() if any((x == v).any() for x in case.labels.values())
        }
        shown |= present
        at, _, _ = best_slices(truth, [v for v in present.values() if (truth == v).any()])
        low, high = display_range(case.scan)
        for axes, column in zip(line, columns, strict=True):
            axes.imshow(case.scan[at], cmap="gray", vmin=low, vmax=high, aspect="auto")
            if column in case.labels:
                draw_labels(axes, case.labels[column][at], present)
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(column, color=INK, fontsize=9)
        line[0].set_ylabel(case.name, color=MUTED, fontsize=8)
    patches = [
        Patch(facecolor=colour_of(name, values[name]), label=name.replace("_", " "))
        for name in values
        if name in shown
    ]
    if patches:
        fitting = max(1, min(6, int(figure.get_figwidth() / _ENTRY)))
        figure.legend(handles=patches, loc="outside lower center", ncols=fitting, frameon=False,
                      labelcolor=INK, fontsize=8)  # fmt: skip
    if title:
        figure.suptitle(title, color=INK, fontsize=12, fontweight="bold")
    save_figure(figure, path)


def _check(cases: Sequence[ComparedCase]) -> None:
    if not cases or not cases[0].labels:
        raise UserError("there is nothing to draw: give at least one case with one label map")
    for case in cases:
        if [*case.labels] != [*cases[0].labels]:
            raise UserError(f"{case.name} has {[*case.labels]}, others have {[*cases[0].labels]}")
        for name, labels in case.labels.items():
            if labels.shape != case.scan.shape:
                raise UserError(
                    f"{case.name}, {name}: labels of {labels.shape} are not on the scan's grid "
                    f"{case.scan.shape}"
                )
