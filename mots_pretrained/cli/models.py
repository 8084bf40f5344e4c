"""``mots models``: list the pretrained models, show one, fetch it, ask what it has seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from mots_pretrained.cli import console
from mots_pretrained.config import Preprocessing
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.weights.catalog import CATALOG, Entry, entry_named, list_models
from mots_pretrained.weights.download import FILES, checksum, resolve


def models(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|PATTERN] | download NAME | verify [NAME] | overlap NAME DIR",
            help="A model to show, a pattern such as '*.phantom' to list; or an action: download a "
            "model for offline machines, verify checksums, say which scans of DIR a model has seen",
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", help="Of download: a folder to copy the model to")
    ] = "",
    architecture: Annotated[str, typer.Option(help="List those of this architecture")] = "",
    task: Annotated[str, typer.Option(help="List those that know this task, e.g. liver")] = "",
    available: Annotated[
        bool, typer.Option("--available", help="List those whose weights are to be had")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """List the pretrained models, show one, fetch it, check it, ask what it has seen."""
    first, *rest = words or ["*"]
    if output and first != "download":
        raise UserError("-o is for mots models download")
    if first in _ACTIONS:
        action, least, most = _ACTIONS[first]
        if not least <= len(rest) <= most:
            raise UserError(f"mots models {first} takes {_COUNTS[least, most]}, got {len(rest)}")
        action(rest, output, json)
    elif rest:
        close = get_close_matches(first, _ACTIONS, n=1) or [*_ACTIONS]
        raise UserError(f"one name or pattern, or an action: {', '.join(close)}; not {first!r}")
    elif any(sign in first for sign in "*?["):
        names = list_models(
            first, available=available, architecture=architecture or None, task=task or None
        )
        _list(names, json)
    else:
        _show(first, json)


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
    if folder is not None:
        facts |= {"folder": str(folder), "load with": f'mots_pretrained.load("{entry.name}")'}
    _table(facts)


def _show_folder(name: str, json: bool) -> None:
    from mots_pretrained.weights.checkpoint import load_config

    folder = resolve(name)
    config = load_config(folder)
    if json:
        values = {"name": name, "folder": str(folder), "config": dataclasses.asdict(config)}
        console.show_json(values)
        return
    knows = config.classes or [task.name for task in config.tasks]
    facts = {"name": name, "architecture": config.architecture, "tasks": ", ".join(knows)}
    _table({**facts, **_contract(config.preprocessing), "folder": str(folder)})


def _download(words: list[str], output: str, json: bool) -> None:
    """Fetch a model into the cache, or into a folder that another machine can be given."""
    from mots_pretrained.weights.checkpoint import load_folder

    folder = resolve(words[0])
    load_folder(folder)  # so that what is carried away is sound
    if output:
        import shutil

        from mots_pretrained.files import replacing_by_name

        target = Path(output)
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if (folder / name).is_file():
                with replacing_by_name(target / name) as draft:
                    shutil.copyfile(folder / name, draft)
        folder = target
    if json:
        console.show_json({"name": words[0], "folder": str(folder)})
    else:
        console.show(f"{words[0]} lies in {folder}; load it by that path, or by name here")


def _verify(words: list[str], output: str, json: bool) -> None:
    """Compare weights with the catalogue's checksums."""
    names = words or list_models(available=True)
    found = []
    for name in names:
        expected = entry_named(name).sha256
        weights = resolve(name) / FILES[1]  # which compares, and refuses what is damaged
        actual = checksum(weights)
        found.append({"name": name, "file": str(weights), "sha256": actual, "expected": expected})
    if json:
        console.show_json({"verified": found})
        return
    for each in found:
        told = "as the catalogue says" if each["expected"] else "the catalogue pins none"
        console.show(f"{each['name']}: SHA-256 {each['sha256']}, {told}")


def _overlap(words: list[str], output: str, json: bool) -> None:
    """Say which of the user's scans a model was trained on."""
    from mots_pretrained.weights.provenance import read_training_scans

    name, root = words
    if not Path(root).is_dir():
        raise MissingFileError(f"no such folder: {root}; give one with scans (.nii, .nii.gz)")
    known = read_training_scans(resolve(name))
    paths = sorted(path for end in ("nii", "nii.gz") for path in Path(root).rglob(f"*.{end}"))
    hashes, unread = _hashes(paths) if known.scans else ({}, [])
    seen = known.seen(hashes)
    if json:
        values = {"name": name, "statement": known.statement, "complete": known.complete}
        console.show_json({**values, "files": len(paths), "seen": seen, "unread": unread})
        return
    for path, identifier in seen.items():
        console.show(f"{path}: seen in training{f', as {identifier}' if identifier else ''}")
    for path in unread:
        console.show(f"{path}: not readable, so nobody knows")
    console.say(f"{name} was trained on: {known.statement}")
    rest = "" if known.complete else "; of the others nobody knows, the list has gaps"
    console.show(f"{len(seen)} of {len(paths)} files were seen in training{rest}")


def _hashes(paths: list[Path]) -> tuple[dict[str, str], list[str]]:
    """Hash the voxels of scans; a file that cannot be read keeps nobody from the others."""
    from mots_pretrained.images.content_hash import content_hash
    from mots_pretrained.images.volume import read_volume

    hashes: dict[str, str] = {}
    unread: list[str] = []
    for path in paths:
        try:
            hashes[str(path)] = content_hash(read_volume(path))
        except (ValueError, OSError):
            unread.append(str(path))
    return hashes, unread


_ACTIONS: dict[str, tuple[Callable[[list[str], str, bool], None], int, int]] = {
    "download": (_download, 1, 1),
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
