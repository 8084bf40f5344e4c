"""``mots finetune``: teach the pretrained backbone new labels from a few scans."""

from __future__ import annotations

from typing import Annotated

import typer


def finetune(
    data: Annotated[
        str,
        typer.Option(
            "-i", "--input", help="Folder: BCV (img, label), dataset.json, or images and labels"
        ),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="Folder for the new model")],
    source: Annotated[
        str, typer.Option("--from", help="Model to start from; none: random weights")
    ] = "transdodnet.phantom",
    size: Annotated[str, typer.Option(help="With --from none: small or paper")] = "small",
    classes: Annotated[
        str, typer.Option(help="Names of label values 1, 2, ..., by commas, or a JSON file")
    ] = "",
    steps: Annotated[int, typer.Option(help="Optimiser steps")] = 2000,
    epochs: Annotated[int, typer.Option(help="Instead of steps: two patches a scan each")] = 0,
    val: Annotated[
        int, typer.Option(help="Cases held out for validation; -1: a fifth of five or more")
    ] = -1,
    freeze: Annotated[
        str, typer.Option(help="Parts that stay, by commas: encoder, transformer, decoder")
    ] = "",
    patience: Annotated[
        int, typer.Option(help="Stop after so many validations without a better one; 0: never")
    ] = 0,
    batch: Annotated[int, typer.Option(help="Patches a step")] = 2,
    lr: Annotated[float, typer.Option(help="Initial learning rate; 0: by the size")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of split, patches and augmentation")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that cut patches")] = 0,
    threads: Annotated[int, typer.Option(help="Of arithmetic; 0: torch's choice")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; auto: the best there is")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Teach the pretrained backbone new labels, and leave a folder that mots predict takes."""
    from mots_pretrained.cli import console
    from mots_pretrained.cli.training_bar import training_bar
    from mots_pretrained.data.folders import find_scans
    from mots_pretrained.training.finetune import Finetuning
    from mots_pretrained.training.finetune_folder import Start, finetune_folder, named_classes
    from mots_pretrained.training.machine import best_device, prepare_machine

    found = find_scans(data)
    count = len(found.scans)
    settings = Finetuning(
        steps=max(1, epochs * 2 * count // max(batch, 1)) if epochs else steps,
        batch=batch,
        rate=lr or None,
        seed=seed,
        freeze=tuple(part.strip() for part in freeze.split(",") if part.strip()),
        patience=patience,
    )
    chosen = best_device(device)
    prepare_machine(chosen, workers=workers, threads=threads)
    console.say(f"Fine-tuning {source} on {count} cases, {settings.steps} steps on {chosen}")
    with training_bar(settings.steps) as show:
        history = finetune_folder(
            data,
            output,
            settings,
            start=Start(source, size),
            classes=named_classes(classes),
            held_out=None if val < 0 else val,
            device=chosen,
            workers=workers,
            on_step=show,
        )
    best = history.best
    if json:
        scores = {"mean_dice": None, "dice": {}} if best is None else best.as_json()
        console.show_json({"output": output, "best_step": history.best_step, **scores})
        return
    if best is not None:
        console.show(f"Held-out cases, best at step {history.best_step}:\n{best.as_text()}")
    console.show(f"{output}: the new model; use it with: mots predict --model {output}")
