"""``mots phantom``: write procedural scans in the layouts of the public collections."""

from __future__ import annotations

from typing import Annotated

import typer

from mots_pretrained.cli import options
from mots_pretrained.errors import UserError


def phantom(
    kind: Annotated[str, typer.Argument(help="mots (seven collections), bcv or brats")],
    output: Annotated[str, typer.Option("-o", "--output", help="Folder to write into")],
    cases: Annotated[int, typer.Option(help="Labelled cases a collection")] = 2,
    seed: Annotated[int, typer.Option(help="The same seed gives the same scans")] = 0,
    small: Annotated[bool, typer.Option("--small", help="48 x 64 x 64 voxels")] = False,
    shape: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="Voxels feet-head, front-back, right-left", metavar="D H W"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write procedural scans in the layouts of the public collections, with complete labels."""
    from mots_pretrained.cli import console
    from mots_pretrained.phantom.collections import SMALL, write_collection

    if small and shape is not None:
        raise UserError("--small and --shape were both given; choose one")
    written = write_collection(
        kind,
        output,
        cases=cases,
        seed=seed,
        shape=SMALL if small else shape,
        progress=lambda name, done, total: console.say(f"{done:>4} of {total}  {name}"),
    )
    if json:
        listed = [vars(case) for case in written]
        console.show_json({"kind": kind, "root": output, "seed": seed, "cases": listed})
        return
    console.show(f"{len(written)} scans in {output}, complete labels in {output}/complete_labels")
