"""``mots models``: list the pretrained models, show one, fetch it, ask what it has seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import console, options
from mots_pretrained.config import Preprocessing
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.weights.catalog import CATALOG, Checkpoint, Entry, entry_named, list_models
from mots_pretrained.weights.download import FILES, checksum, resolve

if TYPE_CHECKING:
    from mots_pretrained.weights.provenance import TrainingScans


def models(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|PATTERN] | download NAME | search [WORDS] | verify [NAME] | "
            "overlap NAME DIR",
            help="A model to show, a pattern such as '*.phantom' to list; or an action: download a "
            "model for offline machines, search the Hub for models of this package, verify "
            "checksums, say which scans of DIR a model has seen",
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", help="Of download: a folder to copy the model to")
    ] = "",
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence", help="Of download: fetch weights of others under their licence"
        ),
    ] = False,
    sha256: Annotated[
        str, typer.Option(help="Of download: take a checkpoint of this checksum instead")
    ] = "",
    architecture: Annotated[str, typer.Option(help="List those of this architecture")] = "",
    task: Annotated[str, typer.Option(help="List those that know this task, e.g. liver")] = "",
    available: Annotated[
        bool, typer.Option("--available", help="List those whose weights are to be had")
    ] = False,
    json: options.Json = False,
) -> None:
    """List the pretrained models, show one, fetch it, check it, ask what it has seen."""
    first, *rest = words or ["*"]
    given = {"-o": output, "--accept-licence": accept_licence, "--sha256": sha256}
    for option, value in given.items():
        if value and first != "download":
            raise UserError(f"{option} is for mots models download")
    is_list = any(sign in first for sign in "*?[")
    filters = {"--architecture": architecture, "--task": task, "--available": available}
    for option, wanted in filters.items():
        if wanted and not is_list:
            raise UserError(f"{option} chooses among models that are listed; leave out {first!r}")
    if first in _ACTIONS:
        action, least, most = _ACTIONS[first]
        if not least <= len(rest) <= most:
            raise UserError(f"mots models {first} takes {_COUNTS[least, most]}, got {len(rest)}")
        action(rest, _Options(output, accept_licence, sha256, json))
    elif rest:
        close = get_close_matches(first, _ACTIONS, n=1) or [*_ACTIONS]
        raise UserError(f"one name or pattern, or an action: {', '.join(close)}; not {first!r}")
    elif is_list:
        names = list_models(
            first, available=available, architecture=architecture or None, task=task or None
        )
        _list(names, json)
    else:
        _show(first, json)


@dataclasses.dataclass(frozen=True)
class _Options:
    output: str
    accept_licence: bool
    sha256: str
    json: bool


def _list(names: list[str], json: bool) -> None:
    if json:
        console.show_json({"models": [dataclasses.asdict(CATALOG[name]) for name in names]})
        return
    width = max(map(len, CATALOG))
    for name in names:
        entry = CATALOG[name]
        note = " (no weights to load)" if entry.missing else f" ({entry.megabytes:g} MB)"
        console.show(f"{name:<{width}}  {entry.summary}{note}")
    console.say("\nShow one with: mots models NAME. Others load from a folder or a Hub repository.")


def _show(name: str, json: bool) -> None:
    if name not in CATALOG and ("/" in name or Path(name).is_dir()):
        _show_folder(name, json)
        return
    entry = entry_named(name)
    folder = _folder(entry)
    if json:
        values = {**dataclasses.asdict(entry), "folder": None if folder is None else str(folder)}
        console.show_json(values)
        return
    facts = {
        "name": entry.name,
        "what": entry.summary,
        "trained on": entry.training_data,
        "licence": f"weights {entry.weights_licence}; code {entry.code_licence}",
        "tasks": ", ".join(entry.tasks),
        **_contract(entry.preprocessing),
    }
    if entry.scores:
        told = ", ".join(f"{category} {score:.2f}" for category, score in entry.scores.items())
        facts["Dice"] = f"{told} ({entry.dataset})"
    if entry.sha256:
        facts["SHA-256"] = entry.sha256
    if entry.missing:
        facts["weights"] = f"none of ours: {entry.missing}"
    if entry.checkpoint is not None:
        facts |= _source(entry.checkpoint)
    if folder is not None:
        facts |= {"folder": str(folder), "load with": f'mots_pretrained.load("{entry.name}")'}
    _table(facts)


def _show_folder(name: str, json: bool) -> None:
    from mots_pretrained.weights.checkpoint import load_config, network_folders

    folder = resolve(name)
    config = load_config(network_folders(folder)[0])
    if json:
        values = {"name": name, "folder": str(folder), "config": dataclasses.asdict(config)}
        console.show_json(values)
        return
    knows = config.classes or [task.name for task in config.tasks]
    facts = {"name": name, "architecture": config.architecture, "tasks": ", ".join(knows)}
    _table({**facts, **_contract(config.preprocessing), "folder": str(folder)})


def _download(words: list[str], options: _Options) -> None:
    """Fetch a model into the cache, or into a folder that another machine can be given."""
    from mots_pretrained.weights.checkpoint import load_folder, network_folders

    name = words[0]
    checkpoint = CATALOG[name].checkpoint if name in CATALOG else None
    if checkpoint is not None:
        _convert_once(name, checkpoint, options)
    elif options.accept_licence or options.sha256:
        raise UserError(
            f"--accept-licence and --sha256 are for weights of others; {name} is downloaded "
            "without them"
        )
    folder = resolve(name)
    for part in network_folders(folder):
        load_folder(part)  # so that what is carried away is sound
    if options.output:
        folder = _copied(folder, Path(options.output))
    if options.json:
        console.show_json({"name": name, "folder": str(folder)})
    else:
        console.show(f"{name} lies in {folder}; load it by that path, or by name here")


def _copied(folder: Path, target: Path) -> Path:
    """Copy a model's files into a folder, and remove those there of a model before it.

    Raises:
        UserError: If the folder holds a training, or a network that would be loaded instead.
    """
    import shutil

    from mots_pretrained.files import remove_drafts, replacing_by_name
    from mots_pretrained.weights.checkpoint import (
        CONFIG,
        WEIGHTS,
        fold_folders,
        refuse_other_network,
    )
    from mots_pretrained.weights.provenance import CASES

    folds = fold_folders(folder)
    refuse_other_network(target, [fold.name for fold in folds])
    if (target / CASES).exists() and not target.samefile(folder):
        raise UserError(f"{target} holds a training ({CASES}); choose another folder")
    for part in (folder, *folds):
        own = target / part.relative_to(folder)
        own.mkdir(parents=True, exist_ok=True)
        remove_drafts(own)
        if own.samefile(part):
            continue
        if (own / CONFIG).is_file() and (own / WEIGHTS).is_file():  # of a model before it
            for file in (WEIGHTS, *FILES):
                (own / file).unlink(missing_ok=True)
        for file in sorted(FILES, key=lambda name: name == WEIGHTS):  # which come last
            if (part / file).is_file():
                with replacing_by_name(own / file) as draft:
                    shutil.copyfile(part / file, draft)
    return target


def _convert_once(name: str, checkpoint: Checkpoint, options: _Options) -> None:
    """Fetch and convert the checkpoint of others that a name stands for, unless it was before."""
    from mots_pretrained.weights.download import converted_folder
    from mots_pretrained.weights.remote import pinned

    folder = converted_folder(name)
    if (folder / FILES[1]).is_file() and not options.sha256:
        return
    if options.sha256:
        checkpoint = pinned(checkpoint, options.sha256)
    if not options.json:
        _table(_source(checkpoint))
    if not options.accept_licence:
        told = " ".join(checkpoint.licences)
        raise UserError(
            f"the weights of {name} are others': {told} Add --accept-licence to fetch them "
            "all the same, under whichever of these holds"
        )
    from mots_pretrained.converting import convert_checkpoint

    done = convert_checkpoint(checkpoint, folder, name=name)
    console.say(f"converted: {done.parameters:,} parameters")


def _source(checkpoint: Checkpoint) -> dict[str, str]:
    size = "not known" if checkpoint.size is None else f"{checkpoint.size:,} bytes"
    told = {f"licence {n}": said for n, said in enumerate(checkpoint.licences, start=1)}
    return {
        "source": checkpoint.address,
        "size": size,
        "SHA-256": checkpoint.sha256 or "not known",
        **told,
    }


def _search(words: list[str], options: _Options) -> None:
    """List the Hub's repositories with models of this package."""
    from mots_pretrained.weights.search import search_hub

    found = search_hub(words[0] if words else "")
    if options.json:
        console.show_json({"models": [dataclasses.asdict(each) for each in found]})
        return
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        told = f"{each.architecture or 'model'}, {each.downloads} downloads"
        console.show(f"{each.name:<{width}}  {told}")
    console.say(f"{len(found)} on the Hub; load one with: mots_pretrained.load(NAME)")


def _verify(words: list[str], options: _Options) -> None:
    """Compare weights with the catalogue's checksums."""
    names = words or list_models(available=True)
    found = []
    for name in names:
        expected = entry_named(name).sha256
        weights = resolve(name) / FILES[1]  # which compares, and refuses what is damaged
        actual = checksum(weights)
        found.append({"name": name, "file": str(weights), "sha256": actual, "expected": expected})
    if options.json:
        console.show_json({"verified": found})
        return
    for each in found:
        told = "as the catalogue says" if each["expected"] else "the catalogue pins none"
        console.show(f"{each['name']}: SHA-256 {each['sha256']}, {told}")


def _overlap(words: list[str], options: _Options) -> None:
    """Say which of the user's scans a model was trained on."""
    from mots_pretrained.inference.seen_scans import find_seen

    name, root = words
    if not Path(root).is_dir():
        raise MissingFileError(f"no such folder: {root}; give one with scans")
    known, channels = _trained_on(name)
    found = find_seen(root, known, channels)
    if options.json:
        values = {"name": name, "statement": known.statement, "complete": known.complete}
        console.show_json({**values, **dataclasses.asdict(found)})
        return
    for path, identifier in found.seen.items():
        console.show(f"{path}: seen in training{f', as {identifier}' if identifier else ''}")
    for path, reason in found.unread.items():
        console.show(f"{path}: not readable, so nobody knows ({reason})")
    if found.left_out:
        count = f"{len(found.left_out)} file{'s' if len(found.left_out) > 1 else ''}"
        what = "not looked at, as label maps by their names or of other kinds"
        console.show(f"{count} {what}, such as {found.left_out[0]}; --json lists all")
    console.say(f"{name} was trained on: {known.statement}")
    rest = "" if known.complete else "; of the others nobody knows, the list has gaps"
    console.show(f"{len(found.seen)} of {found.scans} scans were seen in training{rest}")


def _trained_on(name: str) -> tuple[TrainingScans, tuple[str, ...]]:
    """Return the training scans of a model, or of a file of added organs, and their channels."""
    from mots_pretrained.weights.addition import ORGANS_KIND, Addition
    from mots_pretrained.weights.checkpoint import load_config, network_folders
    from mots_pretrained.weights.provenance import TrainingScans, read_training_scans

    if Path(name).is_file():
        added = Addition.load(name, kind=ORGANS_KIND)
        if added.scans is None:
            raise UserError(f"{name} does not say which scans it was learned from; ask its author")
        return TrainingScans(dict.fromkeys(added.scans, ""), complete=False), added.channels
    folder = resolve(name)
    channels = load_config(network_folders(folder)[0]).preprocessing.channels
    return read_training_scans(folder), channels


_ACTIONS: dict[str, tuple[Callable[[list[str], _Options], None], int, int]] = {
    "download": (_download, 1, 1),
    "search": (_search, 0, 1),
    "verify": (_verify, 0, 1),
    "overlap": (_overlap, 2, 2),
}
_COUNTS = {(1, 1): "one name", (0, 1): "one name or none", (2, 2): "a name and a folder of scans"}


def _folder(entry: Entry) -> Path | None:
    """Return where a model's weights lie; those that were never converted lie nowhere."""
    try:
        return resolve(entry.name) if entry.repository is None else None
    except KeyError:
        return None


def _contract(contract: Preprocessing) -> dict[str, str]:
    return {
        "spacing": " x ".join(f"{step:g}" for step in contract.spacing) + " mm",
        "window": " x ".join(map(str, contract.window)) + " voxels",
        "channels": ", ".join(contract.channels),
    }


def _table(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    for label, text in facts.items():
        console.show(f"{label:<{width}}  {text}")
