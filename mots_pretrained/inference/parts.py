"""What a network finds in windows, where it finds something: most organs fill a tenth of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mots_pretrained.shapes import Size

Box = tuple[slice, slice, slice]

LEAST = 1e-3
"""A probability that counts for nothing where it is alone."""


class Part(NamedTuple):
    """Probabilities in a box of one window.

    Attributes:
        window: Number of the window in its batch.
        maps: The category, or all of them.
        corner: First voxel of the box along (D, H, W) of the window.
        values: ``(d, h, w)``, or ``(K, d, h, w)`` of all categories.
    """

    window: int
    maps: int | slice
    corner: Size
    values: Tensor


@dataclass(frozen=True)
class Windows:
    """Probabilities of a batch of windows: those of its parts, and 0 where there is none.

    Attributes:
        maps: Categories, K.
        device: Where they are.
        parts: Boxes that do not overlap.
    """

    maps: int
    device: torch.device
    parts: list[Part]

    @classmethod
    def whole(cls, probabilities: Tensor) -> Windows:
        """Take all of ``(B, K, D, H, W)``."""
        parts = [Part(k, slice(None), (0, 0, 0), one) for k, one in enumerate(probabilities)]
        return cls(probabilities.shape[1], probabilities.device, parts)


def upsampled_sigmoid(
    logits: Tensor, upsample: Callable[[Tensor], Tensor], size: tuple[int, ...]
) -> Windows:
    """Return the probabilities of logits at a window's resolution, but for those below `LEAST`.

    Of each category the box of coarse voxels is upsampled in which it comes that far; what lies
    between voxels is never more than the largest of them. Within the box nothing is changed, so
    a mean over windows falls by less than `LEAST`.

    Args:
        logits: ``(B, K, d, h, w)``, float32, of the head's own resolution.
        upsample: Linear, by whole factors: `size` over (d, h, w).
        size: Voxels of a window along (D, H, W).
    """
    factors = [n // coarse for n, coarse in zip(size, logits.shape[2:], strict=True)]
    limit, parts = math.log(LEAST / (1 - LEAST)), []
    for window, maps in enumerate(logits):
        for category, (one, box) in enumerate(zip(maps, _boxes(maps, limit), strict=True)):
            if box is None:
                continue
            wide = _widened(box, one.shape)  # upsampling reads a voxel more; it is cut off again
            inner = [
                slice((b.start - w.start) * f, (b.stop - w.start) * f)
                for b, w, f in zip(box, wide, factors, strict=True)
            ]
            z, y, x = (b.start * f for b, f in zip(box, factors, strict=True))
            fine = upsample(one[wide][None, None])[0, 0].sigmoid()
            parts.append(Part(window, category, (z, y, x), fine[tuple(inner)]))
    return Windows(logits.shape[1], logits.device, parts)


def _boxes(maps: Tensor, limit: float) -> list[Box | None]:
    """Return where each of ``(K, D, H, W)`` is above a limit, wider by what upsampling spreads."""
    planes = maps.amax(dim=1)
    lines = (maps.flatten(2).amax(dim=2), planes.amax(dim=2), planes.amax(dim=1))
    over = [(line > limit).tolist() for line in lines]
    boxes: list[Box | None] = []
    for along in zip(*over, strict=True):
        if not any(along[0]):
            boxes.append(None)
            continue
        boxes.append(_widened([extent(line) for line in along], maps.shape[1:]))
    return boxes


def extent(line: list[bool]) -> slice:
    """Return the part of a line from its first true place to its last one."""
    return slice(line.index(True), len(line) - line[::-1].index(True))


def _widened(box: Sequence[slice], size: Sequence[int]) -> Box:
    """Return a box with a voxel more on every side that has one."""
    z, y, x = (
        slice(max(0, b.start - 1), min(b.stop + 1, n)) for b, n in zip(box, size, strict=True)
    )
    return z, y, x
