"""What predicting a scan takes in memory, and what of it lies in files to stay below a bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from mots_pretrained.errors import UserError
from mots_pretrained.images import resample
from mots_pretrained.memory import added_bytes, held_bytes
from mots_pretrained.shapes import Size

VOXELS_AT_ONCE = 1 << 21
"""Voxels of the label map that are decided at once: 8 MiB a category."""

_FORMS: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"image"}),
    frozenset({"image", "masks", "labels"}),
    frozenset({"image", "masks", "labels", "slab"}),
)
"""What does not lie in memory, from the quickest form to the smallest; the image never does, for it
is made again from the scan a few planes at a time."""

_REST = 150e6  # bytes: pictures, libraries that are imported late, the allocator's gaps


@dataclass(frozen=True)
class Bound:
    """Memory that a process may hold, and what of it is taken before there is any scan.

    Attributes:
        limit: Bytes.
        held: Bytes of the process with its network.
        network: Bytes that the network adds at its peak for a batch of windows.
    """

    limit: float
    held: int
    network: int

    @classmethod
    def measured(cls, gigabytes: float, predict: Callable[[], object]) -> Bound:
        """Measure this process and one batch of windows.

        Raises:
            UserError: If the bound is no number above 0, or the system tells no memory.
        """
        if not 0 < gigabytes < math.inf:
            raise UserError(f"max_ram is in gigabytes and above 0, not {gigabytes}")
        return cls(gigabytes * 1e9, held_bytes(), added_bytes(predict))


@dataclass(frozen=True)
class Work:
    """The arrays of predicting one scan.

    Attributes:
        scan: Bytes of the scan as it was read, and of a copy in floats where it is z-scored.
        shape: Its voxels along (D, H, W), which are those of the label map and the masks.
        size: Voxels along (D, H, W) of the scan at the contract's spacing, at least a window.
        window: Voxels of a window.
        channels: Channels of the image.
        maps: Probabilities that a voxel has.
        result: Bytes of a voxel of the label map and the masks.
        keeps: Whether all probabilities are kept, in half precision.
        flips: Whether windows are mirrored.
        cleans: Whether masks are cleaned, by components.
    """

    scan: int
    shape: Size
    size: Size
    window: Size
    channels: int
    maps: int
    result: float
    keeps: bool
    flips: bool
    cleans: bool

    def peak(self, bound: Bound, away: frozenset[str]) -> float:
        """Return the bytes at the peak where the arrays named do not lie in memory."""
        voxels, plane = math.prod(self.shape), math.prod(self.shape[1:])
        wide = 4 * math.prod(self.size[1:])  # bytes of a plane at the contract
        most = max(1, VOXELS_AT_ONCE // plane)
        thick = -(-self.size[0] // self.shape[0]) + 2  # planes that one of the label map is made of
        image = self.channels * wide * self.size[0]
        resampling = 8 * min(resample.CHUNK, voxels)  # planes of the scan in floats, twice
        if "image" in away:  # planes of a row of windows, and those to come, twice each
            rows = 2 * self.window[0] + 4 * resample.PLANES
            image = self.channels * (min(rows, 4 * self.size[0]) * wide) + resampling
        slab = self.maps * wide * self.window[0]
        if "slab" in away:  # the rows that a window adds to
            slab = slab * self.window[1] // self.size[1]
        result = self.result * (most * plane if "labels" in away else voxels)
        deciding = self.maps * wide * (most + thick) + 24 * most * plane
        windows = 12 * self.maps * math.prod(self.window) if self.flips else 0
        kept = (
            2 * self.maps * (wide // 4 * self.window[0] + math.prod(self.size)) if self.keeps else 0
        )
        image += self.channels * wide * self.window[0]  # where a scan smaller than a window goes on
        segmenting = image + slab + result + kept + max(deciding, bound.network + windows)
        cleaning = 14 if self.cleans else 0  # numbers of components, and their counts
        writing = voxels * (self.result + 3 + cleaning) + kept
        reading = max(self.scan, image + resampling)  # the file's own bytes; preparing
        return bound.held + self.scan + max(segmenting, writing, reading) + _REST

    def away(self, bound: Bound, name: str, anyway: frozenset[str] = frozenset()) -> frozenset[str]:
        """Return the arrays that are not to lie in memory.

        Args:
            bound: What there is.
            name: What the scan is called.
            anyway: Arrays that are not to, whatever there is.

        Raises:
            UserError: If the bound is below what the smallest form takes.
        """
        forms = [form for form in _FORMS if anyway <= form]
        for form in forms:
            if self.peak(bound, form) <= bound.limit:
                return form
        least = min(self.peak(bound, form) for form in forms)
        raise UserError(
            f"{name} needs at least {math.ceil(least / 1e8) / 10:.1f} GB, max_ram (--max-ram) is "
            f"{bound.limit / 1e9:g}: {(bound.held + bound.network) / 1e9:.1f} are the network and "
            f"a batch of windows, {self.scan / 1e9:.1f} the scan itself; give more, or choose "
            "fewer tasks or a smaller batch"
        )
