"""One prepared case's arrays: read by slices from blosc2 files, written to the same bytes always.

Images are 16-bit whole numbers times a step: 1/4096 wherever values stay within 8, so that an image
is off by at most 1/8192 of its contract's scale (0.04 HU at the paper's window; scanners give whole
HU). Targets are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mots_pretrained.data.case import Case, present_classes
from mots_pretrained.shapes import Size

FOREGROUND_CAP = 10_000
"""Voxel positions kept of each class; of more, a random choice that the identifier seeds."""

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
    """

    folder: Path = Path()
    classes: tuple[Foreground, ...] = ()

    @cached_property
    def foreground(self) -> tuple[NDArray[np.int64], ...]:
        """Flat voxel positions of every present class, at most FOREGROUND_CAP of each."""
        positions = np.load(self.folder / "foreground.npy").astype(np.int64)
        ends = np.cumsum([present.listed for present in self.classes])
        return tuple(np.split(positions, ends[:-1])) if self.classes else ()

    @property
    def voxels(self) -> dict[tuple[int, int], int]:
        """Voxels of every present class, by its target channel and value."""
        return {(present.channel, present.value): present.voxels for present in self.classes}

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
    ) -> StoredCase:
        """Return the case of a folder; no file is opened yet.

        ``targets`` is the number of target channels where ``labelled`` speaks of classes instead.
        """
        image = _Voxels(folder / "image.b2nd", (channels, *shape), np.float32, step)
        target = _Voxels(folder / "target.b2nd", (targets or len(labelled), *shape), np.uint8)
        if not labelled:  # a scan without labels has no file of them
            return cls(
                cast(Any, image), np.zeros((0, *shape), np.uint8), (), (), name, folder=folder
            )
        # Arrays to all who read them: shape, dtype, slices.
        arrays = cast(Any, image), cast(Any, target)
        return cls(*arrays, labelled, tasks, name, folder=folder, classes=classes)


def write_case(folder: Path, case: Case) -> tuple[float, tuple[Foreground, ...]]:
    """Write image, target and foreground of a case; the same case gives the same bytes.

    Args:
        folder: The case's own folder; it exists.
        case: A case in memory.

    Returns:
        ``step`` and ``foreground`` of its record.
    """
    step = max(_STEP, float(np.abs(case.image).max()) / np.iinfo(np.int16).max)
    _write_array(folder / "image.b2nd", np.rint(case.image / step).astype(np.int16))
    if len(case.target):
        _write_array(folder / "target.b2nd", case.target)
    rng = np.random.default_rng([*case.name.encode()])
    classes: list[Foreground] = []
    listed = [np.zeros(0, np.int64)]
    for channel, value, positions in present_classes(case.target):
        kept = positions
        if len(positions) > FOREGROUND_CAP:
            kept = np.sort(rng.choice(positions, FOREGROUND_CAP, replace=False))
        classes.append(Foreground(channel, value, len(positions), len(kept)))
        listed.append(kept)
    np.save(folder / "foreground.npy", np.concatenate(listed).astype(np.uint32))
    return step, tuple(classes)


class _Voxels:
    """An array on disk that is read by slices; each process opens the file when it first reads."""

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, step: float | None = None
    ) -> None:
        self.path, self.shape, self.dtype, self.step = path, shape, np.dtype(dtype), step
        self._opened: Any = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if self._opened is None:
            import blosc2

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
    blosc2.asarray(
        np.ascontiguousarray(array),
        urlpath=f"{path}",
        mode="w",
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
