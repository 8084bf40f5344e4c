"""Real processes that run ``mots``, for the price of a fork, and what is done to them inside.

The parent has imported torch and the package, and has computed nothing; each command is a child of
its own, which calls ``mots_pretrained.cli.main`` and which the kernel really kills.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

SECONDS = 90
"""What a command may take: many times what the slowest does."""

Inside = Callable[[], None]
"""Done in the child before its command."""

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
            "shutil.rmtree")  # fmt: skip
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MS_REMOUNT, _MS_RDONLY = 0x20000, 1 << 14, 1 << 18, 32, 1


class HangError(AssertionError):
    """A command has not ended."""


@dataclass(frozen=True)
class Ended:
    """How a command has ended: its status (negative: the signal), and what it said."""

    status: int
    said: str

    @property
    def errors(self) -> list[str]:
        """The lines that it said, warnings left out."""
        return [line for line in self.said.splitlines() if not line.startswith("warning: ")]


@dataclass
class Running:
    """A command that runs in a process of its own."""

    pid: int
    told: Path

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def workers(self) -> list[int]:
        """Return its own children."""
        with contextlib.suppress(OSError):
            told = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
            return [int(pid) for pid in told.split()]
        return []

    def ended(self, *, within: float = SECONDS) -> Ended | None:
        """Wait for its end; None if it runs still."""
        until = time.monotonic() + within
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return Ended(code, self.told.read_text("utf-8", "replace"))
            if time.monotonic() >= until:
                return None
            time.sleep(0.003)

    def end(self) -> Ended:
        """Wait for its end."""
        found = self.ended()
        if found is None:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise HangError(f"a command ran for more than {SECONDS} s")
        return found


def start(words: Sequence[str], folder: Path, inside: Inside | None = None) -> Running:
    """Start ``mots WORDS`` within a folder."""
    told = folder.parent / f"{folder.name}.said"
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(words, folder, told, inside)
    return Running(pid, told)


def _child(words: Sequence[str], folder: Path, told: Path, inside: Inside | None) -> NoReturn:
    status = 99
    try:
        os.setsid()
        os.chdir(folder)
        file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        vars(sys.modules["__main__"]).pop("__file__", None)  # workers need not read this script
        sys.modules["__main__"].__spec__ = None
        random.seed()
        if inside is not None:
            inside()
        from mots_pretrained.cli import main

        status = main([*words])
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def count_changes(to: Path) -> Inside:
    """Have a child write down, again and again, how many changes of files it has made."""

    def inside() -> None:
        _on_change(lambda number, *_: to.write_text(str(number)))

    return inside


def at_change(number: int, act: Callable[[], Any]) -> Inside:
    """Have a child do something right before its change of files number ``number``, from 1 on."""
    return lambda: _on_change(lambda found, *_: act() if found == number else None)


def at_renaming(name: str, number: int, act: Callable[[], Any]) -> Inside:
    """Have a child do something right before a file takes this name for the ``number``th time."""
    seen = [0]

    def watch(_: int, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and os.path.basename(arguments[1]) == name:
            seen[0] += 1
            if seen[0] == number:
                act()

    return lambda: _on_change(watch)


def _on_change(watch: Callable[[int, str, tuple[Any, ...]], Any]) -> None:
    """Call a function at every change of a file: opened to be written, renamed, removed, made."""
    state = {"number": 0, "busy": False}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = any(c in str(mode) for c in "wax+") or (
                mode is None and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            )
            if not writes or not isinstance(path, str | bytes) or "/dev/" in str(path):
                return
        elif event not in _CHANGES:
            return
        if not state["busy"]:
            state["busy"] = True
            state["number"] += 1
            watch(state["number"], event, arguments)
            state["busy"] = False

    sys.addaudithook(hook)


def die(number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return what sends its own process a signal."""
    return lambda: (os.kill(os.getpid(), number), time.sleep(60))[0]


def pause(folder: Path) -> Callable[[], None]:
    """Return what waits for a file ``go`` beside a folder, and says by ``waiting`` that it does."""

    def wait() -> None:
        (folder.parent / f"{folder.name}.waiting").touch()
        until = time.monotonic() + SECONDS / 2
        while not (folder.parent / f"{folder.name}.go").exists() and time.monotonic() < until:
            time.sleep(0.003)

    return wait


def jumping_clock(seed: int) -> Inside:
    """Have a child's clock jump by up to a year, forwards and back, each time that it is read."""

    def inside() -> None:
        real, rng = time.time, random.Random(seed)
        year = 365 * 86400
        time.time = lambda: real() + rng.uniform(-year, year)
        time.time_ns = lambda: int(1e9 * time.time())

    return inside


def own_mounts() -> bool:
    """Give this process mounts of its own, which nobody else sees; False where that is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not sys.platform.startswith("linux") or libc.unshare(_CLONE_NEWNS):
        return False
    return libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0


def mount_small(folder: Path, size: int) -> None:
    """Mount a disk of so many bytes, in memory, at a folder, or give a mounted one that size."""
    flags = _MS_REMOUNT if os.path.ismount(folder) else 0
    _mount(folder, flags, f"size={size}".encode())


def unmount_all(root: Path) -> None:
    """Take all disks below a folder away."""
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place = line.split()[1]
        if place.startswith(f"{root}/"):
            libc.umount2(os.fsencode(place), 2)  # also where a killed one is still busy


def make_readonly(folder: Path, readonly: bool) -> None:
    """Let a mounted disk be written to no more, or again."""
    _mount(folder, _MS_REMOUNT | (_MS_RDONLY if readonly else 0), None)


def _mount(folder: Path, flags: int, data: bytes | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, data):
        raise OSError(ctypes.get_errno(), "mount", str(folder))
