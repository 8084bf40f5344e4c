"""``mots evaluate``: score predicted label maps, or a model on unseen phantoms."""

from __future__ import annotations

from typing import Annotated

import typer


def evaluate(
    predictions: Annotated[
        str, typer.Option("-i", "--input", help="Label maps (file or folder), or: phantoms")
    ],
    truth: Annotated[str, typer.Option(help="True label maps, file or folder")] = "",
    labels: Annotated[
        str, typer.Option(help="Names of the values: mots, bcv, or a JSON file")
    ] = "",
    model: Annotated[str, typer.Option(help="With -i phantoms: the model to score")] = "",
    cases: Annotated[int, typer.Option(help="With -i phantoms: how many")] = 14,
    seed: Annotated[int, typer.Option(help="With -i phantoms: which")] = 0,
    randomise: Annotated[
        float, typer.Option(help="With -i phantoms: how implausible they may be, 0 to 1")
    ] = 0.0,
    rule: Annotated[
        str, typer.Option(help="Of empty masks: standard leaves them out; published scores them 0")
    ] = "standard",
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; auto: the best there is")] = "auto",
    threads: Annotated[int, typer.Option(help="Of arithmetic; 0: torch's choice")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Score predicted label maps against the truth, or a model on unseen phantoms (Dice)."""
    from mots_pretrained.cli import console
    from mots_pretrained.evaluation.files import score_files
    from mots_pretrained.evaluation.names import label_names
    from mots_pretrained.evaluation.rules import RULES

    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}; allowed are {', '.join(RULES)}")
    if predictions == "phantoms":
        if not model:
            raise ValueError("-i phantoms scores a model; name it with --model")
        from mots_pretrained.networks import load
        from mots_pretrained.training.machine import best_device, prepare_machine
        from mots_pretrained.training.validation import score_phantoms

        chosen = best_device(device)
        prepare_machine(chosen, threads=threads)
        table = score_phantoms(
            load(model),
            cases=cases,
            seed=seed,
            device=chosen,
            randomise=randomise,
            rule=rule,
            on_case=lambda done, of: console.say(f"case {done} of {of}"),
        )
    else:
        if not truth:
            raise ValueError("scoring files needs the true ones; name them with --truth")
        names = label_names(labels) if labels else None
        table = score_files(predictions, truth, names=names, rule=rule)
    if json:
        console.show_json(table.as_json())
    else:
        console.show(table.as_text())
