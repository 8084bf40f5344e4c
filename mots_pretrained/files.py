"""Writing files and folders whole or not at all, naming them, and locking a folder of a run."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mots_pretrained.errors import UserError

LOCK = ".lock"
"""Name of the file by which a run locks its folder."""

RUN_LOG = "run.log"
"""Name of the file in which a run tells of itself."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}  # as of some network file systems
_LONGEST_NAME = 200  # bytes; file systems take 255, endings included
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{d}{i}" for d in ("COM", "LPT") for i in range(1, 10))}


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replace a file by a UTF-8 text, whole or not at all.

    Bytes of a file's name that are no UTF-8, which Python holds as surrogates, are written as
    escapes.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace a file by these bytes, whole or not at all."""
    with replacing(path) as file:
        file.write(content)


def write_json(path: str | os.PathLike[str], value: object, *, indent: int | None = 2) -> None:
    """Replace a file by a value as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a binary file that takes its place when the block ends without an exception.

    It is written under a temporary name with the process's number, flushed to the disk, and
    renamed, so that at any moment the old content or the new one is there.

    Args:
        path: The file to write or to replace; its folder exists.

    Raises:
        OSError: With the path as its ``filename``, if writing fails.
    """
    with _draft(Path(path)) as draft, open(draft, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing_by_name(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path for a library that opens files itself; see ``replacing``.

    The temporary name has the same endings, by which libraries choose a format.
    """
    with _draft(Path(path)) as draft:
        yield draft
        on_disk(draft)


def on_disk(path: str | os.PathLike[str]) -> None:
    """Wait until what was written to a file is on the disk, or raise what the disk says of it."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def replacing_folder(path: str | os.PathLike[str], *, keep: bool = False) -> Iterator[Path]:
    """Yield an empty draft folder that takes a folder's place when the block ends well.

    Args:
        path: The folder to make; an old one of that name is removed last.
        keep: Leave a folder that is there by then as it is, for others may be reading it.
    """
    place = Path(path)
    draft = _beside(place)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        if keep:
            with suppress(OSError):  # a folder with content is not replaced by a renaming
                os.rename(draft, place)
            if not place.is_dir():
                raise NotADirectoryError(f"{place} could not be made")
        elif place.exists():
            old = draft.with_name(f"{draft.name}.old")
            os.replace(place, old)
            os.replace(draft, place)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(*paths: str | os.PathLike[str]) -> None:
    """Remove what processes that were killed while they wrote have left half-written.

    What a process of this machine that runs still is writing stays.

    Args:
        paths: Of a file its drafts are removed, of a folder all drafts directly within it. Each
            folder is listed once, however many of its files are given.
    """
    wanted: dict[Path, set[str | None]] = {}
    for place in map(Path, paths):
        folder, digest = (place, None) if place.is_dir() else (place.parent, _digest(place))
        wanted.setdefault(folder, set()).add(digest)
    for folder, digests in wanted.items():
        for draft in folder.glob(".*"):
            found = _DRAFT.match(draft.name)
            if found is None or digests.isdisjoint((None, found["digest"])) or _is_written(found):
                continue
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)


@contextmanager
def locked(folder: str | os.PathLike[str], *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, made if need be, so that no second run writes into it.

    The lock is the operating system's: it ends with the process, however that ends.

    Args:
        folder: The folder.
        wait: Wait for another process that holds it.

    Raises:
        UserError: If another process holds the folder and is not waited for.

    Warns:
        UserWarning: If the file system knows no locks; nothing is locked then.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+b") as file:
        if not _lock(file, wait):
            raise UserError(
                f"another run is writing into {folder}; wait for its end or choose another folder"
            )
        yield


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Give every name a file name of its own, without an ending.

    Names of classes, tasks and cases come from elsewhere and never become paths as they are:
    letters, digits, blanks and ``_.+-`` stay, every other character becomes ``_``, and names that
    would then be one (on file systems that ignore case, too) are numbered.

    Example:
        >>> file_names(["tumor/edema", "tumor_edema", "../../x"])
        {'tumor/edema': 'tumor_edema', 'tumor_edema': 'tumor_edema_2', '../../x': '_.._x'}
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        plain = "".join(c if c.isalnum() or c in " _.+-" else "_" for c in name)
        plain = plain.encode()[:_LONGEST_NAME].decode(errors="ignore").strip(" .") or "_"
        if plain.split(".")[0].upper() in _DEVICES:  # names of devices on Windows
            plain = f"_{plain}"
        given[name] = unused(plain, taken)
    return given


def unused(name: str, taken: set[str]) -> str:
    """Return a name, numbered where it is taken (or one that differs by case alone), and take it.

    Example:
        >>> taken = set()
        >>> [unused(name, taken) for name in ("a", "a_2", "A")]
        ['a', 'a_2', 'A_3']
    """
    number, unique = 1, name
    while unique.casefold() in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique.casefold())
    return unique


def inside(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Return a path that is to be written, if it lies inside a folder, links followed.

    Raises:
        UserError: If it does not.
    """
    if not Path(path).resolve().is_relative_to(Path(folder).resolve()):
        raise UserError(f"{path} lies outside of {folder}; nothing was written there")
    return Path(path)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    draft = _beside(path)
    try:
        yield draft
        os.replace(draft, path)
    except OSError as error:
        if error.filename in (None, str(draft), draft):
            error.filename = str(path)  # "No space left on device" should name the user's file
        raise
    finally:
        draft.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Name a draft beside a path: this process's own, short, with the same endings.

    Processes of several machines or containers may have one number and write into one folder.
    """
    ending = "".join(path.suffixes[-2:])[-16:]
    own = f"{os.getpid()}-{_machine()}"
    return path.with_name(f".{own}.{_digest(path)}{ending[max(0, ending.find('.')) :]}")


_DRAFT = re.compile(r"\.(?P<process>\d+)(-(?P<machine>[0-9a-f]{6}))?\.(?P<digest>[0-9a-f]{12})")


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _is_written(draft: re.Match[str]) -> bool:
    """Tell whether another process of this machine that runs still has begun a draft."""
    process = int(draft["process"])
    if os.name == "nt" or draft["machine"] != _machine() or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]


def _lock(file: IO[Any], wait: bool) -> bool:
    """Lock an open file for this process; False if another process holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            how = msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK  # type: ignore[attr-defined]
            msvcrt.locking(file.fileno(), how, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _NO_LOCKS:
            warnings.warn(
                f"the file system of {file.name} knows no locks; let no two runs write into its "
                "folder at the same time",
                stacklevel=4,
            )
            return True
        return False
    return True
