"""``mots models``: list the pretrained models, or show one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import console
from mots_pretrained.weights.catalog import CATALOG, Entry, entry_named, list_models
from mots_pretrained.weights.download import resolve

if TYPE_CHECKING:
    from mots_pretrained.config import ModelConfig


def models(
    name: Annotated[
        str, typer.Argument(help="Model to show, or a pattern such as '*.phantom' to list")
    ] = "*",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """List the pretrained models, or show one."""
    if any(sign in name for sign in "*?["):
        _list(list_models(name), json)
    else:
        _show(entry_named(name), json)


def _list(names: list[str], json: bool) -> None:
    if json:
        console.show_json({"models": [_entry(CATALOG[name]) for name in names]})
        return
    width = max(map(len, CATALOG))
    for name in names:
        entry = CATALOG[name]
        note = "" if entry.shipped else " (no weights to load)"
        console.show(f"{name:<{width}}  {entry.summary}{note}")
    console.say("\nShow one with: mots models NAME. Others load from a folder or a Hub repository.")


def _show(entry: Entry, json: bool) -> None:
    config = _config(entry)
    if json:
        values = _entry(entry)
        values["config"] = None if config is None else dataclasses.asdict(config)
        console.show_json(values)
        return
    facts = {
        "name": entry.name,
        "what": entry.summary,
        "trained on": entry.training_data,
        "licence": f"weights {entry.weights_licence}; code {entry.code_licence}",
    }
    if entry.scores:
        facts["Dice"] = ", ".join(f"{category} {s:.2f}" for category, s in entry.scores.items())
    if entry.missing:
        facts["weights"] = f"none: {entry.missing}"
    if config is not None:
        facts |= _contract(config)
        facts["folder"] = str(resolve(entry.name))
        facts["load with"] = f'mots_pretrained.load("{entry.name}")'
    width = max(map(len, facts))
    for label, text in facts.items():
        console.show(f"{label:<{width}}  {text}")


def _entry(entry: Entry) -> dict[str, Any]:
    return dataclasses.asdict(entry)


def _config(entry: Entry) -> ModelConfig | None:
    """Read the stored configuration of a model that there are weights of."""
    if entry.missing:
        return None
    from mots_pretrained.config import ModelConfig

    return ModelConfig.from_json((resolve(entry.name) / "config.json").read_text("utf-8"))


def _contract(config: ModelConfig) -> dict[str, str]:
    contract = config.preprocessing
    return {
        "tasks": ", ".join(task.name for task in config.tasks),
        "spacing": " x ".join(f"{step:g}" for step in contract.spacing) + " mm",
        "window": " x ".join(map(str, contract.window)) + " voxels",
        "channels": ", ".join(contract.channels),
    }
