"""``mots finetune``: teach the pretrained backbone new labels from a few scans."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import console, options
from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.data.layouts import Fold
    from mots_pretrained.training.curve import Curve
    from mots_pretrained.training.recipe import Recipe
    from mots_pretrained.training.validation import History


def finetune(
    data: Annotated[
        str,
        typer.Option(
            "-i",
            "--input",
            help="Folder: BCV (img, label), BraTS (HGG, LGG), dataset.json, CASE/segmentations, "
            "images and labels; or MONAI's datalist.json or input.yaml",
        ),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="Folder for the new model")],
    start: Annotated[
        str,
        typer.Option("--from", help="Model to start from (default: the recipe's); none: random"),
    ] = "",
    add_to: Annotated[
        str,
        typer.Option(
            help="Network with tasks to put the new organs beside; OUTPUT may be NAME.safetensors"
        ),
    ] = "",
    train: Annotated[
        str,
        typer.Option(help="head: fit the new head alone, in minutes; all: then train all weights"),
    ] = "",
    recipe: Annotated[
        str, typer.Option(help="How to train: finetune, or a YAML file")
    ] = "finetune",
    settings: options.Settings = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; --set steps=N")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Instead of steps: rounds of two patches a scan")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Patches a step; --set batch=N")] = None,
    lr: Annotated[float | None, typer.Option(help="Initial learning rate; --set rate=X")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed for weights, split and patches; --set seed=N")
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Names of label values 1, 2, ..., by commas, or a JSON file")
    ] = "",
    val: Annotated[
        str,
        typer.Option(
            help="Held out for validation: how many, names by commas, bcv: its half, splits:0: a "
            "fold of the data's own, FILE.json:0: of a splits_final.json of nnU-Net elsewhere",
            show_default="the data's own fold 0, or a fifth",
        ),
    ] = "a fifth",
    folds: Annotated[
        int | None, typer.Option(help="Train N networks, each with another part held out")
    ] = None,
    curve: Annotated[
        str,
        typer.Option(
            help="Instead of a model a learning curve: pretrained against random weights with so "
            "many scans, as 1,2,4,8; heads alone unless --train or the recipe says all"
        ),
    ] = "",
    seeds: Annotated[
        int | None, typer.Option(help="Random seeds of the curve", show_default="3")
    ] = None,
    spacing: Annotated[
        str, typer.Option(help="mm to work at, as 4,3,3 (D,H,W); default: the data's or model's")
    ] = "",
    intensity: Annotated[
        str,
        typer.Option(
            help="What scans are: ct, clipped CT numbers, or zscore, as MRI; default: as the "
            "channels' names tell, or numbers of air"
        ),
    ] = "",
    channel_init: Annotated[
        str,
        typer.Option(
            help="First layer of more channels: random, first, mean, first_scaled, zero_new"
        ),
    ] = "",
    resume: options.Resume = False,
    max_minutes: options.MaxMinutes = 0.0,
    device: options.Device = "auto",
    workers: options.Workers = -1,
    deterministic: options.Deterministic = False,
    json: Annotated[bool, typer.Option("--json", help="Print scores as JSON")] = False,
) -> None:
    """Teach the pretrained backbone new labels, and leave a folder that mots predict takes."""
    from mots_pretrained.training.add_organs import add_organs_folder
    from mots_pretrained.training.curve import learning_curve
    from mots_pretrained.training.finetune_folder import check_widened, finetune_folder

    changes: dict[str, Any] = {**_classes(classes), **_held_out(val, data)}
    short = {"steps": steps, "epochs": epochs, "batch": batch, "rate": lr, "seed": seed}
    asked = [f"{name}={value}" for name, value in short.items() if value is not None]
    asked += settings or ()
    if start:
        changes["start"] = None if start == "none" else start
    if add_to:
        if start or train:
            raise UserError("--add-to says what to start from and what learns; leave --from, "
                            "--train out")  # fmt: skip
        changes |= {"start": add_to, "train": "add"}
    if train:
        changes["train"] = train
    elif curve and not add_to and not _says_what_learns(recipe, asked):
        changes["train"] = "head"
    if folds is not None:
        changes["folds"] = folds
    if spacing:
        changes["spacing"] = _spacing(spacing)
    if intensity:
        changes["intensity"] = intensity
    if channel_init:
        changes["channel_init"] = channel_init
    if seeds is not None and not curve:
        raise UserError("--seeds says how many a --curve has; for one training say --seed N")
    chosen, given = options.recipe_in_force(recipe, asked, **changes)
    told = {setting.partition("=")[0].strip() for setting in asked}
    if chosen.train != "all":
        _check_head_alone(told)
    elif "fit_steps" in told and not (chosen.fit_head and chosen.start):
        raise UserError("fit_steps has no part where no head is fitted; leave it out")
    if channel_init or "channel_init" in told:
        check_widened(data, chosen)
    with options.on_this_machine(
        given,
        device=device,
        workers=workers,
        resume=resume,
        max_minutes=max_minutes,
        deterministic=deterministic,
    ) as run:
        if curve:
            found = learning_curve(
                *(data, output, chosen),
                counts=_counts(curve),
                seeds=3 if seeds is None else seeds,
                run=run,
            )
        else:
            teach = add_organs_folder if chosen.train == "add" else finetune_folder
            history = teach(data, output, chosen, run=run)
    if curve:
        _report_curve(found, output, json)
    elif options.is_main():
        _report(history, output, chosen, json)


def _says_what_learns(recipe: str, settings: Sequence[str]) -> bool:
    """Tell whether ``--set`` or a recipe file names it; what ships has it as a default alone."""
    from mots_pretrained.parse import parse_yaml

    if any(setting.partition("=")[0].strip() == "train" for setting in settings):
        return True
    path = Path(recipe)
    values = parse_yaml(path.read_bytes(), recipe) if os.path.isfile(path) else {}
    return isinstance(values, dict) and "train" in values


def _check_head_alone(told: Collection[str]) -> None:
    """Refuse lengths that only a training of all weights has; a recipe needs one in any case."""
    for name in ("steps", "epochs", "batch"):
        if name in told:
            raise UserError(f"{name} has no part in fitting a head alone, whose steps are "
                            "--set fit_steps=N; leave it out")  # fmt: skip


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _classes(text: str) -> dict[str, Any]:
    """Read --classes: names by commas, of values 1, 2, ..., or a JSON file."""
    if not text:
        return {}
    if text.endswith(".json"):
        from mots_pretrained.evaluation.names import read_label_names

        found = read_label_names(text).classes
        return {"classes": tuple(found), "class_values": tuple(map(tuple, found.values()))}
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len({*names}) != len(names):
        raise UserError(f"classes must be different names parted by commas, not {text!r}")
    return {"classes": names, "class_values": tuple((n,) for n in range(1, len(names) + 1))}


def _held_out(text: str, data: str) -> dict[str, Any]:
    """Read --val: how many cases, which ones, BCV's half as written down, or a fold."""
    from mots_pretrained.data.layouts.bcv import BCV_VALIDATION

    if text in ("", "a fifth"):
        return {}
    if text == "bcv":
        return _parts(BCV_VALIDATION)
    split = re.fullmatch(r"(?:(.+\.json)|splits):(\d+)", text)
    if split:
        splits, fold = _splits(data, split[1]), int(split[2])
        if fold >= len(splits):
            raise UserError(f"--val {text}: the folds are 0 to {len(splits) - 1}")
        return _parts(*splits[fold])
    number = re.fullmatch(r"-?(0|[1-9][0-9]*)", text)  # 0007 is a case
    return {"held_out": int(text)} if number else _parts(_words(text))


def _parts(held_out: Sequence[str], train: Sequence[str] = ()) -> dict[str, Any]:
    return {"validation": tuple(held_out), "train_on": tuple(train)}


def _splits(data: str, file: str | None) -> Sequence[Fold]:
    """Return each fold that a file tells, or the data."""
    from mots_pretrained.data.layouts import find_labelled
    from mots_pretrained.data.layouts.nnunet import read_splits

    if file is not None:
        return read_splits(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training tells them
        found = find_labelled(data)
    return found.folds or read_splits(found.folder)


def _counts(text: str) -> tuple[int, ...]:
    if not all(word.isdigit() for word in _words(text)):
        raise UserError(f"--curve takes numbers of scans by commas, as 1,2,4,8, not {text!r}")
    return tuple(int(word) for word in _words(text))


def _spacing(text: str) -> tuple[float, float, float]:
    try:
        depth, height, width = (float(step) for step in text.split(","))
    except ValueError:
        raise UserError(f"--spacing takes three numbers by commas, not {text!r}") from None
    return depth, height, width


def _report_curve(curve: Curve, output: str, as_json: bool) -> None:
    if as_json:
        console.show_json({"output": output, **curve.as_json()})
        return
    console.show(f"Mean Dice of {curve.held_out} held-out scans:\n{curve.as_text()}")
    console.show(f"{output}: curve.csv, every score; curve.png")
    if not curve.complete:
        console.show("It ran out of time; continue with the same command and --resume")


def _report(history: History, output: str, recipe: Recipe, as_json: bool) -> None:
    best = history.best
    if as_json:
        scores = {"mean_dice": None, "dice": {}} if best is None else best.as_json()
        done = {"complete": history.complete, "best_step": history.best_step}
        console.show_json({"output": output, **done, **scores})
        return
    if best is not None:
        title = f"All cases, each by the fold that held it out ({recipe.folds} folds)"
        if not recipe.folds:
            title = f"Held-out cases, best at step {history.best_step}"
            if history.best_step == 0:
                title = "Held-out cases, by the fitted head on the frozen backbone"
        console.show(f"{title}:\n{best.as_text()}")
    what, use = "the new model", f"--model {output}"
    if output.endswith(".safetensors"):
        what, use = "the new organs", f"--model {recipe.start} --add {output}"
    console.show(f"{output}: {what}; use it with: mots predict {use}")
    if not history.complete:
        console.show("It ran out of time; continue with the same command and --resume")
