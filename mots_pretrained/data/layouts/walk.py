"""The folders below a root that may hold a collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mots_pretrained.errors import MissingFileError

_DEPTH = 3  # a collection lies one or two levels below the root, LiTS's batches one deeper


def folders_below(root: Path) -> Iterator[Path]:
    """Yield a root and the folders up to three levels below it, level by level.

    Raises:
        MissingFileError: If there is no such folder.
    """
    if not root.is_dir():
        raise MissingFileError(f"no such folder: {root}; give the one that holds the collections")
    level = [root]
    for _ in range(_DEPTH + 1):
        yield from level
        level = [
            path
            for folder in level
            for path in sorted(folder.iterdir())
            if path.is_dir() and not path.name.startswith(".")
        ]
