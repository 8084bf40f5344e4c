"""Voxels of labelled cases and the backbone's features at them, which a head is fitted to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mots_pretrained.adaptation.heads import LevelsHead, level_maps
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.errors import UserError
from mots_pretrained.inference.sliding_window import margins, window_starts
from mots_pretrained.tasks import IGNORED

OnFit = Callable[[str, int, int], None]
"""Callback that receives what is being done, "window" or "step", its number, and of how many."""

_VOXELS = 256  # of each class a window
_BACKGROUND = 2048  # of the background a window
_MOST_VOXELS = 400_000  # of all windows where each holds background and four classes
_MOST_BYTES = 2_500_000_000  # of their features, of any number of classes; joined, twice as much


@dataclass(frozen=True)
class Samples:
    """Voxels of all cases, of which each labels all classes or some.

    Attributes:
        features: ``(n, C)`` float16.
        targets: ``(n, K)`` uint8.
        case: ``(n,)`` int64, number of the case that each is of.
        labelled: ``(cases, classes)`` bool.
        counts: ``(cases, 1 + classes)``, voxels of the background (of regions: known voxels) and
            of each class in all windows.
    """

    features: Tensor
    targets: Tensor
    case: Tensor
    labelled: Tensor
    counts: NDArray[np.int64]


@torch.inference_mode()
def sample_voxels(
    segmenter: Segmenter, cases: Sequence[Case], overlap: float, seed: int, on_fit: OnFit | None
) -> Samples:
    """Run the backbone over all windows and sample voxels of each class."""
    like = next(segmenter.backbone.parameters())
    is_deep = isinstance(segmenter.head, LevelsHead)
    window = segmenter.config.preprocessing.window
    layout = [_starts(case, window, overlap) for case in cases]
    windows = sum(len(starts) for starts in layout)
    width = sum(segmenter.backbone.level_widths[: None if is_deep else 1])
    exclusive, bound = segmenter.config.exclusive, _MOST_BYTES // (2 * width)
    chosen_of_all = iter(_choose_of_all(cases, layout, window, exclusive, bound, seed))
    classes = len(segmenter.config.classes)
    features, targets, drawn = [], [], []
    counts = np.zeros((len(cases), 1 + classes), np.int64)
    done = 0
    for number, (case, starts) in enumerate(zip(cases, layout, strict=True)):
        for image, target in _windows(case, starts, window):
            counts[number] += _count(target, 1 + classes, exclusive)
            chosen = next(chosen_of_all)
            if len(chosen):
                out = segmenter.backbone(torch.from_numpy(image)[None].to(like))
                maps = level_maps(out) if is_deep else [out.decoder]
                at = np.stack(np.unravel_index(chosen, window), axis=1)
                features.append(_features_at(maps, torch.from_numpy(at), window).half().cpu())
                flat = target.reshape(len(target), -1)[:, chosen].T
                targets.append(torch.from_numpy(np.ascontiguousarray(flat)))
                drawn.append(torch.full((len(chosen),), number))
            done += 1
            if on_fit is not None:
                on_fit("window", done, windows)
    labelled = torch.tensor([case.knows(classes) for case in cases])
    if not counts[:, 1:].any():
        raise UserError("the cases label nothing but background; there is nothing to fit to")
    return Samples(torch.cat(features), torch.cat(targets), torch.cat(drawn), labelled, counts)


def _starts(case: Case, window: tuple[int, int, int], overlap: float) -> list[tuple[int, int, int]]:
    along = [
        window_starts(max(size, length), length, overlap)
        for size, length in zip(case.shape, window, strict=True)
    ]
    return [(z, y, x) for z, y, x in itertools.product(*along)]


def _windows(
    case: Case, starts: list[tuple[int, int, int]], window: tuple[int, int, int]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield image ``(C, *window)`` and target ``(K, *window)`` of each window of a case.

    A case smaller than a window lies in it where prediction puts it.
    """
    ends = [(0, 0), *margins(case.shape, window)]
    image = np.pad(np.asarray(case.image), ends, mode="edge")
    for start, target in zip(starts, _targets(case, starts, window), strict=True):
        yield np.ascontiguousarray(image[_place(start, window)], np.float32), target


def _targets(
    case: Case, starts: list[tuple[int, int, int]], window: tuple[int, int, int]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the targets alone, without reading the image."""
    ends = [(0, 0), *margins(case.shape, window)]
    target = np.pad(np.asarray(case.target), ends, constant_values=IGNORED)
    for start in starts:
        yield target[_place(start, window)]


def _place(start: tuple[int, int, int], window: tuple[int, int, int]) -> tuple[slice, ...]:
    return (slice(None), *(slice(a, a + n) for a, n in zip(start, window, strict=True)))


def _count(target: NDArray[np.uint8], classes: int, exclusive: bool) -> NDArray[np.int64]:
    """Count known voxels: background and each class, or all and each region."""
    if exclusive:
        return np.bincount(target.ravel(), minlength=IGNORED + 1)[:classes]
    known = (target != IGNORED).all(axis=0)
    regions = ((target == 1) & known).reshape(len(target), -1).sum(axis=1)
    return np.array([known.sum(), *regions])


def _choose_of_all(
    cases: Sequence[Case],
    layout: list[list[tuple[int, int, int]]],
    window: tuple[int, int, int],
    exclusive: bool,
    bound: int,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Choose voxels of every window; an equal share of each where all of them exceed the bound."""
    windows = sum(len(starts) for starts in layout)
    share = min(1.0, _MOST_VOXELS / (windows * (_BACKGROUND + 4 * _VOXELS)))
    most = (max(1, round(share * _BACKGROUND)), max(1, round(share * _VOXELS)))
    rng = np.random.default_rng([seed, 7])
    chosen = [
        _choose(target, most, rng, exclusive)
        for case, starts in zip(cases, layout, strict=True)
        for target in _targets(case, starts, window)
    ]
    total = sum(map(len, chosen))
    if total <= bound:
        return chosen
    return [rng.choice(one, len(one) * bound // total, replace=False) for one in chosen]


def _choose(
    target: NDArray[np.uint8], most: tuple[int, int], rng: np.random.Generator, exclusive: bool
) -> NDArray[np.int64]:
    """Choose voxels of the background and of each class, or of each combination of regions."""
    known = (target != IGNORED).all(axis=0).ravel()
    flat = target.reshape(len(target), -1)
    if exclusive:
        group = flat[0].astype(np.int64)
    else:
        group = np.zeros(flat.shape[1], np.int64)
        inside = np.flatnonzero((flat == 1).any(axis=0))
        bits = np.packbits(flat[::-1, inside] == 1, axis=0)  # of any number of regions
        rows = np.ascontiguousarray(bits.T).view(f"V{len(bits)}").ravel()
        group[inside] = 1 + np.unique(rows, return_inverse=True)[1]
    chosen = []
    for value in np.unique(group[known]):
        there = np.flatnonzero(known & (group == value))
        limit = most[0] if value == 0 else most[1]
        chosen.append(there if len(there) <= limit else rng.choice(there, limit, replace=False))
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


def _features_at(maps: Sequence[Tensor], at: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Interpolate maps ``(1, C, ...)`` trilinearly at voxels ``(n, 3)``; return ``(n, C)``."""
    size = torch.tensor(window)
    place = ((2 * at + 1) / size - 1).flip(1).to(maps[0].device)[None, :, None, None]
    found = (
        F.grid_sample(x.float(), place, padding_mode="border", align_corners=False) for x in maps
    )
    return torch.cat([x[0, :, :, 0, 0].T for x in found], dim=1)
