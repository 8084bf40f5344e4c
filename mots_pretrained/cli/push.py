"""``mots push``: publish a model's folder on the Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from mots_pretrained.errors import UserError


def push(
    folder: Annotated[str, typer.Argument(help="Folder with the model, such as a training's")],
    repository: Annotated[
        str, typer.Argument(help="Hub repository org/name; none writes OUTPUT only")
    ] = "",
    output: Annotated[
        str, typer.Option("-o", "--output", help="Folder to write what is pushed to, and keep it")
    ] = "",
    summary: Annotated[str, typer.Option(help="What the model is, in a sentence")] = "",
    training: Annotated[
        str, typer.Option(help="Markdown file on the training; from training.json by default")
    ] = "",
    scores: Annotated[
        str, typer.Option(help="Scores: what mots evaluate --json printed, in a file")
    ] = "",
    dataset: Annotated[str, typer.Option(help="What the scores were measured on")] = "",
    license: Annotated[str, typer.Option(help="Of the weights")] = "apache-2.0",
    trained_on: Annotated[
        str, typer.Option(help="Folder of mots prepare that it was trained on, for its scans")
    ] = "",
    private: Annotated[bool, typer.Option("--private", help="Make a new one private")] = False,
    revision: Annotated[str, typer.Option(help="Branch to commit to; main by default")] = "",
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Publish a model: weights, configuration, card, fingerprint and the list of training scans.

    The card is filled from the configuration, training.json and --scores; without --summary,
    --training or --scores a card that lies in the folder is kept. The token is that of
    `hf auth login` or HF_TOKEN.
    """
    import tempfile
    from pathlib import Path

    from mots_pretrained.cli import console
    from mots_pretrained.publishing import Description, prepare_folder
    from mots_pretrained.weights.card import read_scores
    from mots_pretrained.weights.upload import upload_folder

    if not repository and not output:
        raise UserError("say where to: a Hub repository org/name, or -o FOLDER")
    description = None
    if summary or training or scores:
        description = Description(
            name=repository or Path(output).resolve().name,
            summary=summary,
            training=Path(training).read_text("utf-8").strip() if training else "",
            scores=read_scores(scores) if scores else {},
            dataset=dataset,
            license=license,
        )
    with tempfile.TemporaryDirectory() as scratch:
        kept = output or str(Path(scratch) / Path(folder).resolve().name)
        prepared = prepare_folder(
            folder, kept, description=description, trained_on=trained_on or None, half=half
        )
        console.say(f"written: {', '.join(sorted(path.name for path in prepared.iterdir()))}")
        address = ""
        if repository:
            address = upload_folder(
                prepared, repository, private=private, revision=revision or None
            )
    if json:
        console.show_json({"folder": output or None, "commit": address or None})
    else:
        console.show(address or f"{output} is ready to be pushed")
