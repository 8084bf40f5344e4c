"""The folder that a training owns: locked, refused where it is used, resumed from, completed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.files import LOCK, RUN_LOG, locked, replacing_by_name, write_json
from mots_pretrained.parse import parse_json

RECORD = "training.json"
"""Name of the file beside the weights that says how they were trained; it names no case."""

CHECKPOINT = "checkpoint.safetensors"
"""Name of the file that an unfinished training is continued from."""

_USED = (CHECKPOINT, "model.safetensors", "config.json", "fold_0")


@contextmanager
def owned(folder: Path, *, resume: bool) -> Iterator[None]:
    """Lock a folder for one training, and refuse it if it is used.

    A folder that was made for this, and that an error leaves empty, is removed again.

    Raises:
        UserError: If another process writes into the folder; if it holds a training, finished or
            not, that is not to be resumed; or a model that no training has left.
    """
    is_new = not folder.exists()
    try:
        with locked(folder):
            record = _record_of(folder)
            if record is not None and not resume:
                state = "a finished" if record["complete"] else "an unfinished"
                hint = "" if record["complete"] else "continue it with --resume, or "
                raise UserError(f"{folder} holds {state} training; {hint}choose another folder")
            yield
    finally:
        if is_new and {path.name for path in folder.glob("*")} in ({LOCK}, {LOCK, RUN_LOG}):
            shutil.rmtree(folder)


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
    return record if record["complete"] else None


def begin(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Say in a folder what the training is that begins there; else as ``finished``."""
    record = _record_of(folder)
    if record is None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RECORD, {"complete": False, "identity": identity})
        return None
    check_same(folder, record["identity"], identity)
    return record if record["complete"] else None


def _record_of(folder: Path) -> dict[str, Any] | None:
    """Return what a used folder says of its training; None of one that may be begun in."""
    used = [name for name in _USED if (folder / name).exists()]
    if not used:
        return None
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        sound = isinstance(record["identity"], dict) and isinstance(record["complete"], bool)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise UserError(
            f"{folder} holds {used[0]}, which is of no training that can be continued; choose "
            "another folder"
        )
    return dict(record)


def complete(folder: Path, record: dict[str, Any]) -> None:
    """Write the record, the last of all files, and remove the checkpoint of what is complete."""
    write_json(folder / RECORD, record)
    if record["complete"]:
        (folder / CHECKPOINT).unlink(missing_ok=True)


def check_same(folder: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Raise a UserError that names the first setting in which two trainings differ."""
    here = json.loads(json.dumps(here))
    for name in {**here, **there}:
        old, new = there.get(name), here.get(name)
        if old != new:
            raise UserError(
                f"{folder} holds a training with {name} {_short(old)}, asked for is {_short(new)}; "
                "repeat its settings to resume it, or choose another folder"
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
    """Write a checkpoint so that at any moment the old one or the new one is there, whole."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    with replacing_by_name(folder / CHECKPOINT) as draft:
        save_file(tensors, draft, metadata={"training": json.dumps(state.values)})


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU: tensors and JSON, nothing that could be executed.

    Raises:
        UserError: If there is none, or the file is none of ours.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    if not path.is_file():
        raise MissingFileError(f"no checkpoint {path}; start without --resume")
    try:
        with safe_open(path, "pt") as file:
            values = parse_json((file.metadata() or {}).get("training", ""), "its state")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise UserError(f"{path} is not a readable checkpoint ({error!s:.120})") from None
    if not isinstance(values, dict) or not isinstance(values.get("identity"), dict):
        raise UserError(f"{path} is not a readable checkpoint (it is of no training)")
    return Checkpoint(tensors, values)


def _short(value: object) -> str:
    return f"{json.dumps(value):.60}"
