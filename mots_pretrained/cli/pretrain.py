"""``mots pretrain``: train a network on partially labelled data, or an encoder without labels."""

from __future__ import annotations

from json import loads as parse
from typing import Annotated

import typer

from mots_pretrained.cli import options
from mots_pretrained.errors import UserError


def pretrain(
    output: Annotated[
        str, typer.Option("-o", "--output", help="Folder for weights, record and log")
    ] = "",
    data: Annotated[
        str,
        typer.Option(
            "-i",
            "--input",
            help="Folder written by mots prepare (for byol3d any folder of CT); default: phantoms",
        ),
    ] = "",
    recipe: Annotated[
        str, typer.Option(help="How to train: small, paper, published, singlept, byol3d, or a file")
    ] = "small",
    settings: options.Settings = None,
    start: Annotated[
        str, typer.Option("--from", help="Continue from given weights, with further tasks if any")
    ] = "",
    resume: options.Resume = False,
    max_minutes: options.MaxMinutes = 0.0,
    device: options.Device = "auto",
    workers: options.Workers = -1,
    show_recipe: Annotated[
        bool, typer.Option("--show-recipe", help="Print the recipe in force as YAML and stop")
    ] = False,
    deterministic: options.Deterministic = False,
    json: Annotated[bool, typer.Option("--json", help="Print training.json")] = False,
) -> None:
    """Train a network on partially labelled data, and leave a folder that loads by its path."""
    from pathlib import Path

    from mots_pretrained.cli import console
    from mots_pretrained.training import byol
    from mots_pretrained.training import pretrain as methods
    from mots_pretrained.training.folder import RECORD
    from mots_pretrained.training.recipe import BYOL, to_yaml

    changes = {"start": start} if start else {}
    chosen, given = options.recipe_in_force(recipe, settings or (), **changes)
    if show_recipe:
        fields = byol.FIELDS if chosen.method == BYOL else methods.FIELDS
        console.show(to_yaml(chosen, fields).rstrip())
        return
    if not output:
        raise UserError("give a folder for the weights: -o OUTPUT")
    train = byol.pretrain_byol if chosen.method == BYOL else methods.pretrain
    with options.on_this_machine(
        given,
        device=device,
        workers=workers,
        resume=resume,
        max_minutes=max_minutes,
        deterministic=deterministic,
    ) as run:
        train(output, chosen, data=data or None, run=run)
    if not options.is_main():
        return
    record = parse((Path(output) / RECORD).read_text(encoding="utf-8"))
    if json:
        console.show_json(record)
        return
    what = record.get("trained", "the whole network")
    console.show(f"{output}: weights ({what}), log.csv and {RECORD}")
    if not record["complete"]:
        console.show("It ran out of time; continue with the same command and --resume")
