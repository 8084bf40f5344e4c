"""Every measured figure in README, docs and cards is a row of a CSV in benchmarks/results.

``traced_figures`` has each figure with the lines that it is the mean of. What looks like a
measurement in the text and is neither such a figure nor a setting fails; so does a figure that the
rows contradict.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from traced_figures import FIGURES
from traced_rows import (
    ROOT,
    Figure,
    scores,
)

from mots_pretrained.weights.card_renewal import read_card

CARDS = sorted((ROOT / "hub").glob("*/README.md"))

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "hub" / "README.md",
    *CARDS,
]

SETTINGS = {
    "docs/cost.md": [
        *("1 GB/s", "21 MB before compression"),  # supposed; 160 x 256 x 256 x 2 bytes
        "take 96 of 100 seconds",  # network_seconds of seconds in inference.csv
    ],
    "docs/evaluate.md": ["0.05, 0.1, ... 0.95, 0.97, 0.98 and 0.99"],
    "docs/hub.md": ["Dice over 0.999", "bfloat16 by 0.25", "may deviate by 0.001"],  # tests hold it
    "docs/report.md": ["0.45 pixels"],
    "docs/predict.md": [
        *("0.45 pixels", "below 6 GB", "about 0.5 GB of planes", "128 MiB"),  # chosen in the code
        "this is 2 GB in memory",  # 11 x 100 million halves
        "a Dice above 0.99",  # a test holds it
    ],
    "docs/prepare.md": ["0.04 HU"],  # a part of the step that is stored
    "docs/determinism.md": ["within 0.001 HU"],  # a bound that a test holds
    "docs/differences.md": ["3 x 0.76 x 0.76 mm", "LeakyReLU(0.01)", "decay is 0.999"],
    "docs/pretrain.md": ["reaches 0.999", "| averaged weights (EMA) | 0.999 |"],
}
"""What looks like a measurement and is chosen, or a bound that tests hold."""

_MEASURED = re.compile(
    r"(?<![\w.,/=-])0\.\d{2,}(?![\w.]*\w)"
    r"|\b\d[\d.,]* (?:GiB|MiB|GB|MB|minutes?|seconds?|hours?)\b"
)


def prose(page: Path) -> str:
    """Return a page without code, front matter, a card's scores and thresholds; blanks made one."""
    text = page.read_text("utf-8")
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    if page in CARDS:
        text = re.sub(r"^\| .*\|$|^Thresholds of .*$", " ", text, flags=re.MULTILINE)
    return re.sub(r"\s+", " ", re.sub(r"`[^`\n]*`", "`", text))


def shortened(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"`[^`\n]*`", "`", text))


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure.page}: {figure.text[:40]}")
def test_a_figure_is_what_its_rows_say(figure: Figure) -> None:
    assert shortened(figure.shown()) in prose(ROOT / figure.page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_looks_measured_is_traced(page: Path) -> None:
    name, text = page.relative_to(ROOT).as_posix(), prose(page)
    known = [figure.shown() for figure in FIGURES if figure.page == name]
    for words in (*known, *SETTINGS.get(name, ())):
        text = text.replace(shortened(words), "")
    found = [text[max(0, m.start() - 40) : m.end() + 20] for m in _MEASURED.finditer(text)]
    assert not found, f"no row of a CSV is named for: {found}"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_a_cards_scores_are_rows(card: Path) -> None:
    text, model = card.read_text("utf-8"), card.parent.name
    tabled = dict(re.findall(r"^\| (\w+) \| (\d\.\d{3}) \|", text, re.MULTILINE))
    listed = {name: f"{value:.4f}" for name, value in read_card(text).scores.items()}
    rows = scores(model)
    assert {name: f"{value:.3f}" for name, value in rows.items()} == tabled
    assert {name: f"{value:.4f}" for name, value in rows.items()} == listed


def test_a_figure_without_a_row_is_found() -> None:
    text = "It reaches 0.83 after 5 minutes, with rate=0.001 and `0.55`, in version 0.1.0."
    assert [m[0] for m in _MEASURED.finditer(shortened(text))] == ["0.83", "5 minutes"]
