"""Label maps out: one file a scan, and beside them what their values mean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.files import write_json
from mots_pretrained.images.volume import Volume, write_like

LABELS = "labels.json"
"""Name of the file that says which values make up each category of a folder's label maps."""

SEGMENTATION = "{}_seg.nii.gz"
"""Name of a scan's label map."""


def write_segmentation(
    folder: str | os.PathLike[str],
    labels: NDArray[Any],
    like: Volume,
    label_values: Mapping[str, Sequence[int]],
) -> Path:
    """Write a label map on its scan's grid, and its values' meaning into the folder's labels.json.

    Args:
        folder: An existing folder.
        labels: ``(D, H, W)`` on the grid of ``like``, of the type to store.
        like: The scan.
        label_values: Values that make up each category, its own first.

    Returns:
        The label map's file.

    Raises:
        UserError: If the folder holds label maps whose values mean something else.
    """
    check_label_values(folder, label_values)
    write_json(Path(folder) / LABELS, labels_content(label_values))
    path = Path(folder) / SEGMENTATION.format(like.name)
    write_like(path, labels, like, dtype=labels.dtype)
    return path


def labels_content(label_values: Mapping[str, Sequence[int]]) -> dict[str, int | list[int]]:
    """Return what labels.json says: the value of each category, or the list of its values.

    Example:
        >>> labels_content({"organ": (1, 2), "tumour": (2,)})
        {'organ': [1, 2], 'tumour': 2}
    """
    return {name: v[0] if len(v) == 1 else [*v] for name, v in label_values.items()}


def check_label_values(
    folder: str | os.PathLike[str], label_values: Mapping[str, Sequence[int]]
) -> None:
    """Refuse a folder whose labels.json, if there is one, gives other values than these.

    Raises:
        UserError: If it does.
    """
    path = Path(folder) / LABELS
    if not path.is_file():
        return
    try:
        there = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        there = None
    if there != labels_content(label_values):
        names = ", ".join(there) if isinstance(there, dict) else "nothing readable"
        raise UserError(
            f"{path} belongs to label maps of other values ({names:.200}) than these "
            f"({', '.join(label_values):.200}); give another folder, or remove the old results"
        )
