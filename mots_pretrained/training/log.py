"""What a training leaves to read: log.csv, and TensorBoard's files where they are asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mots_pretrained.errors import UserError
from mots_pretrained.files import write_text

LOG = "log.csv"
"""Name of the log within a training's folder."""

TENSORBOARD = "tensorboard"
"""Name of the folder of TensorBoard's files within a training's folder."""


@dataclass(frozen=True)
class LogRow:
    """One row of a training's log.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        losses: Means of the loss's parts since the last row.
        rate: Learning rate of the last step.
        norm: Mean gradient norm before clipping.
        seconds: Time spent training, that before a resumption included.
    """

    step: int
    steps: int
    losses: dict[str, float]
    rate: float
    norm: float
    seconds: float

    def texts(self) -> dict[str, str]:
        """Return the row's cells by column."""
        return {
            "step": str(self.step),
            **{name: f"{value:.6g}" for name, value in self.losses.items()},
            "rate": f"{self.rate:.6g}",
            "norm": f"{self.norm:.6g}",
            "seconds": f"{self.seconds:.1f}",
        }


def append_row(path: Path, rows: list[LogRow]) -> None:
    """Add the last of the rows to a CSV file; the first of all begins the file anew."""
    if len(rows) == 1:
        write_rows(path, rows)
        return
    cells = rows[-1].texts()
    with open(path, "a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, cells).writerow(cells)


def write_rows(path: Path, rows: list[LogRow]) -> None:
    """Write a CSV file anew, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].texts() if rows else ())
    writer.writeheader()
    writer.writerows(row.texts() for row in rows)
    write_text(path, text.getvalue())


@contextmanager
def tensorboard(folder: Path, *, step: int = 0) -> Iterator[Callable[[LogRow], None]]:
    """Yield a function that adds a log row to TensorBoard's files.

    Args:
        folder: The training's folder.
        step: Steps done already: what earlier files show beyond them is hidden.

    Raises:
        UserError: If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "tensorboard=true needs the package tensorboard; install it with "
            "pip install 'mots_pretrained[tensorboard]'"
        ) from None

    def show(row: LogRow) -> None:
        values = {f"loss/{name}": value for name, value in row.losses.items()}
        values |= {"optimiser/rate": row.rate, "optimiser/norm": row.norm}
        for name, value in values.items():
            writer.add_scalar(name, value, row.step)
        writer.flush()

    writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1 if step else None)
    try:
        yield show
    finally:
        writer.close()
