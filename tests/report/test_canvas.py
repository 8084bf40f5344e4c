"""Figures as PNG files: whole or not at all, whatever their texts are."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.report.canvas import PAPER, save_figure


def test_a_figure_keeps_its_size_and_paper(tmp_path: Path) -> None:
    save_figure(Figure(figsize=(2, 1), facecolor=PAPER), tmp_path / "a.PNG")
    picture = matplotlib.image.imread(tmp_path / "a.PNG", format="png")
    assert picture.shape[:2] == (120, 240)  # 120 dots an inch
    paper = [int(PAPER[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    np.testing.assert_allclose(picture[0, 0, :3], paper, atol=1 / 255)


def test_texts_of_control_characters_and_unknown_scripts_are_drawn(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1))
    drawn = figure.text(0.1, 0.5, "a\x1b[31m\udcffb 肝")
    save_figure(figure, tmp_path / "a.png")
    assert "\x1b" not in drawn.get_text()
    assert "\udcff" not in drawn.get_text()
    assert drawn.get_text().startswith("a")


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"a\.jpg: pictures are written as PNG"):
        save_figure(Figure(), tmp_path / "a.jpg")
    with pytest.raises(MissingFileError, match=r"no such folder: \S+none; make it first"):
        save_figure(Figure(), tmp_path / "none" / "a.png")
    (tmp_path / "a.png").write_bytes(b"old")

    def full(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="No space left"):
        save_figure(Figure(), tmp_path / "a.png")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.png", b"old")]
