"""Fig. 9: each column shows its own label map, on the slice that the truth chooses."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mots_pretrained.report import side_by_side as module
from mots_pretrained.report.side_by_side import ComparedCase, draw_side_by_side
from mots_pretrained.tasks import BCV_ORGANS

SHAPE = (6, 40, 40)


def case(**changes) -> ComparedCase:
    truth = np.zeros(SHAPE, np.uint8)
    truth[4, 10:30, 10:30] = 1
    elsewhere = np.zeros(SHAPE, np.uint8)
    elsewhere[1] = 1  # on another slice than the truth's
    labels = {"truth": truth, "found": truth, "missed": elsewhere}
    return ComparedCase("case", np.full(SHAPE, -150.0), labels)._replace(**changes)


def test_a_column_shows_its_own_labels_on_the_truths_slice(tmp_path: Path) -> None:
    draw_side_by_side([case()], tmp_path / "fig.png", values={"liver": 1})
    picture = matplotlib.image.imread(tmp_path / "fig.png")[..., :3]
    columns = np.array_split(picture[: len(picture) * 3 // 4], 4, axis=1)  # above the legend
    tinted = [(np.ptp(column, axis=2) > 0.15).sum() for column in columns]
    assert tinted[0] == 0  # the scan
    assert tinted[1] > 500
    assert tinted[2] == pytest.approx(tinted[1], rel=0.1)
    assert tinted[3] == 0
    above = picture[: len(picture) // 12]  # where each column has its title
    assert all((part.max(axis=2) > 0.9).any() for part in np.array_split(above, 4, axis=1))


@pytest.mark.parametrize("columns", [2, 9])
def test_the_legend_lies_within_the_picture(tmp_path: Path, monkeypatch, columns: int) -> None:
    figures = []
    monkeypatch.setattr(module, "save_figure", lambda figure, path: figures.append(figure))
    truth = np.zeros(SHAPE, np.uint8)
    truth[4, 10:23, 10:30] = np.arange(1, 14)[:, None]
    labels = {str(number): truth for number in range(columns)}
    values = {name: value for value, name in enumerate(BCV_ORGANS, start=1)}
    draw_side_by_side([case(labels=labels)], tmp_path / "fig.png", values=values)
    FigureCanvasAgg(figures[0]).draw()
    (legend,) = figures[0].legends
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= figures[0].bbox.x1


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([], "nothing to draw"),
        ([case(), case(labels={"other": np.zeros(SHAPE)})], "others have"),
        ([case(labels={"truth": np.zeros((2, 2, 2))})], "not on the scan's grid"),
    ],
)
def test_what_does_not_fit_is_named(cases: list, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        draw_side_by_side(cases, tmp_path / "fig.png", values={"liver": 1})
