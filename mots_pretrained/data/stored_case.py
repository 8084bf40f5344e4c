"""One prepared case's arrays: read by slices from blosc2 files, written to the same bytes always.

Images are 16-bit whole numbers times a step, and so off by at most half of it. It is 1/4096 where
no value of the image lies beyond 8: half of that is 0.04 HU at the paper's window, and scanners
give whole HU. Else, as of z-scored MRI, it is 1/32767 of the largest value of all channels.
Targets are exact.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mots_pretrained.data.case import Case, listed_classes
from mots_pretrained.errors import UserError
from mots_pretrained.files import write_bytes
from mots_pretrained.shapes import Size

FILES = ("image.b2nd", "target.b2nd", "foreground.npy")
"""Names of a case's files; a scan without labels has no target."""

_STEP = 1 / 4096
_CHUNK = (32, 128, 128)  # 1 MiB of image
_BLOCK = (8, 64, 64)  # what is decoded at once: 64 KiB of image; measured in benchmarks/store.py


@dataclass(frozen=True)
class Foreground:
    """One present class: its target channel and value, its voxels, and how many are listed."""

    channel: int
    value: int
    voxels: int
    listed: int


@dataclass(frozen=True, eq=False)
class StoredCase(Case):
    """A case whose image and target are read by slices, and whose foreground is listed.

    It is small, and may be sent to other processes.

    Attributes:
        folder: Where its files lie.
        classes: What ``foreground.npy`` lists.
        sums: What ``checksums`` gave when they were written; empty of a store that has none.
    """

    folder: Path = Path()
    classes: tuple[Foreground, ...] = ()
    sums: tuple[int, ...] = ()

    @cached_property
    def foreground(self) -> tuple[NDArray[np.int64], ...]:
        """Flat voxel positions of every present class, as they were listed."""
        _check_file(self.folder / FILES[2], self.sums[-1] if self.sums else None)
        positions = np.load(self.folder / FILES[2]).astype(np.int64)
        ends = np.cumsum([present.listed for present in self.classes])
        return tuple(np.split(positions, ends[:-1])) if self.classes else ()

    @property
    def voxels(self) -> dict[tuple[int, int], int]:
        """Voxels of every present class, by its target channel and value."""
        return {(present.channel, present.value): present.voxels for present in self.classes}

    def check(self) -> None:
        """Refuse files that are not as they were written.

        Raises:
            UserError: If one is damaged or gone.
        """
        names = FILES if self.labelled else FILES[::2]
        for name, expected in zip(names, self.sums, strict=False):
            _check_file(self.folder / name, expected)

    @classmethod
    def at(
        cls,
        folder: Path,
        *,
        name: str,
        channels: int,
        shape: Size,
        labelled: tuple[bool, ...],
        tasks: tuple[int, ...],
        step: float,
        classes: tuple[Foreground, ...],
        targets: int | None = None,
        sums: tuple[int, ...] = (),
    ) -> StoredCase:
        """Return the case of a folder; no file is opened yet.

        ``targets`` is the number of target channels where ``labelled`` speaks of classes instead.
        A file that is not as it was written is refused with a UserError when it is first read.
        """
        image = _Voxels(folder / FILES[0], (channels, *shape), np.float32, step, sums[:1])
        size = (targets or len(labelled), *shape)
        target = _Voxels(folder / FILES[1], size, np.uint8, None, sums[1:2])
        if not labelled:  # a scan without labels has no file of them
            none = np.zeros((0, *shape), np.uint8)
            return cls(cast(Any, image), none, (), (), name, folder=folder, sums=sums)
        # Arrays to all who read them: shape, dtype, slices.
        arrays = cast(Any, image), cast(Any, target)
        return cls(*arrays, labelled, tasks, name, folder=folder, classes=classes, sums=sums)


def write_case(folder: Path, case: Case) -> tuple[float, tuple[Foreground, ...]]:
    """Write image, target and foreground of a case; the same case gives the same bytes.

    Args:
        folder: The case's own folder; it exists.
        case: A case in memory.

    Returns:
        ``step`` and ``foreground`` of its record.
    """
    step = max(_STEP, float(np.abs(case.image).max()) / np.iinfo(np.int16).max)
    _write_array(folder / FILES[0], np.rint(case.image / step).astype(np.int16))
    if len(case.target):
        _write_array(folder / FILES[1], case.target)
    classes: list[Foreground] = []
    listed = [np.zeros(0, np.int64)]
    for channel, value, voxels, positions in listed_classes(case):
        classes.append(Foreground(channel, value, voxels, len(positions)))
        listed.append(positions)
    positions_file = io.BytesIO()
    np.save(positions_file, np.concatenate(listed).astype(np.uint32))
    write_bytes(folder / FILES[2], positions_file.getvalue())
    return step, tuple(classes)


def checksums(folder: Path) -> tuple[int, ...]:
    """Return the CRC-32 of each of a case's files, in the order of ``FILES``.

    Raises:
        OSError: If one can't be read.
    """
    return tuple(_crc32(folder / name) for name in FILES if (folder / name).exists())


def _crc32(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found = zlib.crc32(block, found)
    return found


def _check_file(path: Path, expected: int | None) -> None:
    """Refuse a file that is not as it was written; each process reads it once for this."""
    try:
        state = path.stat()
        is_sound = expected is None or expected == _known_crc32(
            path, state.st_size, state.st_mtime_ns
        )
    except FileNotFoundError:
        is_sound = False
    if not is_sound:
        raise UserError(
            f"{path} is damaged or gone: its checksum is not that of {path.parent.name}'s record; "
            "run the same command that prepared it again, which makes the case anew"
        )


@lru_cache(maxsize=1 << 16)
def _known_crc32(path: Path, size: int, changed_ns: int) -> int:
    return _crc32(path)


class _Voxels:
    """An array on disk that is read by slices; each process opens the file when it first reads."""

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        step: float | None = None,
        sums: tuple[int, ...] = (),
    ) -> None:
        self.path, self.shape, self.dtype, self.step = path, shape, np.dtype(dtype), step
        self.crc32 = sums[0] if sums else None
        self._opened: Any = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if self._opened is None:
            import blosc2

            _check_file(self.path, self.crc32)
            self._opened = blosc2.open(self.path, mode="r", dparams=blosc2.DParams(nthreads=1))
        stored = self._opened[key]
        if self.step is None:
            return stored
        return np.multiply(stored, np.float32(self.step), dtype=np.float32)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def _write_array(path: Path, array: NDArray[Any]) -> None:
    import blosc2

    spatial = array.shape[1:]
    chunk = tuple(min(size, most) for size, most in zip(spatial, _CHUNK, strict=True))
    block = tuple(min(size, most) for size, most in zip(chunk, _BLOCK, strict=True))
    stored = blosc2.asarray(
        np.ascontiguousarray(array),
        contiguous=True,
        chunks=(1, *chunk),
        blocks=(1, *block),
        cparams=blosc2.CParams(
            codec=blosc2.Codec.LZ4,
            clevel=5,
            filters=[blosc2.Filter.BITSHUFFLE],
            typesize=array.itemsize,
            nthreads=1,  # threads would make the order of chunks a matter of chance
        ),
    )
    write_bytes(path, stored.to_cframe())  # a full disk is told of, which the library does not
