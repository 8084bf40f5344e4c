"""What a training leaves to read: ``log.csv``, and TensorBoard's files where they are asked for."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mots_pretrained.errors import UserError

LOG = "log.csv"
"""Name of the log within a training's folder."""

TENSORBOARD = "tensorboard"
"""Name of the folder of TensorBoard's files within a training's folder."""

Row = dict[str, str]


@dataclass(frozen=True)
class Progress:
    """Where a training stands: one line of its log.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        losses: Means of the loss's parts since the last line.
        rate: The last step's learning rate.
        norm: Mean gradient norm before clipping.
        seconds: Spent training, those before a resumption included.
    """

    step: int
    steps: int
    losses: dict[str, float]
    rate: float
    norm: float
    seconds: float

    def row(self) -> Row:
        """Return the line as texts, column by column."""
        return {
            "step": str(self.step),
            **{name: f"{value:.6g}" for name, value in self.losses.items()},
            "rate": f"{self.rate:.6g}",
            "norm": f"{self.norm:.6g}",
            "seconds": f"{self.seconds:.1f}",
        }


def append_row(path: Path, rows: list[Row]) -> None:
    """Add the last of the rows to a CSV file; the first of all begins the file anew."""
    if len(rows) == 1:
        write_rows(path, rows)
        return
    with open(path, "a", newline="") as file:
        csv.DictWriter(file, rows[-1]).writerow(rows[-1])


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write a CSV file anew, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0] if rows else ())
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


def write_whole(path: Path, text: str) -> None:
    """Write a text beside its place, then rename: at any moment the old or the new one is there."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf-8", newline="")
    os.replace(beside, path)


@contextmanager
def tensorboard(folder: Path, *, step: int = 0) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that adds a line of the log to TensorBoard's files.

    Args:
        folder: The training's folder.
        step: Steps done already: what earlier files show beyond them is hidden.

    Raises:
        ValueError: If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "--tensorboard needs the package tensorboard; install it with "
            "pip install 'mots_pretrained[tensorboard]'"
        ) from None

    def show(progress: Progress) -> None:
        values = {f"loss/{name}": value for name, value in progress.losses.items()}
        values |= {"optimiser/rate": progress.rate, "optimiser/norm": progress.norm}
        for name, value in values.items():
            writer.add_scalar(name, value, progress.step)
        writer.flush()

    writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1 if step else None)
    try:
        yield show
    finally:
        writer.close()
