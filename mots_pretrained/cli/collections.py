"""Options by which verbs are given the original collections, and what finds them."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import console
from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.data.layouts import Collection

Root = Annotated[str, typer.Option("-i", "--input", help="Folder that holds the collections")]
Described = Annotated[
    list[str] | None,
    typer.Option(
        "--collection",
        metavar="FILE.yaml",
        help="Description of a further collection; may be repeated",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of seeded split and validation fold")]
Workers = Annotated[
    int, typer.Option("--workers", help="Worker processes; 0: one for each core, at most 8")
]


_ELSEWHERE = {
    "liver": "LiTS",
    "kidney": "KiTS19",
    "hepatic_vessel": "MSD Task08",
    "pancreas": "MSD Task07",
    "colon": "MSD Task10",
    "lung": "MSD Task06",
    "spleen": "MSD Task09",
}
"""Collection by the task whose option names its folder."""


def with_folders(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb an option a task in place of its parameter ``folders``, a folder by task."""
    hints = typing.get_type_hints(verb, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for name, own in inspect.signature(verb).parameters.items():
        if name != "folders":
            parameters.append(own.replace(annotation=hints[name]))
            continue
        for task, collection in _ELSEWHERE.items():
            option = typer.Option(f"--{task.replace('_', '-')}", help=f"Folder of {collection}")
            annotation = Annotated[str, option]
            parameters.append(inspect.Parameter(task, own.kind, default="", annotation=annotation))

    @functools.wraps(verb)
    def with_options(**options: Any) -> Any:
        return verb(folders={task: options.pop(task) for task in _ELSEWHERE}, **options)

    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    del with_options.__wrapped__  # typing would otherwise read the hints of the function beneath
    return with_options


def find(
    root: str, folders: Mapping[str, str], described: Sequence[str] | None
) -> tuple[Collection, ...]:
    """Find the collections that the options name, and say which of the seven a root lacks.

    Args:
        root: Folder that holds collections; "" if none was given.
        folders: Folder by task name; "" for those that were not given.
        described: YAML files of further collections.

    Raises:
        UserError: If nothing is named, or as ``find_collections`` does.
    """
    from mots_pretrained.data.layouts import find_collections

    named = {task: Path(folder) for task, folder in folders.items() if folder}
    descriptions = [Path(path) for path in described or ()]
    if not root and not named and not descriptions:
        raise UserError(
            "no data given; name the folder of the collections with -i ROOT, or each, as "
            "--liver DIR"
        )
    found = find_collections(Path(root) if root else None, named=named, descriptions=descriptions)
    there = {collection.name for collection in found}
    missing = [f"{task} ({name})" for task, name in _ELSEWHERE.items() if task not in there]
    if root and missing:
        console.say(f"Not found below {root}: {', '.join(missing)}")
    return found


def worker_count(asked: int) -> int:
    """Return how many worker processes to start.

    Raises:
        UserError: If the number is negative.
    """
    from mots_pretrained.data.workers import cores

    if asked < 0:
        raise UserError(f"--workers is 0 or more, not {asked}")
    return asked or min(8, cores())  # each may hold some gigabytes
