"""Checkpoints that a kill can't tear: written beside, then renamed; read without running code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from mots_pretrained.errors import MissingFileError, UserError

CHECKPOINT = "checkpoint.pt"
"""Name of the file within a training's folder."""


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a checkpoint so that at any moment the old one or the new one is there, whole.

    Args:
        path: The file to write or to replace.
        state: Tensors, numbers, texts, and lists and dicts of such.
    """
    path = Path(path)
    beside = path.with_name(path.name + ".tmp")
    with open(beside, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def load_checkpoint(path: str | os.PathLike[str], *, identity: str | None = None) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; nothing in the file is executed.

    Args:
        path: The file.
        identity: What the state's ``identity``, a text of one setting a line, must be.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is not a checkpoint of ours, or is of another training.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no checkpoint {path}; start without resuming")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a readable checkpoint ({first:.120})") from None
    if not isinstance(state, dict) or "step" not in state:
        raise UserError(f"{path} is not a checkpoint of a training; start without resuming")
    if identity is not None and state["identity"] != identity:
        raise UserError(
            f"{path} is of a training with other settings "
            f"({_difference(state['identity'], identity)}); repeat them to resume"
        )
    return state


def random_state() -> dict[str, Any]:
    """Return the state of torch's generators, for dropout to go on as it would have."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what ``random_state`` returned; a machine with other GPUs keeps its own state."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def _difference(old: str, new: str) -> str:
    """Name the first line in which two texts differ."""
    for before, now in zip(old.splitlines(), new.splitlines(), strict=False):
        if before != now:
            return f"there {before.strip(' ,')}, here {now.strip(' ,')}"
    return "one has more of them"
