"""Sliding windows with Gaussian weights, given away slab by slab as they finish (Sec. 4.1).

Memory grows with the window: only as many planes of probabilities are held as a window is deep.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mots_pretrained.errors import UserError
from mots_pretrained.images.preprocess import PlaneStream
from mots_pretrained.inference.parts import Windows
from mots_pretrained.memory import Scratch
from mots_pretrained.shapes import Size

Predict = Callable[[Tensor], Tensor]
"""From ``(B, C, D, H, W)`` to probabilities ``(B, K, D, H, W)``."""

OnWindow = Callable[[int, int], None]
"""Callback that receives how many windows are done, of how many in all."""

THRESHOLD = 0.5
"""A voxel belongs to a category if its probability is larger, as in the published testing."""


class Protocol(TypedDict):
    """How windows are laid and mirrored; spread into `Predictor`."""

    overlap: float
    flips: bool


PUBLISHED: Protocol = {"overlap": 0.5, "flips": True}
"""The published testing: windows overlapping by half, Gaussian weights, mean over eight flips."""


def sliding_window(
    image: Tensor | PlaneStream,
    predict: Callable[[Tensor], Tensor | Windows],
    *,
    window: Size,
    overlap: float = 0.5,
    batch: int = 1,
    scratch: Scratch | None = None,
    on_window: OnWindow | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Predict a volume window by window and yield its finished planes, from feet to head.

    A volume smaller than the window is continued by its outermost voxels on both sides, and what
    is predicted there is dropped: air around a thin slab of a body is nothing that a network knows.

    Args:
        image: ``(C, D, H, W)``, or a stream of its planes; moving it to the network's device is up
            to ``predict``.
        predict: From windows to probabilities of K categories each, or to those that count.
        window: Size of a window in voxels.
        overlap: Share of a window that the next one covers again, 0 to below 1.
        batch: Windows predicted at once.
        scratch: Where the slab of planes that windows still add to lies, as ``"slab"``.
        on_window: Called after each batch.

    Yields:
        Pairs of first plane and probabilities ``(K, n, H, W)`` on the CPU, without gaps; their
        memory is used again once the next pair is asked for.

    Raises:
        UserError: If the overlap or the batch is out of range.
    """
    check_layout(overlap, batch)
    scratch = scratch or Scratch()
    shape = image.shape[1:]
    ends = margins(shape, window)
    before = [first for first, _ in ends]
    sizes = [n + sum(both) for n, both in zip(shape, ends, strict=True)]
    starts = [window_starts(n, w, overlap) for n, w in zip(sizes, window, strict=True)]
    # The windows form a grid, so the sum of their weights is a product of three lines.
    kept = [slice(first, first + n) for first, n in zip(before, shape, strict=True)]
    along_d, along_h, along_w = (
        _coverage(n, w, s)[part] for n, w, s, part in zip(sizes, window, starts, kept, strict=True)
    )
    in_plane = along_h[:, None] * along_w
    places = list(itertools.product(starts[1], starts[2]))
    count = len(starts[0]) * len(places)
    slab = weight = torch.empty(0)
    for row, (z, after) in enumerate(itertools.pairwise([*starts[0], shape[0]])):
        planes = _planes(image, z, min(z + window[0], shape[0]))
        if sizes != [*shape]:
            planes = F.pad(planes, [*ends[2], *ends[1], *ends[0]], mode="replicate")
        for first in range(0, len(places), batch):
            group = places[first : first + batch]
            crops = torch.stack([_crop(planes, y, x, window) for y, x in group])
            found = predict(crops)
            if isinstance(found, Tensor):
                found = Windows.whole(found.float())
            if not slab.numel():
                slab = _slab(found.device, (found.maps, window[0], *sizes[1:]), scratch)
                weight = _weight(window).to(slab.device)
            _add(slab, found, weight, group)
            scratch.release()
            if on_window is not None:
                on_window(row * len(places) + first + len(group), count)
            del crops, found  # not held while the planes are worked on
        ready = after - z
        finished = slab[:, before[0] : before[0] + ready, kept[1], kept[2]].cpu()
        for plane, share in zip(finished.unbind(dim=1), along_d[z:after], strict=True):
            plane /= share * in_plane
            scratch.release()
        yield z, finished
        _shift(slab, ready, scratch)


def margins(shape: Sequence[int], window: Sequence[int]) -> list[tuple[int, int]]:
    """Return by how many voxels a volume is continued before and after, axis by axis.

    Example:
        >>> margins((9, 4, 20), (8, 8, 25))
        [(0, 0), (2, 2), (2, 3)]
    """
    short = [max(0, w - n) for n, w in zip(shape, window, strict=True)]
    return [(missing // 2, missing - missing // 2) for missing in short]


def over_mirrors(predict: Predict, sides: Sequence[int] | None) -> Predict:
    """Average a function of windows over their mirror images, each mirrored back.

    Args:
        predict: From windows to probabilities of K categories each.
        sides: Which of the K categories each becomes when left and right change places: a left
            kidney is a right one in the mirror. None leaves out the mirror images along that axis,
            four of the eight, where this cannot be told.

    Returns:
        A function of the same kind, eight (or four) times as slow.
    """
    axes = (-3, -2) if sides is None else (-3, -2, -1)
    mirrors = [m for n in range(1, len(axes) + 1) for m in itertools.combinations(axes, n)]

    def mean(windows: Tensor) -> Tensor:
        total = predict(windows).float()
        for mirror in mirrors:
            found = predict(windows.flip(mirror)).flip(mirror)
            swapped = -1 in mirror and sides is not None and [*sides] != [*range(len(sides))]
            total = total + (found[:, sides] if swapped else found)
        return total / (len(mirrors) + 1)

    return mean


def check_layout(overlap: float, batch: int) -> None:
    """Refuse an overlap or a batch out of range.

    Raises:
        ValueError: If it is.
    """
    if not 0.0 <= overlap < 1.0:
        raise UserError(f"overlap must be at least 0 and below 1, not {overlap}")
    if batch < 1:
        raise UserError(f"batch must be at least 1, not {batch}")


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """Place windows along an axis; the last one lies flush with its end.

    Args:
        size: Voxels along the axis, at least ``window``.
        window: Voxels of a window.
        overlap: Share of a window that the next one covers again.

    Example:
        >>> window_starts(150, 64, 0.5)
        [0, 32, 64, 86]
    """
    stride = max(1, math.ceil(window * (1 - overlap) - 1e-9))
    return [*range(0, size - window, stride), size - window]


@functools.lru_cache(maxsize=8)
def gaussian(size: int) -> Tensor:
    """Weigh the voxels along a window's axis: sigma is an eighth of it, the peak is 1.

    Example:
        >>> gaussian(8)[4], gaussian(8)[3].log()
        (tensor(1.), tensor(-0.5000))
    """
    distance = torch.arange(size, dtype=torch.float64) - size // 2
    return torch.exp(-0.5 * (distance / (size / 8)) ** 2).float()


def _coverage(size: int, window: int, starts: list[int]) -> Tensor:
    """Sum the weights of all windows along an axis."""
    total = torch.zeros(size, dtype=torch.float32)
    for start in starts:
        total[start : start + window] += gaussian(window)
    return total


def _planes(image: Tensor | PlaneStream, first: int, stop: int) -> Tensor:
    if isinstance(image, Tensor):
        return image[:, first:stop]
    return torch.from_numpy(image.planes(first, stop))


def _crop(planes: Tensor, y: int, x: int, window: Size) -> Tensor:
    return planes[:, :, y : y + window[1], x : x + window[2]]


def _slab(device: torch.device, shape: tuple[int, ...], scratch: Scratch) -> Tensor:
    """Return zeros on the device where probabilities come; only on the CPU they may be a file."""
    if device.type == "cpu":
        return torch.from_numpy(scratch.zeros("slab", shape, np.float32))
    return torch.zeros(shape, dtype=torch.float32, device=device)


def _weight(window: Size) -> Tensor:
    """Weigh the voxels of a window."""
    depth, height, width = map(gaussian, window)
    return depth[:, None, None] * height[:, None] * width


def _add(slab: Tensor, found: Windows, weight: Tensor, places: list[tuple[int, int]]) -> None:
    """Add what was found in windows to the slab, weighted; the windows' places are in plane."""
    for part in found.parts:
        (z, y, x), (d, h, w) = part.corner, part.values.shape[-3:]
        top, left = places[part.window]
        there = slab[part.maps, z : z + d, top + y : top + y + h, left + x : left + x + w]
        there.addcmul_(part.values, weight[z : z + d, y : y + h, x : x + w])


def _shift(slab: Tensor, planes: int, scratch: Scratch) -> None:
    """Drop the slab's first planes and make room for as many new ones, without a second slab."""
    kept = slab.shape[1] - planes
    for index in range(slab.shape[1]):
        if index < kept:
            slab[:, index] = slab[:, index + planes]
        else:
            slab[:, index] = 0
        scratch.release()
