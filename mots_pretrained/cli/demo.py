"""``mots demo``: the whole job on a phantom scan or on one's own, told step by step."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from mots_pretrained.cli import console, options


def demo(
    input: Annotated[str, typer.Option("-i", "--input", help="A CT (NIfTI) of yours")] = "",
    output: Annotated[str, typer.Option("-o", "--output", help="Folder to write into")] = "demo",
    model: Annotated[
        str, typer.Option("-m", "--model", help="Name, folder or Hub repository")
    ] = "transdodnet.phantom",
    steps: Annotated[
        int, typer.Option(help="Training steps of all weights after the head is fitted")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Of phantoms, weights and patches")] = 0,
    json: options.Json = False,
) -> None:
    """Segment a scan, teach it 13 organs beside a network from scratch, and score both."""
    # Read when torch is imported. Threads that spin while they wait make a training step take
    # several times as long where others use the cores too; sleeping costs a little where not.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from mots_pretrained.demo import DemoSettings
    from mots_pretrained.demo import demo as run
    from mots_pretrained.training.machine import prepare_machine

    prepare_machine("cpu")
    settings = DemoSettings(model=model, steps=steps, seed=seed)
    results = run(output, input or None, settings=settings, say=console.say)
    if json:
        console.show_json(results)
    else:
        console.show(_summary(results, output))


def _summary(results: dict[str, Any], folder: str) -> str:
    finetuning, scan = results["finetuning"], results["scan"]
    both = finetuning["pretrained"], finetuning["from_scratch"]
    lines = ["", f"Done in {results['seconds'] / 60:.1f} minutes.", ""]
    if scan["dice"]:
        lines += [f"Dice of {results['settings']['model']} on the phantom {scan['file']}:"]
        lines += [f"  {name:<24}{_score(score)}" for name, score in scan["dice"].items()]
        lines += [""]
    lines += [f"Dice on {finetuning['test_scans']} unseen phantoms after fine-tuning:"]
    lines += [f"  {'':<24}{'pretrained':>11}{'from scratch':>14}"]
    minutes = (f"{one['minutes']:.1f}" for one in both)
    lines += ["  {:<24}{:>11}{:>14}".format("minutes of training", *minutes)]
    names = both[0]["dice"]
    lines += [
        f"  {name:<24}{_score(both[0]['dice'][name]):>11}{_score(both[1]['dice'][name]):>14}"
        for name in names
    ]
    means = (_score(one["mean_dice"]) for one in both)
    lines += ["  {:<24}{:>11}{:>14}".format("mean", *means), "", results["note"], ""]
    width = max(map(len, results["files"]))
    lines += [f"In {folder}/:"]
    lines += [f"  {name:<{width}}  {meaning}" for name, meaning in results["files"].items()]
    return "\n".join(lines)


def _score(score: float | None) -> str:
    return "not in it" if score is None else f"{score:.2f}"
