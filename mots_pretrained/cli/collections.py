"""Options by which verbs are given the original collections, and what finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.data.layouts import Collection

Root = Annotated[str, typer.Option("-i", "--input", help="Folder that holds the collections")]
Liver = Annotated[str, typer.Option("--liver", help="Folder of LiTS, if elsewhere")]
Kidney = Annotated[str, typer.Option("--kidney", help="Folder of KiTS19, if elsewhere")]
HepaticVessel = Annotated[str, typer.Option("--hepatic-vessel", help="Folder of MSD Task08")]
Pancreas = Annotated[str, typer.Option("--pancreas", help="Folder of MSD Task07")]
Colon = Annotated[str, typer.Option("--colon", help="Folder of MSD Task10")]
Lung = Annotated[str, typer.Option("--lung", help="Folder of MSD Task06")]
Spleen = Annotated[str, typer.Option("--spleen", help="Folder of MSD Task09")]
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


def find(
    root: str, folders: Mapping[str, str], described: Sequence[str] | None
) -> tuple[Collection, ...]:
    """Find the collections that the options name.

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
    return find_collections(Path(root) if root else None, named=named, descriptions=descriptions)


def worker_count(asked: int) -> int:
    """Return how many worker processes to start.

    Raises:
        UserError: If the number is negative.
    """
    from mots_pretrained.data.workers import cores

    if asked < 0:
        raise UserError(f"--workers is 0 or more, not {asked}")
    return asked or min(8, cores())  # each may hold some gigabytes
