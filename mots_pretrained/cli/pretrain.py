"""``mots pretrain``: train a network on partially labelled data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.training.recipes import Recipe
    from mots_pretrained.training.sources import Phantoms, Prepared


def pretrain(
    output: Annotated[str, typer.Option("-o", "--output", help="Folder for weights and log")],
    data: Annotated[
        str,
        typer.Option(
            "-i",
            "--input",
            help="Folder of mots prepare, for byol3d any of CT; without it, phantoms",
        ),
    ] = "",
    method: Annotated[
        str,
        typer.Option(
            help="Of Table 9: transdodnet, ...; singlept (--tasks hepatic_vessel); or byol3d"
        ),
    ] = "transdodnet",
    size: Annotated[str, typer.Option(help="small or paper")] = "small",
    recipe: Annotated[
        str, typer.Option(help="small, paper (Sec. 4.1) or published (its code); the size's own")
    ] = "",
    tasks: Annotated[str, typer.Option(help="Learn these alone, parted by commas")] = "",
    start: Annotated[
        str, typer.Option("--from", help="Go on from these weights, with further tasks if any")
    ] = "",
    steps: Annotated[int | None, typer.Option(help="Optimiser steps")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the scans instead, the rate by epochs")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Patches a micro-batch")] = None,
    accumulate: Annotated[int, typer.Option(help="Micro-batches a step, on each process")] = 1,
    lr: Annotated[float | None, typer.Option(help="Initial learning rate")] = None,
    transformer_lr: Annotated[float | None, typer.Option(help="The Transformer's own")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="On all weights")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest gradient norm; 0: any")] = None,
    warm_up: Annotated[
        int | None, typer.Option(help="Epochs (steps, where these count) of warm-up")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(help="Decay of the averaged weights; 0: none")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16")] = None,
    augment: Annotated[str | None, typer.Option(help="default, paper, published or none")] = None,
    foreground: Annotated[
        float | None, typer.Option(help="Share of patches centred on something labelled")
    ] = None,
    sampling: Annotated[
        str | None, typer.Option(help="Of -i: proportional (every scan once an epoch) or balanced")
    ] = None,
    fold: Annotated[
        str | None, typer.Option(help="Of -i: all, or train: without the validation fold")
    ] = None,
    randomise: Annotated[
        float | None, typer.Option(help="How implausible phantoms may be, 0 to 1")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Of phantoms: partial, as in MOTS, or complete: all tasks of each"),
    ] = None,
    patches: Annotated[int | None, typer.Option(help="Patches cut from each phantom")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, phantoms, patches and dropout")] = 0,
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUTPUT stands")] = False,
    max_minutes: Annotated[float, typer.Option(help="Stop cleanly after so long; 0: never")] = 0.0,
    checkpoint_minutes: Annotated[float, typer.Option(help="Between checkpoints")] = 3.0,
    checkpoint_activations: Annotated[
        bool, typer.Option("--checkpoint-activations", help="Compute twice, keep little")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write OUTPUT/tensorboard too")
    ] = False,
    workers: Annotated[
        int, typer.Option(help="Processes that make patches; -1: as many as fit the machine")
    ] = -1,
    threads: Annotated[int, typer.Option(help="Of arithmetic; 0: torch's choice")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; auto: the best there is")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Train a network on partially labelled data, and leave a folder that loads by its path."""
    from pathlib import Path

    from mots_pretrained.cli import console
    from mots_pretrained.cli.pretrain_byol import refuse, settings_of, train
    from mots_pretrained.cli.training_bar import training_bar
    from mots_pretrained.training.machine import best_device, prepare_machine
    from mots_pretrained.training.presets import size_named
    from mots_pretrained.training.pretrain_byol import BYOL_RECIPE
    from mots_pretrained.training.pretrain_mots import RECORD, Run
    from mots_pretrained.training.pretrain_mots import pretrain as run
    from mots_pretrained.training.pretraining import Pretraining
    from mots_pretrained.training.processes import device_of_process, launched
    from mots_pretrained.training.recipes import recipe_named

    changes = {
        "steps": steps,
        "epochs": epochs,
        "batch": batch,
        "rate": lr,
        "transformer_rate": transformer_lr,
        "weight_decay": weight_decay,
        "clip": clip,
        "warm_up": warm_up,
        "ema": ema,
        "precision": precision,
        "augmentation": augment,
        "foreground": foreground,
    }
    if method == "singlept":
        if tasks:
            raise UserError("--method singlept is of hepatic vessels; leave --tasks out")
        method, tasks = "transdodnet", "hepatic_vessel"
    phantoms = {"randomise": randomise, "labels": labels, "patches_per_case": patches}
    prepared = {"balance": sampling, "fold": fold}
    by_byol = method == "byol3d"
    if by_byol:
        refuse(
            {
                "tasks": tasks,
                "from": start,
                "recipe": recipe,
                "transformer-lr": transformer_lr,
                "augment": augment,
                "foreground": foreground,
                "labels": labels,
                "accumulate": accumulate != 1,
                "checkpoint-activations": checkpoint_activations,
                "json": json,
            }
        )
    source = _data(data, phantoms, prepared)
    if by_byol:
        unlabelled = settings_of(data, source, _changed(BYOL_RECIPE, changes), size=size, seed=seed)
    else:
        settings = Pretraining(
            method=method,
            size=size,
            recipe=_changed(recipe_named(recipe or size_named(size).recipe), changes),
            data=source,
            tasks=tuple(name.strip() for name in tasks.split(",") if name.strip()),
            start=start or None,
            accumulate=accumulate,
            seed=seed,
        )
    processes, chosen = launched(), device_of_process(best_device(device))
    if not processes.is_main:
        console.set_level(quiet=True)
    workers = prepare_machine(chosen, workers=workers, threads=threads, processes=processes.count)
    here = Run(
        device=chosen,
        workers=workers,
        resume=resume,
        max_minutes=max_minutes or None,
        checkpoint_minutes=checkpoint_minutes,
        recompute=checkpoint_activations,
        tensorboard=tensorboard,
        half=half,
    )
    if by_byol:
        train(output, unlabelled, here)
        return
    supply = settings.supply()
    count = settings.steps(supply.scans, processes.count)
    beside = f", {processes.count} processes" if processes.count > 1 else ""
    console.say(f"Pretraining {start or f'{method} ({size})'} on {supply.summary}, "
                f"{count} steps on {chosen}{beside}")  # fmt: skip
    with training_bar(count) as show:
        run(
            output,
            settings,
            here,
            on_log=show,
            on_start=lambda carried: console.say(f"From {start}: {carried}"),
        )
    if not processes.is_main:
        return
    record = (Path(output) / RECORD).read_text(encoding="utf-8")
    if json:
        import json as parser

        console.show_json(parser.loads(record))
        return
    console.show(f"{output}: weights, log.csv and {RECORD}")


def _changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """Return a recipe with what was asked for changed."""
    from dataclasses import replace

    changed = {key: value for key, value in changes.items() if value is not None}
    if "steps" in changed and "epochs" in changed:
        raise UserError("give --steps or --epochs, not both")
    if "steps" in changed or "epochs" in changed:
        changed = {"steps": None, "epochs": None, **changed}
    for key in ("clip", "ema"):
        if changed.get(key) == 0:
            changed[key] = None
    return replace(recipe, **changed)


def _data(folder: str, phantoms: dict[str, Any], prepared: dict[str, Any]) -> Phantoms | Prepared:
    """Return where cases come from; options of the other kind are refused, not passed over."""
    from mots_pretrained.training.sources import Phantoms, Prepared

    here, other = (prepared, phantoms) if folder else (phantoms, prepared)
    names = {"patches_per_case": "patches", "balance": "sampling"}
    strange = [names.get(key, key) for key, value in other.items() if value is not None]
    if strange:
        what = "without -i, of phantoms" if folder else "of a prepared folder, -i"
        raise UserError(f"--{strange[0]} is an option {what}")
    given = {key: value for key, value in here.items() if value is not None}
    return Prepared(folder, **given) if folder else Phantoms(**given)
