"""``mots push``: publish a model's folder on the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mots_pretrained.cli import options
from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.weights.card import Description


def push(
    folder: Annotated[
        str,
        typer.Argument(help="Folder with the model, as of a training, or a file of added organs"),
    ],
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
    license: Annotated[
        str, typer.Option(help="Licence of the weights by the Hub's name; the card's own if none")
    ] = "",
    license_name: Annotated[
        str, typer.Option(help="What a licence is called that is other to the Hub")
    ] = "",
    license_link: Annotated[str, typer.Option(help="Where the text of such a licence is")] = "",
    base_model: Annotated[
        str, typer.Option(help="Hub repository of the weights begun from; as recorded by default")
    ] = "",
    datasets: Annotated[
        str, typer.Option(help="Hub repositories of the training data, by commas")
    ] = "",
    trained_on: Annotated[
        str, typer.Option(help="Folder of mots prepare to add to the list of its training scans")
    ] = "",
    with_case_names: Annotated[
        bool,
        typer.Option("--with-case-names", help="Send names of training cases, often patients'"),
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new one private")] = False,
    revision: Annotated[str, typer.Option(help="Branch to commit to; main by default")] = "",
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16")] = False,
    json: options.Json = False,
) -> None:
    """Publish a model: weights, configuration, card, fingerprint and the list of training scans.

    The card is filled from the configuration, training.json and --scores; what a card in the
    folder says besides, its licence too, is kept. training.json and training_scans.json are sent
    without names of cases, files and folders, cases.json not at all, unless --with-case-names is
    given. The token is that of `hf auth login` or HF_TOKEN.
    """
    import tempfile
    from pathlib import Path

    from mots_pretrained.cli import console
    from mots_pretrained.publishing import make_publishable
    from mots_pretrained.weights.card import Description
    from mots_pretrained.weights.card_renewal import read_card, read_scores
    from mots_pretrained.weights.upload import upload_folder

    if not repository and not output:
        raise UserError("say where to: a Hub repository org/name, or -o FOLDER")
    measured = read_scores(scores) if scores else Description()
    said = Description(
        name=repository or Path(output).resolve().name,
        summary=summary,
        training=Path(training).read_text("utf-8").strip() if training else "",
        scores=measured.scores,
        absent=measured.absent,
        dataset=dataset,
        license=license,
        license_name=license_name,
        license_link=license_link,
        base_model=base_model,
        datasets=tuple(name.strip() for name in datasets.split(",") if name.strip()),
    )
    if Path(folder).is_file():
        given = {
            "-o": output, "--summary": summary, "--training": training, "--scores": scores,
            "--dataset": dataset, "--datasets": datasets, "--trained-on": trained_on,
            "--half": half, "--with-case-names": with_case_names,
        }  # fmt: skip
        if unused := [option for option, value in given.items() if value]:
            raise UserError(f"{unused[0]} has no part in pushing added organs; leave it out")
        address = _push_organs(folder, repository, said, private=private, revision=revision)
        if json:
            console.show_json({"folder": None, "commit": address})
        else:
            console.show(address)
        return
    with tempfile.TemporaryDirectory() as scratch:
        prepared = make_publishable(
            folder,
            output or Path(scratch) / (Path(folder).resolve().name or "model"),
            said=said,
            scans=_scans(trained_on) if trained_on else None,
            half=half,
            with_case_names=with_case_names,
        )
        console.say(f"written: {', '.join(sorted(path.name for path in prepared.iterdir()))}")
        if read_card((prepared / "README.md").read_text("utf-8")).license == "unknown":
            console.say("the card states no licence of the weights; --license NAME states one")
        address = ""
        if repository:
            address = upload_folder(
                prepared,
                repository,
                private=private,
                revision=revision or None,
                with_case_names=with_case_names,
            )
    if json:
        console.show_json({"folder": output or None, "commit": address or None})
    else:
        console.show(address or f"{output} is ready to be pushed")


def _push_organs(
    path: str, repository: str, said: Description, *, private: bool, revision: str
) -> str:
    """Publish a file of added organs."""
    from mots_pretrained.weights.addition import ORGANS_KIND, Addition
    from mots_pretrained.weights.card import organs_card
    from mots_pretrained.weights.upload import upload_organs

    if not repository:
        raise UserError("added organs are one file; say which repository org/name it is for")
    found = Addition.load(path, kind=ORGANS_KIND)
    card = organs_card(
        [str(name) for name in found.facts.get("classes", ())],
        found.base,
        repository,
        scans=None if found.scans is None else len(found.scans),
        base_model=said.base_model,
        license=said.license,
        license_name=said.license_name,
        license_link=said.license_link,
    )
    return upload_organs(path, repository, card=card, private=private, revision=revision or None)


def _scans(prepared: str) -> dict[str, str]:
    """Return the training scans of a prepared folder by the hash of their voxels."""
    from mots_pretrained.data.store import PreparedSet

    opened = PreparedSet.open(prepared)
    return opened.hashes(opened.select(split="train"))
