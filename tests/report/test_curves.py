"""Training curves: what is drawn from the rows of a log."""

from pathlib import Path

import matplotlib.image
import pytest

from mots_pretrained.report.curves import draw_curves, points

ROWS = [
    {"step": "10", "total": "1.5", "dice": ""},
    {"step": "20", "total": "nan", "dice": "0.25"},
    {"step": "30", "total": "0.5", "dice": "0.75"},
]


def test_points_skip_what_is_missing_or_no_number() -> None:
    assert points(ROWS, "step", "total") == [(10, 1.5), (30, 0.5)]
    assert points(ROWS, "step", "dice") == [(20, 0.25), (30, 0.75)]
    assert points(ROWS, "step", "other") == []


def test_a_panel_a_column_and_a_colour_a_run(tmp_path: Path) -> None:
    other = [{"step": 10, "total": 1.0}, {"step": 30, "total": 0.9}]
    draw_curves({"a": ROWS, "b": other}, tmp_path / "one.png")
    draw_curves({"a": ROWS, "b": other}, tmp_path / "two.png", columns=("total", "dice"), title="T")
    one, two = (matplotlib.image.imread(tmp_path / f"{n}.png")[..., :3] for n in ("one", "two"))
    assert two.shape[1] == 2 * one.shape[1]

    def drawn(picture, colour: tuple[int, int, int]) -> int:
        return int((abs(picture * 255 - colour).max(axis=2) < 8).sum())

    blue, orange = (0x4D, 0xA3, 0xFF), (0xFF, 0x9F, 0x45)
    assert drawn(one, blue) > 100
    assert drawn(one, orange) > 100
    half = two.shape[1] // 2
    assert drawn(two[:, half:], blue) > 100
    assert sorted(x.name for x in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_an_unknown_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no log has 'step' and 'loss'; there are: dice, step, to"):
        draw_curves({"a": ROWS}, tmp_path / "a.png", columns=("loss",))
    assert list(tmp_path.iterdir()) == []
