"""The folder that a training owns: locked, refused where it is used, resumed from, completed."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.files import (
    LOCK,
    RUN_LOG,
    locked,
    on_disk,
    remove_drafts,
    replacing_by_name,
    write_json,
)
from mots_pretrained.parse import parse_json
from mots_pretrained.weights.card import Description, model_card, renamed
from mots_pretrained.weights.card_renewal import check_card, unfilled
from mots_pretrained.weights.checkpoint import CARD, FOLD
from mots_pretrained.weights.provenance import base_repository, read_training_record, tell_record
from mots_pretrained.weights.tensors import read_tensors, write_tensors

RECORD = "training.json"
"""Name of the file beside the weights that says how they were trained; it names no case."""

CHECKPOINT = "checkpoint.safetensors"
"""Name of the file that an unfinished training is continued from."""

BEFORE = "checkpoint_before.safetensors"
"""Name of the checkpoint before that one, which takes its place where it is damaged."""

DAMAGED = "checkpoint_damaged.safetensors"
"""Name of a last checkpoint that could not be read, and is kept until the training is complete."""

CURVE = "curve.json"
"""What a learning curve's arms have in common: a curve is continued with the same alone."""

_USED = (CHECKPOINT, BEFORE, "model.safetensors", "config.json", "fold_0")


@contextmanager
def owned(folder: Path, *, resume: bool) -> Iterator[None]:
    """Lock a folder for one training, and refuse it if it is used.

    A folder that was made for this, and that an error leaves empty, is removed again.

    Raises:
        UserError: If another process writes into the folder; if it holds a training, finished or
            not, that is not to be resumed; or a model that no training has left.
    """
    is_new = not folder.exists()
    with locked(folder):
        try:
            record = _record_of(folder)
            if record is not None and not resume:
                state = "a finished" if record["complete"] else "an unfinished"
                hint = "" if record["complete"] else "continue it with --resume, or "
                raise UserError(f"{folder} holds {state} training; {hint}choose another folder")
            yield
        finally:
            if is_new and {path.name for path in folder.glob("*")} in ({LOCK}, {LOCK, RUN_LOG}):
                shutil.rmtree(folder, ignore_errors=True)


def finished(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of a training that is complete; None if there is something to do.

    Raises:
        UserError: If the folder's training, finished or not, had other settings than these; the
            message names the first.
    """
    record = _record_of(folder)
    if record is None:
        return None
    known = {name: value for name, value in record["identity"].items() if name in identity}
    check_same(folder, known, identity)
    return _tidied(folder, record) if record["complete"] else None


def check_no_curve(folder: Path) -> None:
    """Refuse a folder that holds a learning curve, for a training.

    Raises:
        UserError: If it does.
    """
    if (folder / CURVE).exists():
        raise UserError(f"{folder} holds a curve; choose another folder for the training")


def begin(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Say in a folder what the training is that begins there; else as ``finished``."""
    remove_drafts(folder)
    record = _record_of(folder)
    if record is None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RECORD, {"complete": False, "identity": identity})
        return None
    check_same(folder, record["identity"], identity)
    return _tidied(folder, record) if record["complete"] else None


def check_readme(folder: Path, folds: int = 0) -> None:
    """Refuse a README.md that is no model card where a training writes one.

    Args:
        folder: The training's.
        folds: How many networks it trains, each in a folder of its own; 0 for one in ``folder``.

    Raises:
        UserError: If there is one beside a network that is not complete.
    """
    for place in [folder / FOLD.format(number) for number in range(folds)] or [folder]:
        path = place / CARD
        if not path.is_file() or (_record_of(place) or {"complete": False})["complete"]:
            continue
        try:
            check_card(path.read_bytes().decode())
        except ValueError as error:
            raise UserError(
                f"{path} would be the model's card, and is none ({error}); move it away, or "
                "choose another folder"
            ) from None


def has_checkpoint(folder: Path) -> bool:
    """Tell whether a folder holds a checkpoint."""
    return any((folder / name).exists() for name in (CHECKPOINT, BEFORE))


def _record_of(folder: Path) -> dict[str, Any] | None:
    """Return what a used folder says of its training; None of one that may be begun in.

    A record that is damaged is made good by what a checkpoint says.
    """
    used = [name for name in _USED if (folder / name).exists()]
    if not used:
        return None
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        sound = isinstance(record["identity"], dict) and isinstance(record["complete"], bool)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound and has_checkpoint(folder):
        identity = load_checkpoint(folder).values["identity"]
        record = {"complete": False, "identity": identity}
        write_json(folder / RECORD, record)
    elif not sound:
        raise UserError(
            f"{folder} holds {used[0]}, which is of no training that can be continued; choose "
            "another folder"
        )
    return dict(record)


def written_card(folder: Path, config: ModelConfig) -> str | None:
    """Return the README.md that somebody wrote in a training's folder; None if it is ours.

    What publishing has filled in of an earlier state of the training is left out.

    Args:
        folder: The training's, before its network and its record are written.
        config: The network's configuration.

    Raises:
        UserError: If it is not UTF-8, so that it would not be written again as it is.

    Warns:
        UserWarning: If there is one, for it may speak of another state of the weights.
    """
    path, name, record = folder / CARD, folder.name or "model", read_training_record(folder)
    if not path.is_file():
        return None
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise UserError(
            f"{path} is not UTF-8 text; move it away, and train with --resume"
        ) from None
    own = (Description(name=name, base_model=base) for base in ("", base_repository(record)))
    lines = text.replace("\r\n", "\n")
    plain = unfilled(lines, config, tell_record(record))
    if renamed(plain, name) in (model_card(config, said) for said in own):
        return None
    warnings.warn(
        f"{path} stays as somebody wrote it; see that what it says of training and scores is of "
        "these weights",
        stacklevel=2,
    )
    if plain == lines:
        return text
    return plain.replace("\n", "\r\n") if "\r\n" in text else plain


def complete(folder: Path, record: dict[str, Any]) -> None:
    """Write the record, the last of all files, and remove the checkpoint of what is complete."""
    write_json(folder / RECORD, record)
    if record["complete"]:
        _tidied(folder, record)


def _tidied(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Remove what a complete training has no use for, and return its record."""
    for name in (CHECKPOINT, BEFORE, DAMAGED):
        (folder / name).unlink(missing_ok=True)
    remove_drafts(folder)
    return record


def check_same(folder: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Raise a UserError that names the first setting in which two trainings differ."""
    here = json.loads(json.dumps(here))
    for name in {**here, **there}:
        old, new = there.get(name), here.get(name)
        if old != new:
            same = "repeat its settings"
            if name in ("cases", "content"):
                same = "give it the very cases that it began with"
            raise UserError(
                f"{folder} holds a training with {name} {_short(old)}, asked for is {_short(new)}; "
                f"{same} to resume it, or choose another folder"
            )


class Checkpoint(NamedTuple):
    """All that a training needs to be continued.

    Attributes:
        tensors: Weights, averages and the optimiser's state by name.
        values: Numbers, texts, lists and dicts of such.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with ``name/``, without that."""
        prefix = f"{name}/"
        return {
            key.removeprefix(prefix): value
            for key, value in self.tensors.items()
            if key.startswith(prefix)
        }


def save_checkpoint(folder: Path, state: Checkpoint) -> None:
    """Write a checkpoint, and keep the one before; at any moment one of them is there, whole."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    with replacing_by_name(folder / CHECKPOINT) as draft:
        write_tensors(draft, tensors, {"training": json.dumps(state.values)})
        on_disk(draft)
        if (folder / CHECKPOINT).exists():
            os.replace(folder / CHECKPOINT, folder / BEFORE)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read the last sound checkpoint onto the CPU: tensors and JSON, nothing to be executed.

    Raises:
        UserError: If there is none, or the file is none of ours.

    Warns:
        UserWarning: If the last one is damaged, and the training goes on from the one before.
    """
    last, before = folder / CHECKPOINT, folder / BEFORE
    if last.is_file():
        try:
            return _read_checkpoint(last)
        except UserError as error:
            if not before.is_file():
                raise
            found = _read_checkpoint(before)
            os.replace(last, folder / DAMAGED)  # or it would take the place of the sound one
            warnings.warn(f"{error}; going on from the one before", stacklevel=2)
            return found
    if before.is_file():
        return _read_checkpoint(before)
    raise MissingFileError(f"no checkpoint {last}; start without --resume")


def _read_checkpoint(path: Path) -> Checkpoint:
    try:
        tensors, metadata = read_tensors(path)
        values = parse_json(metadata.get("training", ""), "its state")
    except UserError as error:
        raise UserError(f"{path} is not a readable checkpoint ({error!s:.120})") from None
    if not isinstance(values, dict) or not isinstance(values.get("identity"), dict):
        raise UserError(f"{path} is not a readable checkpoint (it is of no training)")
    return Checkpoint(tensors, values)


def _short(value: object) -> str:
    return f"{json.dumps(value):.60}"
