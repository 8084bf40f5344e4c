"""A transfer's table as it is printed, Fig. 10's curves and Fig. 11's pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from long_table import LongTable
from printed import FALSE_TUMOURS, counts_text, difference_text, figure_text, mean_text
from transfer import FINAL, NAMES, RANDOM, Transfer
from transfer_data import Material

from mots_pretrained.evaluation.metrics import METRICS
from mots_pretrained.evaluation.results import Results, aligned
from mots_pretrained.images.reading import read_channels, read_labels
from mots_pretrained.phantom.collections import BRAIN_LABELS
from mots_pretrained.report.curves import draw_curves
from mots_pretrained.report.side_by_side import ComparedCase, draw_side_by_side
from mots_pretrained.tasks import BCV_ORGANS

_VALUES = {
    "bcv": {name: value for value, name in enumerate(BCV_ORGANS, start=1)},
    "brats": {name: value for value, name in BRAIN_LABELS.items()},
}
_PICTURES = 3  # cases in Fig. 11


def table_text(table: Transfer, results: LongTable) -> str:
    """Return the table, a line a row that has results, and the paper's own lines."""
    head = ["row"]
    for metric in table.metrics:
        head += [f"m{METRICS[metric].title}", "paper's"]
    head += ["missed", *FALSE_TUMOURS, f"Dice less {FINAL}'s, 95 % interval"]
    head.append(f"{METRICS[table.metrics[1]].title} less {FINAL}'s, 95 % interval")
    lines = [head]
    for name, paper in table.printed.items():
        figures = [cell for m in table.metrics for cell in ("-", figure_text(paper, m))]
        lines.append([f"{name}, the paper's line", *figures, *[""] * 5])
    final = results.results(FINAL)
    for name, paper in table.rows.items():
        if results.done_any(name):
            lines.append(_line(table, name, paper, results.results(name), final))
    return aligned(lines)


def _line(
    table: Transfer,
    name: str,
    paper: Mapping[str, float],
    found: Results,
    final: Results,
) -> list[str]:
    cells = []
    for metric in table.metrics:
        cells += [mean_text(found, metric), figure_text(paper, metric)]
    is_final, distance = name == FINAL, table.metrics[1]
    differences = [
        difference_text(found, final, is_final),
        difference_text(found, final, is_final, metric=distance, factor=1.0),
    ]
    return [name, *cells, *counts_text(found, found), *differences]


def sooner_text(table: Transfer, results: LongTable) -> str:
    """Return when each row's validation reaches the random weights' last one: steps and minutes.

    Seed by seed, of the same seed's; a row that never reaches it says so.
    """
    lines = [["row", "seed", "reached", "steps", "minutes", "share of the steps"]]
    for name in table.rows:
        for seed in map(int, results.seeds):
            random, own = results.curve(RANDOM, seed), results.curve(name, seed)
            if not random or not own:
                continue
            last, goal, _ = random[-1]
            first = next((point for point in own if point[1] >= goal), None)
            cells = ["never", "-", "-"] if first is None else [
                str(first[0]), f"{first[2] / 60:.2f}", f"{first[0] / last:.3f}"
            ]  # fmt: skip
            lines.append([name, str(seed), f"{goal:.3f}", *cells])
    return "Until the last validation Dice of random weights is reached\n" + aligned(lines)


def draw_fig10(table: Transfer, results: LongTable, path: Path) -> bool:
    """Draw validation Dice against steps, the mean over seeds; False if there is none."""
    runs = {
        name: [{"step": step, "validation_dice": dice} for step, dice, _ in results.curve(name)]
        for name in table.rows
    }
    runs = {name: rows for name, rows in runs.items() if rows}
    if runs:
        draw_curves(
            runs, path, columns=("validation_dice",), title=f"Fig. 10 on {NAMES[table.kind]}"
        )
    return bool(runs)


def draw_fig11(table: Transfer, material: Material, maps: Mapping[str, Path], path: Path) -> bool:
    """Draw the truth and each row's label map of the first labelled cases, side by side.

    Args:
        table: Whose rows they are.
        material: The scans.
        maps: Folder of label maps by row.
        path: A ``.png`` file.

    Returns:
        False if there is nothing to draw.
    """
    cases = []
    for scan in material.scored:
        if scan.label is None or len(cases) == _PICTURES:
            continue
        volume = read_channels(scan.images)
        labels = {"truth": read_labels(scan.label).array}
        for name, folder in maps.items():
            file = folder / _file_name(scan.name, table.kind)
            labels[name] = read_labels(file).array
        image = volume.array if volume.array.ndim == 3 else volume.array[-1]  # FLAIR
        cases.append(ComparedCase(scan.name, image, labels, volume.spacing))
    if not cases or not maps:
        return False
    draw_side_by_side(
        cases, path, values=_VALUES[table.kind], title=f"Fig. 11 on {NAMES[table.kind]}"
    )
    return True


def _file_name(scan: str, kind: str) -> str:
    return f"{scan.replace('img', 'label') if kind == 'bcv' else scan}.nii.gz"
