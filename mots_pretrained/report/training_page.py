"""A training's folder as one page: curves of its log, an example, scores, how it was done.

The page of a learning curve is here, too: its picture and its table.
"""

from __future__ import annotations

import base64
import csv
import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mots_pretrained.errors import UserError
from mots_pretrained.files import write_text
from mots_pretrained.report.curves import draw_curves, points
from mots_pretrained.report.example import Example, draw_example
from mots_pretrained.report.html import checked_page, page

LOG, RECORD = "log.csv", "training.json"
"""Files by which a training's folder is known; a head that was fitted alone has no log."""

_FACTS = (RECORD, "cases.json")
_FOLDS = "fold_*"
CURVE_PICTURE = "curve.png"
_ACROSS = ("step", "seconds")  # columns that are no curve


def write_training_page(
    folder: str | os.PathLike[str], path: str | os.PathLike[str], *, title: str
) -> None:
    """Write the page of a training, of all its folds; it appears whole or not at all.

    Args:
        folder: What ``mots pretrain -o`` or ``mots finetune -o`` was given.
        path: An ``.html`` file to write or replace.
        title: What is shown.

    Raises:
        UserError: If the log is no training's, or the page's name or folder cannot be.
    """
    path, folder = checked_page(path), Path(folder)
    folds = sorted(
        (fold for fold in folder.glob(_FOLDS) if is_training(fold)),
        key=lambda fold: (len(fold.name), fold.name),  # 2 comes before 10
    )
    body = [f"<h1>{escape(title)}</h1>", *_body(folder)]
    for fold in folds:
        body += [f"<h1>{escape(fold.name)}</h1>", *_body(fold)]
    write_text(path, page(title, body))


def write_curve_page(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    title: str,
    rows: Sequence[Sequence[str]],
) -> None:
    """Write the page of a learning curve; it appears whole or not at all.

    Args:
        folder: What ``mots finetune --curve -o`` was given.
        path: An ``.html`` file to write or replace.
        title: What is shown.
        rows: The table, its head first.

    Raises:
        UserError: If the page's name or folder cannot be.
    """
    path, picture = checked_page(path), Path(folder) / CURVE_PICTURE
    body = [f"<h1>{escape(title)}</h1>"]
    if picture.is_file():
        body += ['<div class="curves">', _picture(picture, "mean Dice by scans"), "</div>"]
    body += ['<div class="wide"><table><thead>', _row(rows[0], "th"), "</thead><tbody>"]
    body += [*map(_row, rows[1:]), "</tbody></table></div>"]
    write_text(path, page(title, body))


def is_training(folder: Path) -> bool:
    """Tell whether a folder is a training's."""
    return any((folder / name).is_file() for name in (LOG, RECORD))


def _body(folder: Path) -> Iterator[str]:
    if (folder / LOG).is_file():
        with open(folder / LOG, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        yield "<h2>Curves</h2>"
        yield '<div class="curves">'
        yield from _curves(folder / LOG, rows)
        yield "</div>"
    yield from _example(folder)
    for name in _FACTS:
        facts = _read(folder / name)
        scores = facts.get("scores")
        if isinstance(scores, dict) and scores:
            yield "<h2>Scores</h2>"
            yield from _list(scores)
    facts = _read(folder / _FACTS[0])
    if facts:
        yield "<h2>How</h2>"
        yield from _list(facts)


def _curves(log: Path, rows: Sequence[dict[str, str]]) -> Iterator[str]:
    """Draw each column of the log."""
    try:
        columns = [c for c in (rows[0] if rows else ()) if c and c not in _ACROSS]
        drawn = [column for column in columns if points(rows, "step", column)]
    except (ValueError, TypeError) as error:
        raise UserError(f"{log} is no training's log ({error})") from error
    if not drawn:
        raise UserError(f"{log} has no numbers by step; give the folder of a training")
    with tempfile.TemporaryDirectory() as place:
        picture = Path(place) / "curves.png"
        for column in drawn:
            draw_curves({"training": rows}, picture, columns=[column])
            yield _picture(picture, f"{column} by step")


def _example(folder: Path) -> Iterator[str]:
    """Show a slice of a case held out, if the training has left one."""
    example = Example.read(folder)
    if example is None:
        return
    yield "<h2>An example held out</h2>"
    yield f'<p class="muted">A slice of one case, at step {example.step}.</p>'
    yield '<div class="curves">'
    with tempfile.TemporaryDirectory() as place:
        picture = Path(place) / "example.png"
        for which, told in (("truth", "as it was labelled"), ("found", "as it was predicted")):
            draw_example(example, which, picture)
            yield f"<figure>{_picture(picture, told)}<figcaption>{told}</figcaption></figure>"
    yield "</div>"


def _picture(path: Path, told: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(told)}" src="data:image/png;base64,{data}">'


def _list(facts: dict[str, Any], before: str = "") -> Iterator[str]:
    """List names and values, those of nested dicts by their path."""
    if not before:
        yield '<div class="wide"><table class="texts"><tbody>'
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _list(value, f"{before}{name}, ")
        elif value not in (None, "", []):
            value = ", ".join(map(str, value)) if isinstance(value, list) else value
            shown = f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else value
            yield _row((f"{before}{name}", str(shown)[:200]))
    if not before:
        yield "</tbody></table></div>"


def _row(cells: Sequence[str], kind: str = "td") -> str:
    return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"


def _read(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
