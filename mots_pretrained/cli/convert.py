"""``mots convert``: bring a published checkpoint into this package's format."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mots_pretrained.errors import UserError


def convert(
    checkpoint: Annotated[
        str,
        typer.Option("-i", "--input", help="Published checkpoint (.pth) of TransDoDNet or DoDNet"),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="Folder to write")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Published argument that the weights do not tell, e.g. activation_cfg=LeakyReLU, "
            "nheads=4, add_memory=1, weight_std=True, input_size=64,192,192, spacing=1.5,0.8,0.8",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Convert a published checkpoint; say what its weights tell and what is assumed.

    The folder is taken by from_pretrained, predict and finetune. Its fingerprint holds the
    logits on a bundled input.
    """
    from pathlib import Path

    from mots_pretrained.cli import console
    from mots_pretrained.networks import from_state
    from mots_pretrained.published import convert as convert_weights
    from mots_pretrained.published import inspect, read_checkpoint
    from mots_pretrained.weights.card import Description, model_card
    from mots_pretrained.weights.checkpoint import save_folder
    from mots_pretrained.weights.fingerprint import FINGERPRINT, fingerprint, to_text

    arguments = _arguments(settings or [])
    weights = read_checkpoint(checkpoint)
    found = inspect(weights, arguments)
    config, state = convert_weights(weights, arguments)
    network = from_state(config, state)
    said = Description(
        name=Path(output).resolve().name,
        summary=f"The authors' {config.architecture} network, converted by mots convert.",
        training="By its authors, with the published code; see the paper.",
        license="other",
    )
    extra = {FINGERPRINT: to_text(fingerprint(network, config, state))}
    folder = save_folder(output, config, state, card=model_card(config, said), extra=extra)
    parameters = sum(value.numel() for value in state.values())
    if json:
        told = {name: getattr(found, name) for name in ("inferred", "given", "assumed")}
        console.show_json(
            {
                "folder": str(folder),
                "architecture": config.architecture,
                "parameters": parameters,
                **told,
            }
        )
        return
    console.show(f"{config.architecture}, {parameters:,} parameters, written to {folder}")
    console.say(f"The weights tell: {_listed(found.inferred)}")
    if found.given:
        console.say(f"You said: {_listed(found.given)}")
    console.show(f"Assumed (say otherwise with --set NAME=VALUE): {_listed(found.assumed)}")


def _arguments(settings: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise UserError(f"--set takes NAME=VALUE, not {setting!r}; e.g. --set nheads=4")
        values[name.strip()] = value.strip()
    return values


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {','.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in values.items()
    )
