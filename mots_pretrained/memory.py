"""Memory of this process: what it holds, what a piece of work adds, and arrays in files instead."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.stages import forget_peak

_PRIVATE: dict[str, int] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
)
"""Of a mapping that no file and no other process has; Windows knows no flags."""

_LARGE = 1 << 27  # bytes


class Scratch:
    """Makes arrays, those of some names in files that have none and end with the process.

    Args:
        folder: Where the files lie, made when the first is; not on a disk in memory.
        names: Arrays that lie in files.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, names: Collection[str] = ()
    ) -> None:
        self.folder = Path(tempfile.gettempdir() if folder is None else folder)
        self.names = names
        self._maps: list[mmap.mmap] = []

    def zeros(
        self, name: str, shape: tuple[int, ...], dtype: DTypeLike, *, sparse: bool = False
    ) -> NDArray[Any]:
        """Return an array of zeros.

        Args:
            name: What it is called, see `names`.
            shape: Its shape.
            dtype: Its type.
            sparse: Most of it stays as it is; pages that nobody writes then take no memory.

        Raises:
            MemoryError: If there is no memory for it.
            OSError: If the disk has no room for it.
        """
        count = int(np.prod(shape, dtype=np.int64))
        size = max(1, count * np.dtype(dtype).itemsize)
        if name not in self.names:
            if not sparse and size < _LARGE:
                return np.zeros(shape, dtype)
            # Not the allocator's: what it has kept of freed memory would be written all over, or,
            # if that is large, be missed by the next large piece of work.
            try:
                pages = mmap.mmap(-1, size, **_PRIVATE)
            except OSError as error:
                raise MemoryError(f"no memory for {name}, {size:,} bytes") from error
            return np.frombuffer(pages, dtype, count).reshape(shape)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is told now, not by a signal later
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            mapped = mmap.mmap(file.fileno(), size)
        self._maps.append(mapped)
        return np.frombuffer(mapped, dtype, count).reshape(shape)

    def release(self) -> None:
        """Let go of the memory that arrays in files take; their content stays."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)


def held_bytes() -> int:
    """Return the memory that this process holds now, what it has freed and not given back left out.

    Raises:
        UserError: If the system does not tell, as others than Linux.
    """
    give_back()
    return _status("VmRSS")


def added_bytes(work: Callable[[], object]) -> int:
    """Run something and return the memory that it took at its peak beyond what was held before.

    Raises:
        UserError: As `held_bytes` does.
    """
    before = held_bytes()
    forget_peak()
    work()
    added = _status("VmHWM") - before
    give_back()
    return max(0, added)


def give_back() -> None:
    """Give freed memory back to the system where the allocator (glibc) has kept it."""
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another libc
            return


def _status(name: str) -> int:
    status = Path("/proc/self/status")
    text = status.read_text("utf-8") if status.is_file() else ""
    found = re.search(rf"^{name}:\s*(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise UserError("memory can be bounded on Linux only; leave out max_ram (--max-ram)")
    return int(found[1]) << 10
