"""What all pictures share: their paper and ink, and a file that appears whole or not at all."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mots_pretrained.errors import MissingFileError, UserError, printable
from mots_pretrained.files import replacing_by_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = "#111317"
INK = "#f2f2f2"
MUTED = "#9aa0a6"


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, without a display, by way of a temporary file beside the target.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If the name does not end in ``.png``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: pictures are written as PNG; give a name ending in .png")
    if not path.parent.is_dir():
        raise MissingFileError(f"no such folder: {path.parent}; make it first")
    FigureCanvasAgg(figure)
    for text in figure.findobj(Text):  # names of scans and classes come from elsewhere
        text.set_text(printable(text.get_text()))
    with replacing_by_name(path) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box stands for it
        figure.savefig(draft, dpi=120, facecolor=figure.get_facecolor())
