"""``mots export``: write a model for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from mots_pretrained.cli import options
from mots_pretrained.errors import UserError


def export(
    name: Annotated[str, typer.Argument(help="Catalogue name, folder or Hub repository")],
    output: Annotated[str, typer.Option("-o", "--output", help="Folder to write")],
    format: Annotated[
        str,
        typer.Option(
            help="onnx, torch (a torch.export program), monai (a bundle), nnunet (a model folder)"
        ),
    ] = "onnx",
    part: Annotated[str, typer.Option(help="network (logits) or backbone (maps)")] = "network",
    size: Annotated[
        str, typer.Option(help="Input size D,H,W of a graph; the test window by default")
    ] = "",
    json: options.Json = False,
) -> None:
    """Write a model for other programs, with the contract of its input as JSON beside."""
    from typing import cast

    from mots_pretrained.cli import console
    from mots_pretrained.export.graph import Format, Part, export_graph
    from mots_pretrained.export.monai_bundle import export_bundle
    from mots_pretrained.networks import load
    from mots_pretrained.weights.checkpoint import fold_folders
    from mots_pretrained.weights.download import resolve
    from mots_pretrained.weights.unfinished import missing_folds, refuse_missing_folds

    folder = resolve(name)
    if format == "monai" and fold_folders(folder):
        raise UserError("a MONAI bundle is of one network; name one fold's folder, or take "
                        "--format nnunet or torch, which have all folds")  # fmt: skip
    refuse_missing_folds(missing_folds(folder))  # which load would only warn of
    network = load(name)
    run_by: dict[str, str] = {}
    if format == "monai":
        if part != "network" or size:
            raise UserError("a MONAI bundle is of the whole network; leave out --part, --size")
        path = export_bundle(network, output, card=_card(name))
    elif format == "nnunet":
        from mots_pretrained.export.nnunet import command, export_nnunet

        if part != "network" or size:
            raise UserError("nnU-Net takes the whole network; leave out --part, --size")
        path = export_nnunet(network, output)
        run_by = {"command": command(path)}
    else:
        path = export_graph(
            network,
            output,
            format=cast(Format, format),
            part=cast(Part, part),
            size=_size(size) if size else None,
        )
    if json:
        console.show_json({"name": name, "format": format, "path": str(path), **run_by})
    else:
        console.show(f"{name} written to {path}")
        for words in run_by.values():
            console.show(words)


def _card(name: str) -> str:
    """Return the model card beside the weights, if there is one."""
    from mots_pretrained.weights.checkpoint import CARD
    from mots_pretrained.weights.download import resolve

    path = resolve(name) / CARD
    return path.read_text("utf-8") if path.is_file() else ""


def _size(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise UserError(f"--size takes three whole numbers D,H,W such as 64,192,192, not {text!r}")
    depth, height, width = map(int, parts)
    return depth, height, width
