"""``mots finetune``: teach the pretrained backbone new labels from a few scans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import console
from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.training.history import History


def finetune(
    data: Annotated[
        str,
        typer.Option(
            "-i",
            "--input",
            help="Folder: BCV (img, label), BraTS (HGG, LGG), dataset.json, or images and labels",
        ),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="Folder for the new model")],
    source: Annotated[
        str, typer.Option("--from", help="Model to start from; none: random weights")
    ] = "transdodnet.phantom",
    size: Annotated[str, typer.Option(help="With --from none: small or paper")] = "small",
    channel_init: Annotated[
        str, typer.Option(help="First layer for more channels: first, mean, first_scaled, zero_new")
    ] = "first",
    classes: Annotated[
        str, typer.Option(help="Names of label values 1, 2, ..., by commas, or a JSON file")
    ] = "",
    spacing: Annotated[
        str, typer.Option(help="mm to work at, as 4,3,3 (D,H,W); by default the data's or model's")
    ] = "",
    steps: Annotated[int, typer.Option(help="Optimiser steps")] = 2000,
    epochs: Annotated[int, typer.Option(help="Instead of steps: two patches a scan each")] = 0,
    val: Annotated[
        str,
        typer.Option(help="Held out for validation: how many, names by commas, or bcv: its half"),
    ] = "a fifth",
    folds: Annotated[
        int, typer.Option(help="Networks, each with another part of the cases held out; 0: one")
    ] = 0,
    freeze: Annotated[
        str, typer.Option(help="Parts that stay, by commas: encoder, transformer, decoder.stage1")
    ] = "",
    unfreeze: Annotated[
        int, typer.Option(help="Head alone first; a part more learns each so many steps")
    ] = 0,
    layer_decay: Annotated[
        float, typer.Option(help="Factor on the rate, a stage away from the output; 0: none")
    ] = 0.0,
    patience: Annotated[
        int, typer.Option(help="Stop after so many validations without a better one; 0: never")
    ] = 0,
    batch: Annotated[int, typer.Option(help="Patches a step")] = 2,
    lr: Annotated[float, typer.Option(help="Initial learning rate; 0: by the size")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of split, patches and augmentation")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUTPUT stands")] = False,
    max_minutes: Annotated[float, typer.Option(help="Stop cleanly after so long; 0: never")] = 0.0,
    workers: Annotated[int, typer.Option(help="Processes that cut patches")] = 0,
    threads: Annotated[int, typer.Option(help="Of arithmetic; 0: torch's choice")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; auto: the best there is")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Teach the pretrained backbone new labels, and leave a folder that mots predict takes."""
    from mots_pretrained.cli.training_bar import training_bar
    from mots_pretrained.data.layouts import find_labelled
    from mots_pretrained.training.downstream import Choices, named_classes
    from mots_pretrained.training.finetune import Finetuning
    from mots_pretrained.training.finetune_folder import (
        Running,
        Start,
        finetune_folder,
        finetune_folds,
    )
    from mots_pretrained.training.machine import best_device, prepare_machine

    if channel_init not in (allowed := ("first", "mean", "first_scaled", "zero_new")):
        raise UserError(f"--channel-init must be {', '.join(allowed)}, not {channel_init!r}")
    settings = Finetuning(
        steps=steps,
        epochs=epochs,
        batch=batch,
        rate=lr or None,
        layer_decay=layer_decay or None,
        seed=seed,
        freeze=_words(freeze),
        unfreeze=unfreeze,
        patience=patience,
    )
    choices = Choices(named_classes(classes), _held_out(val), _spacing(spacing))
    start = Start(source, size, channel_init)  # type: ignore[arg-type]
    count = len(find_labelled(data).cases)
    chosen = best_device(device)
    prepare_machine(chosen, workers=workers, threads=threads)
    console.say(f"Fine-tuning {source} on {count} cases on {chosen}")
    with training_bar(settings.steps_for(count)) as show:
        running = Running(
            device=chosen,
            workers=workers,
            resume=resume,
            max_minutes=max_minutes or None,
            on_step=show,
            say=console.say,
        )
        options: dict[str, Any] = {"start": start, "choices": choices, "running": running}
        if folds:
            history = finetune_folds(data, output, settings, count=folds, **options)
        else:
            history = finetune_folder(data, output, settings, **options)
    _report(history, output, folds, json)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _held_out(text: str) -> int | tuple[str, ...] | None:
    """Read --val: how many cases, which ones, or BCV's half as it is written down."""
    from mots_pretrained.data.layouts.bcv import BCV_VALIDATION

    if text in ("", "a fifth", "-1"):
        return None
    if text == "bcv":
        return BCV_VALIDATION
    return int(text) if text.removeprefix("-").isdigit() else _words(text)


def _spacing(text: str) -> tuple[float, float, float] | None:
    if not text:
        return None
    try:
        depth, height, width = (float(step) for step in text.split(","))
    except ValueError:
        raise UserError(f"--spacing takes three numbers by commas, not {text!r}") from None
    return depth, height, width


def _report(history: History, output: str, folds: int, as_json: bool) -> None:
    best = history.best
    if as_json:
        scores = {"mean_dice": None, "dice": {}} if best is None else best.as_json()
        done = {"complete": history.complete, "best_step": history.best_step}
        console.show_json({"output": output, **done, **scores})
        return
    if best is not None:
        title = f"All cases, each by the fold that held it out ({folds} folds)"
        if not folds:
            title = f"Held-out cases, best at step {history.best_step}"
        console.show(f"{title}:\n{best.as_text()}")
    console.show(f"{output}: the new model; use it with: mots predict --model {output}")
    if not history.complete:
        console.show("It ran out of time; go on with the same command and --resume")
