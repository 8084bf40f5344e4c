"""``mots pretrain``: train a network on partially labelled data."""

from __future__ import annotations

from typing import Annotated

import typer


def pretrain(
    output: Annotated[str, typer.Option("-o", "--output", help="Folder for weights and log")],
    data: Annotated[str, typer.Option(help="phantoms, made on the fly")] = "phantoms",
    method: Annotated[str, typer.Option(help="transdodnet or dodnet")] = "transdodnet",
    size: Annotated[str, typer.Option(help="small or paper")] = "small",
    steps: Annotated[int, typer.Option(help="Optimiser steps")] = 20_000,
    epochs: Annotated[
        int, typer.Option(help="Train so many times 920 patches, the rate by epochs, as published")
    ] = 0,
    batch: Annotated[int, typer.Option(help="Patches a step")] = 2,
    lr: Annotated[float, typer.Option(help="Initial learning rate; 0: the size's own")] = 0.0,
    warm_up: Annotated[int, typer.Option(help="Epochs (steps without --epochs) of warm-up")] = 0,
    seed: Annotated[int, typer.Option(help="Of weights, phantoms and patches")] = 0,
    randomise: Annotated[float, typer.Option(help="How implausible phantoms may be, 0 to 1")] = 0.5,
    labels: Annotated[
        str, typer.Option(help="partial, as in MOTS, or complete: all tasks of every phantom")
    ] = "partial",
    patches: Annotated[int, typer.Option(help="Patches cut from each phantom")] = 4,
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights; 0: none")] = 0.999,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUTPUT stands")] = False,
    max_minutes: Annotated[float, typer.Option(help="Stop cleanly after so long; 0: never")] = 0.0,
    checkpoint_minutes: Annotated[float, typer.Option(help="Between checkpoints")] = 3.0,
    workers: Annotated[
        int, typer.Option(help="Processes that make phantoms; -1: as many as fit the machine")
    ] = -1,
    threads: Annotated[int, typer.Option(help="Of arithmetic; 0: torch's choice")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; auto: the best there is")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Train a network on partially labelled data, and leave a folder that loads by its path."""
    from pathlib import Path

    from mots_pretrained.cli import console
    from mots_pretrained.cli.training_bar import training_bar
    from mots_pretrained.training.machine import best_device, prepare_machine
    from mots_pretrained.training.pretrain_mots import RECORD, Pretraining, steps_of
    from mots_pretrained.training.pretrain_mots import pretrain as run

    if data != "phantoms":
        raise ValueError(f"unknown data {data!r}; allowed is phantoms")
    settings = Pretraining(
        method=method,
        size=size,
        steps=steps_of(epochs, batch) if epochs else steps,
        batch=batch,
        rate=lr or None,
        warm_up=warm_up,
        by_epoch=bool(epochs),
        ema=ema or None,
        seed=seed,
        randomise=randomise,
        labels=labels,  # type: ignore[arg-type]
        patches_per_case=patches,
        precision=precision,  # type: ignore[arg-type]
    )
    chosen = best_device(device)
    workers = prepare_machine(chosen, workers=workers, threads=threads)
    console.say(f"Pretraining {method} ({size}) on phantoms, {settings.steps} steps on {chosen}")
    with training_bar(settings.steps) as show:
        run(
            output,
            settings,
            device=chosen,
            workers=workers,
            resume=resume,
            max_minutes=max_minutes or None,
            checkpoint_minutes=checkpoint_minutes,
            half=half,
            on_log=show,
        )
    record = (Path(output) / RECORD).read_text(encoding="utf-8")
    if json:
        import json as parser

        console.show_json(parser.loads(record))
        return
    console.show(f"{output}: weights, log.csv and {RECORD}")
