"""A folder fit to be published: card, fingerprint and training scans beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.errors import UserError
from mots_pretrained.networks import from_state
from mots_pretrained.weights.card import check_card, model_card
from mots_pretrained.weights.checkpoint import CARD, load_folder, save_folder
from mots_pretrained.weights.fingerprint import (
    FINGERPRINT,
    deviation,
    fingerprint,
    read_fingerprint,
    to_text,
    weights_sha256,
)
from mots_pretrained.weights.provenance import (
    TRAINING_SCANS,
    TrainingScans,
    find_training_scans,
    read_training_scans,
)

_RECORD, _LOG = "training.json", "log.csv"


@dataclass(frozen=True)
class Description:
    """What a card says besides the configuration; all may be left out.

    Attributes:
        name: The model's name; that of the folder by default.
        summary: One or two sentences on what it is.
        training: What it was trained on and how; from training.json by default.
        scores: Mean Dice, 0 to 1, by category.
        dataset: What the scores were measured on.
        license: Of the weights, by the Hub's name for it.
    """

    name: str = ""
    summary: str = ""
    training: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    dataset: str = ""
    license: str = "apache-2.0"


def prepare_folder(
    source: str | Path,
    output: str | Path,
    *,
    description: Description | None = None,
    trained_on: str | Path | None = None,
    half: bool = False,
) -> Path:
    """Write a stored network with all that is published beside it.

    Args:
        source: Folder with config.json and model.safetensors, such as a training's.
        output: Folder to write; may be the same one.
        description: For the card. None keeps the source's own card, where it has one.
        trained_on: Prepared folder whose training scans the network has seen.
        half: Store float16.

    Returns:
        The folder, ready for :func:`~mots_pretrained.weights.upload.upload_folder`.

    Raises:
        FileNotFoundError: If there is no network in ``source``.
        ValueError: If it does not load strictly, or its card's header is not valid.
    """
    source, output = Path(source), Path(output)
    config, state = load_folder(source)
    if half:  # the fingerprint is of what loads later
        state = {name: value.half().float() for name, value in state.items()}
    network = from_state(config, state)
    extra = {name: (source / name).read_text("utf-8") for name in _kept(source)}
    record = json.loads(extra.get(_RECORD, "{}"))
    printed = fingerprint(network, config, state)
    extra[FINGERPRINT] = to_text(printed)
    scans = _training_scans(source, trained_on)
    if scans is not None:
        extra[TRAINING_SCANS] = scans.to_text(printed["weights_sha256"])
    card = _card(source, output, config, record, description)
    check_card(card)
    dtype = torch.float16 if half else None
    return save_folder(output, config, state, dtype=dtype, card=card, extra=extra)


@dataclass(frozen=True)
class Verification:
    """What this machine computes beside what was stored.

    Attributes:
        weights_sound: Whether the weights are those that were stored.
        deviations: Largest deviation of the logits, in their standard deviation, by precision.
        tolerances: What is allowed, by precision.
    """

    weights_sound: bool
    deviations: dict[str, float]
    tolerances: dict[str, float]

    @property
    def sound(self) -> bool:
        """Whether this machine gives the stored numbers."""
        within = (self.deviations[name] <= self.tolerances[name] for name in self.deviations)
        return self.weights_sound and all(within)


def verify(
    folder: str | Path, *, precisions: tuple[str, ...] = ("float32",), device: str = "cpu"
) -> Verification:
    """Compute a stored network's fingerprint anew.

    Args:
        folder: With config.json, model.safetensors and fingerprint.json.
        precisions: ``"float32"``, ``"bfloat16"``; the second is slow where a CPU emulates it.
        device: Where to compute.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If one is damaged, or weights and configuration do not fit.
    """
    stored = read_fingerprint(folder)
    config, state = load_folder(folder)
    unknown = [name for name in precisions if name not in stored["tolerances"]]
    if unknown:
        known = ", ".join(stored["tolerances"])
        raise UserError(f"no fingerprint in precision {unknown[0]!r}; stored are {known}")
    found = weights_sha256(state)
    network = from_state(config, state).to(device)
    return Verification(
        found == stored["weights_sha256"],
        {p: deviation(network, config, stored, precision=p, device=device) for p in precisions},
        {p: float(stored["tolerances"][p]) for p in precisions},
    )


def _kept(source: Path) -> list[str]:
    names = (_RECORD, _LOG)
    return [name for name in names if (source / name).is_file()]


def _training_scans(source: Path, trained_on: str | Path | None) -> TrainingScans | None:
    """Return what the source says of its scans, and those of a prepared folder beside them."""
    if trained_on is not None:
        prepared = PreparedSet.open(trained_on)
        further = TrainingScans(prepared.hashes(prepared.select(split="train")))
        return further.and_those_of(find_training_scans(source))
    known = (source / TRAINING_SCANS).is_file()
    return read_training_scans(source) if known else None


def _card(
    source: Path,
    output: Path,
    config: ModelConfig,
    record: Mapping[str, Any],
    description: Description | None,
) -> str:
    own = source / CARD
    if description is None and own.is_file():
        return own.read_text("utf-8")
    said = description or Description()
    return model_card(
        config,
        name=said.name or output.resolve().name,
        summary=said.summary,
        training=said.training or _training(record),
        scores=said.scores,
        dataset=said.dataset,
        license=said.license,
    )


def _training(record: Mapping[str, Any]) -> str:
    """Tell a training.json in words."""
    if not record:
        return ""
    settings = record.get("settings", {})
    told = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
    place = f"{record.get('steps_done')} steps in {record.get('seconds', 0) / 60:.0f} minutes"
    return (
        f"By `mots pretrain` on {record.get('data', 'data of its own')}: {told}.\n\n"
        f"{place} on {record.get('device')}; `training.json` lies beside."
    )
