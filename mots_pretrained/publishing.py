"""A folder fit to be published, made of a training's, and whether it computes what it should."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from mots_pretrained.errors import UserError
from mots_pretrained.files import write_text
from mots_pretrained.networks import from_state
from mots_pretrained.weights.card import Description, renamed
from mots_pretrained.weights.card_renewal import check_card, renewed_card
from mots_pretrained.weights.checkpoint import (
    CARD,
    fold_folders,
    load_config,
    load_folder,
    network_folders,
    refuse_other_network,
    save_folder,
)
from mots_pretrained.weights.download import REPOSITORY
from mots_pretrained.weights.fingerprint import (
    FINGERPRINT,
    deviation,
    fingerprint,
    read_fingerprint,
    to_text,
    weights_sha256,
)
from mots_pretrained.weights.provenance import (
    CASES,
    RECORD,
    TRAINING_SCANS,
    TrainingScans,
    base_repository,
    find_training_scans,
    nameless,
    read_training_record,
    read_training_scans,
    tell_record,
)
from mots_pretrained.weights.unfinished import (
    missing_folds,
    refuse_missing_folds,
    warn_if_unfinished,
)


def make_publishable(
    source: str | Path,
    output: str | Path,
    *,
    said: Description | None = None,
    scans: Mapping[str, str] | None = None,
    half: bool = False,
    with_case_names: bool = False,
) -> Path:
    """Write a stored network with all that is published beside it.

    Args:
        source: Folder with config.json and model.safetensors, such as a training's, or with such a
            folder a fold.
        output: Folder to write; another one, unless names of cases are kept.
        said: For the card; what it leaves out is taken from the card in ``source``, then from
            training.json.
        scans: Further scans that the weights were trained on, ``collection/identifier`` by hash;
            those that ``source`` lists stay.
        half: Store float16.
        with_case_names: Keep the names of cases, which are often those of patients.

    Returns:
        The folder, ready for :func:`~mots_pretrained.weights.upload.upload_folder`.

    Raises:
        FileNotFoundError: If there is no network in ``source``.
        ValueError: If it does not load strictly, its card's header is not valid, or its list of
            scans is of other weights; if folds of an ensemble are missing.

    Warns:
        UserWarning: If the training stopped before its end, which the card tells too.
    """
    source, output = Path(source), Path(output)
    if output.resolve() == source.resolve() and not with_case_names:
        raise UserError(f"{output} would lose its names of cases; give another folder to write")
    refuse_missing_folds(missing_folds(source))
    warn_if_unfinished(source)
    write = partial(_write_network, scans=scans, half=half, with_case_names=with_case_names)
    if folds := fold_folders(source):
        return _write_ensemble(folds, source, output, said or Description(), write)
    return write(source, output, said or Description())


def _write_network(
    source: Path,
    output: Path,
    said: Description,
    *,
    scans: Mapping[str, str] | None,
    half: bool,
    with_case_names: bool,
) -> Path:
    """Write one network's folder."""
    config, state = load_folder(source)
    if half:  # the fingerprint is of what loads later
        state = {name: value.half().float() for name, value in state.items()}
    printed = fingerprint(from_state(config, state), config, state)
    known, record = _training_scans(source, scans), read_training_record(source)
    if known is not None and not with_case_names:
        known = known.without_identifiers(config)
    name = said.name or output.resolve().name
    card = renewed_card(
        _own_card(source, name, title=said.title),
        config,
        said,
        name=name,
        told=tell_record(record),
        base_model=base_repository(record),
        seen="" if known is None else known.statement,
    )
    check_card(card)
    kept = (RECORD, "log.csv", *((CASES,) if with_case_names else ()))
    extra = {name: (source / name).read_text("utf-8") for name in kept if (source / name).is_file()}
    extra[FINGERPRINT] = to_text(printed)
    if known is not None:
        extra[TRAINING_SCANS] = known.to_text(printed["weights_sha256"])
    dtype = torch.float16 if half else None
    save_folder(output, config, state, dtype=dtype, card=card, extra=extra)
    if not with_case_names:
        (output / CASES).unlink(missing_ok=True)  # of an earlier call
        for name, text in nameless(output).items():
            write_text(output / name, text)
    return output


def _write_ensemble(
    folds: list[Path],
    source: Path,
    output: Path,
    said: Description,
    write: Callable[[Path, Path, Description], Path],
) -> Path:
    """Write each fold's network as a folder of its own, and a card of them all."""
    refuse_other_network(output, [fold.name for fold in folds])
    name = said.name or output.resolve().name
    for fold in folds:  # of a repository they are loaded together
        loads = name if REPOSITORY.fullmatch(name) else f"{name}/{fold.name}"
        own_said = replace(said, name=loads, title=f"{name}, {fold.name}", scores={})
        write(fold, output / fold.name, own_said)
    own, record = _own_card(source, name), read_training_record(folds[0])
    known = [find_training_scans(output / fold.name) for fold in folds]
    seen = known[0]
    for other in known[1:]:
        seen = None if seen is None else seen.and_those_of(other)
    count = f"An ensemble of {len(folds)} networks, one a fold: the mean of their probabilities."
    card = renewed_card(
        own,
        load_config(folds[0]),
        said if said.summary or own is not None else replace(said, summary=count),
        name=name,
        told=tell_record(record),
        base_model=base_repository(record),
        seen="" if seen is None else seen.statement,
    )
    check_card(card)
    write_text(output / CARD, card)
    return output


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
    """Compute a stored network's fingerprint anew; of an ensemble, those of all folds.

    Args:
        folder: With config.json, model.safetensors and fingerprint.json, or with such folders.
        precisions: ``"float32"``, ``"bfloat16"``; the second is slow where a CPU emulates it.
        device: Where to compute.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If one is damaged, or weights and configuration do not fit.
    """
    found = [_verified(each, precisions, device) for each in network_folders(folder)]
    return Verification(
        all(each.weights_sound for each in found),
        {p: max(each.deviations[p] for each in found) for p in precisions},
        {p: min(each.tolerances[p] for each in found) for p in precisions},
    )


def _verified(folder: Path, precisions: tuple[str, ...], device: str) -> Verification:
    """Compute the fingerprint of one network anew."""
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


def _own_card(source: Path, name: str, *, title: str = "") -> str | None:
    """Return the card that lies beside weights, under the name that they are published by."""
    path = source / CARD
    return renamed(path.read_text("utf-8"), name, title=title) if path.is_file() else None


def _training_scans(source: Path, further: Mapping[str, str] | None) -> TrainingScans | None:
    """Return what the source says of its scans, and further ones beside them."""
    if further is not None:
        return TrainingScans(further).and_those_of(find_training_scans(source))
    return read_training_scans(source) if (source / TRAINING_SCANS).is_file() else None
