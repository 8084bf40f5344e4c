"""``mots convert``: bring a published checkpoint into this package's format."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mots_pretrained.cli import options
from mots_pretrained.errors import UserError


def convert(
    checkpoint: Annotated[
        str,
        typer.Option(
            "-i",
            "--input",
            help="Published checkpoint (.pth) of TransDoDNet or DoDNet, or org/name:FILE on the "
            "Hugging Face Hub",
        ),
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
    sha256: Annotated[
        str, typer.Option(help="Checksum that the checkpoint must have; needed for one on the Hub")
    ] = "",
    json: options.Json = False,
) -> None:
    """Convert a published checkpoint; say what its weights tell and what is assumed.

    The folder is taken by from_pretrained, predict and finetune. Its fingerprint holds the
    logits on a bundled input.
    """
    from mots_pretrained.cli import console
    from mots_pretrained.converting import convert_checkpoint
    from mots_pretrained.weights.remote import checkpoint_at

    done = convert_checkpoint(
        checkpoint_at(checkpoint, sha256=sha256) or checkpoint,
        output,
        _arguments(settings or []),
        sha256=sha256,
    )
    found, architecture = done.inspection, done.inspection.config.architecture
    if json:
        told = {name: getattr(found, name) for name in ("inferred", "given", "assumed")}
        console.show_json(
            {
                "folder": str(done.folder),
                "architecture": architecture,
                "parameters": done.parameters,
                **told,
            }
        )
        return
    console.show(f"{architecture}, {done.parameters:,} parameters, written to {done.folder}")
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
