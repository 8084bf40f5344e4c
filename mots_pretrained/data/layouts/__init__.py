"""The seven collections of MOTS, found by the layouts in which they unpack (Table 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mots_pretrained.data.layouts.collection import Collection, SourceCase
from mots_pretrained.data.layouts.described import read_described
from mots_pretrained.data.layouts.kits import WANTED as KITS_WANTED
from mots_pretrained.data.layouts.kits import holds_kits, read_kits
from mots_pretrained.data.layouts.lits import WANTED as LITS_WANTED
from mots_pretrained.data.layouts.lits import holds_lits, read_lits
from mots_pretrained.data.layouts.msd import WANTED as MSD_WANTED
from mots_pretrained.data.layouts.msd import holds_msd, read_msd
from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError

__all__ = ["SOURCES", "Collection", "Source", "SourceCase", "find_collections"]


@dataclass(frozen=True)
class Source:
    """How one collection lies on disk.

    Attributes:
        holds: Tells whether the collection's files lie in a very folder.
        read: Reads the collection out of all folders that hold it.
        wanted: The layout in words.
        parts: Whether the files may be spread over several folders.
    """

    holds: Callable[[Path], bool]
    read: Callable[[Sequence[Path]], Collection]
    wanted: str
    parts: bool = False


def _decathlon(task: str) -> Source:
    return Source(partial(holds_msd, task), partial(read_msd, task), MSD_WANTED)


SOURCES: dict[str, Source] = {
    "liver": Source(holds_lits, read_lits, LITS_WANTED, parts=True),
    "kidney": Source(holds_kits, read_kits, KITS_WANTED),
    "hepatic_vessel": _decathlon("hepatic_vessel"),
    "pancreas": _decathlon("pancreas"),
    "colon": _decathlon("colon"),
    "lung": _decathlon("lung"),
    "spleen": _decathlon("spleen"),
}
"""Layout by the task that a collection supervises, in the order of Table 1."""

_DEPTH = 3  # a collection lies one or two levels below the root, LiTS's batches one deeper


def find_collections(
    root: Path | None,
    *,
    named: Mapping[str, Path] | None = None,
    descriptions: Sequence[Path] = (),
) -> tuple[Collection, ...]:
    """Find the collections of MOTS, and others by their descriptions.

    Args:
        root: Folder in which, or up to two levels below, the collections lie; those that it does
            not hold are not in the result. None to take only what is named or described.
        named: Folder by task name, for collections that lie elsewhere; they come instead of those
            below the root.
        descriptions: YAML files of further collections (see `described.read_described`).

    Returns:
        The collections in the order of Table 1, then the described ones. No voxel is read.

    Raises:
        KeyError: If ``named`` names a task that is none of the seven.
        FileNotFoundError: If a folder is missing, or holds no collection.
        ValueError: If a collection lies there twice or by half, or two share a name.
    """
    named = named or {}
    for task in named:
        if task not in SOURCES:
            raise UnknownNameError(f"unknown task {task!r}; there are: {', '.join(SOURCES)}")
    below = [] if root is None else list(_folders(root))
    found = [
        collection
        for task in SOURCES
        if (collection := _named(task, named[task]) if task in named else _read(task, below))
    ]
    if root is not None and not found and not descriptions:
        wanted = "; ".join(sorted({source.wanted for source in SOURCES.values()}))
        raise MissingFileError(
            f"{root} holds none of the seven collections of MOTS; looked for: {wanted}"
        )
    found += [read_described(path) for path in descriptions]
    _check_names(found)
    return tuple(found)


def _folders(root: Path) -> Iterator[Path]:
    """Yield the root and the folders below it that may hold a collection."""
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


def _named(task: str, folder: Path) -> Collection:
    collection = _read(task, list(_folders(folder)))
    if collection is None:
        raise MissingFileError(
            f"{folder} does not hold the {task} collection; looked for: {SOURCES[task].wanted}"
        )
    return collection


def _read(task: str, folders: Sequence[Path]) -> Collection | None:
    source = SOURCES[task]
    holding = [folder for folder in folders if source.holds(folder)]
    if len(holding) > 1 and not source.parts:
        raise UserError(
            f"the {task} collection lies in both {holding[0]} and {holding[1]}; take one away, or "
            f"name the right one with --{task.replace('_', '-')}"
        )
    return source.read(holding) if holding else None


def _check_names(collections: Sequence[Collection]) -> None:
    names: set[str] = set()
    cases: dict[str, str] = {}
    for collection in collections:
        if collection.name in names:
            raise UserError(
                f"two collections supervise {collection.name!r}; "
                "give the described one another name"
            )
        names.add(collection.name)
        for case in collection.cases:
            other = cases.setdefault(case.identifier, collection.name)
            if other != collection.name:
                raise UserError(
                    f"{case.identifier} is a case of {other} and of {collection.name}; give the "
                    "described collection another name"
                )
