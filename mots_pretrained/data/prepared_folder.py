"""Who may write into a prepared folder: the same preparation, one run at a time, after a sweep."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mots_pretrained.data.store import read_index
from mots_pretrained.errors import UserError
from mots_pretrained.parse import from_dict
from mots_pretrained.tasks import Task


def check_folder(
    folder: Path, settings: dict[str, Any], tasks: tuple[Task, ...], identifiers: set[str]
) -> None:
    """Refuse a folder that holds anything but an earlier run of this very preparation.

    Args:
        folder: The folder to write into; it need not be there.
        settings: What an earlier run must have been made with.
        tasks: What the collections supervise; an earlier run may have had fewer.
        identifiers: The cases that the folder is to hold.

    Raises:
        NotADirectoryError: If it is a file.
        ValueError: If it holds something else; the message says what.
    """
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file; give a folder to write into")
    if not (folder / "prepared.json").is_file():
        visible = [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]
        if visible:
            raise UserError(
                f"{folder} holds {visible[0].name} and no prepared.json; give a new or empty folder"
            )
        return
    index = read_index(folder)
    before = index["settings"]
    for name, value in settings.items():
        if before.get(name) != value:
            raise UserError(
                f"{folder} was prepared with {_told(name, before.get(name))}, now it is to be "
                f"{_told(name, value)}; use the same, or another folder"
            )
    now = {task.name: task for task in tasks}
    for values in index["tasks"]:
        task = from_dict(Task, values, f"{folder / 'prepared.json'}")
        if now.get(task.name, task) != task:
            raise UserError(
                f"{folder} was prepared with other label values of {task.name}; give another folder"
            )
    there = (path.name for path in folder.glob("cases/[!.]*"))
    other = sorted(set(there) - identifiers)
    if other:
        raise UserError(
            f"{folder} holds {len(other)} cases that the collections given do not, such as "
            f"{other[0]}; name these as well, or another folder"
        )


def sweep(folder: Path) -> None:
    """Remove what killed processes have left half-done."""
    for path in folder.glob("cases/.*"):
        shutil.rmtree(path, ignore_errors=True)
    (folder / ".prepared.json").unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that no second run writes into it; a killed run holds nothing."""
    try:
        import fcntl
    except ImportError:  # on Windows nobody watches
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another run is writing into {folder}; wait for its end") from None
        yield
    finally:
        os.close(handle)


def _told(name: str, value: Any) -> str:
    if isinstance(value, dict):
        spacing, clip = value.get("spacing"), value.get("clip")
        return f"a contract of {spacing} mm, clip {clip}, patch {value.get('patch')}"
    return f"{name} {value!r}"
