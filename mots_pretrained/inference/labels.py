"""From probabilities to one label map and, beside it, each category's own mask (Sec. 3.5).

A tumour wins over an organ and a vessel over the liver; of nested regions the smaller wins; else
the larger probability does. A category with a threshold t of its own competes by the probability
whose log-odds are lower by those of t, so that 0.5 is its threshold too. Where post-processing
takes a voxel from the category that won it, the probabilities are gone: of what is left there the
highest rank wins, of equal ones the first, and what loses to another is the last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.images.resample import resample_part, resample_planes
from mots_pretrained.inference.parts import extent
from mots_pretrained.inference.sliding_window import THRESHOLD
from mots_pretrained.memory import Scratch
from mots_pretrained.shapes import Size
from mots_pretrained.tasks import all_categories

Box = tuple[slice, slice]
"""Part of a plane, rows and columns."""


@dataclass(frozen=True)
class LabelRule:
    """Which categories there are, what they are called and which one wins where two meet.

    Attributes:
        names: Categories in the order of the probabilities, the background left out.
        values: Value of each category in the label map; 0 of one that has a mask alone, for others
            to be cleaned by.
        rank: A category of higher rank wins; of equal rank the more probable one.
        beats: Pairs of positions (winner, loser) within one rank.
        exclusive: Whether the probabilities are a softmax, channel 0 the background.
        thresholds: Threshold of each category; none means 0.5 for all. Of exclusive ones a
            category beats the background where its share of both lies above.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    rank: tuple[int, ...]
    beats: tuple[tuple[int, int], ...] = ()
    exclusive: bool = False
    thresholds: tuple[float, ...] = ()

    @property
    def odds(self) -> tuple[float, ...]:
        """Factor on the odds of each category by which its threshold becomes 0.5."""
        return tuple((1 - t) / t for t in self.thresholds) or (1.0,) * len(self.names)

    @property
    def shown(self) -> tuple[str, ...]:
        """The categories of the label map."""
        return tuple(name for name, value in zip(self.names, self.values, strict=True) if value)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the label map: unsigned 8-bit, unless there are more than 255 values."""
        return np.dtype(np.uint8 if max(self.values) < 256 else np.uint16)


def task_rule(
    config: ModelConfig, tasks: tuple[str, ...], *, shown: tuple[str, ...] | None = None
) -> LabelRule:
    """Rule of a partially labelled network: its annotated categories, numbered over all tasks.

    Args:
        config: The network's configuration.
        tasks: Names of the tasks predicted.
        shown: Names of those that the label map shows; None for all.

    Example:
        >>> task_rule(ModelConfig(), ("liver", "spleen")).values
        (1, 2, 11)
    """
    own = {name: values[0] for name, values in config.label_values.items()}
    chosen = [task for task in config.tasks if task.name in tasks]
    hidden = all_categories(task for task in chosen if task.name not in (shown or tasks))
    names = all_categories(chosen)
    tumours = {task.tumour for task in chosen}
    pair = ("hepatic_vessel", "liver")
    return LabelRule(
        names=names,
        values=tuple(0 if name in hidden else own[name] for name in names),
        rank=tuple(int(name in tumours) for name in names),
        beats=((names.index(pair[0]), names.index(pair[1])),) if {*pair} <= {*names} else (),
        thresholds=_thresholds(config, names),
    )


def class_rule(config: ModelConfig) -> LabelRule:
    """Rule of a segmenter: its classes' own values; if they overlap, the smallest region's wins.

    A region is the smaller the fewer values it is made of; of equal ones the earlier wins.

    Example:
        >>> regions = {"whole": (2, 1, 4), "core": (1, 4), "enhancing": (4,)}
        >>> class_rule(ModelConfig(architecture="segmenter", exclusive=False,
        ...     classes=tuple(regions), class_values=tuple(regions.values()))).rank
        (0, 1, 2)
    """
    values = config.label_values
    largest_first = sorted(range(len(values)), key=lambda k: (-len(values[config.classes[k]]), -k))
    return LabelRule(
        names=config.classes,
        values=tuple(values[name][0] for name in config.classes),
        rank=tuple(0 if config.exclusive else largest_first.index(k) for k in range(len(values))),
        exclusive=config.exclusive,
        thresholds=_thresholds(config, config.classes),
    )


def _thresholds(config: ModelConfig, names: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(config.thresholds.get(name, THRESHOLD) for name in names)


class Masks:
    """One binary mask a category, each with eight voxels of a row in a byte.

    Args:
        names: The categories.
        shape: Voxels along (D, H, W).
        scratch: Where they lie, as ``"masks"``.
    """

    def __init__(
        self, names: tuple[str, ...], shape: Size, *, scratch: Scratch | None = None
    ) -> None:
        self._names, self._width = names, shape[2]
        size = (len(names), *shape[:2], -(-self._width // 8))
        self._bits = (scratch or Scratch()).zeros("masks", size, np.uint8, sparse=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The categories."""
        return self._names

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        bits = self._bits[self._names.index(name)]
        return np.unpackbits(bits, axis=-1, count=self._width).view(bool)

    def __setitem__(self, name: str, mask: NDArray[np.bool_]) -> None:
        self._bits[self._names.index(name)] = np.packbits(mask, axis=-1)

    def put(self, index: int, box: tuple[slice, ...], mask: NDArray[np.bool_]) -> None:
        """Write a category's voxels in a box, whose columns are those of whole bytes."""
        *there, columns = box
        bytes_ = slice(columns.start // 8, -(-columns.stop // 8))
        self._bits[index][*there, bytes_] = np.packbits(mask, axis=-1)


def decide(
    probabilities: Tensor,
    rule: LabelRule,
    size: tuple[int, int],
    labels: NDArray[Any],
    masks: Masks | None,
    start: int,
) -> None:
    """Resample planes of probabilities in plane, and write what wins into the label map.

    A category that nowhere in these planes comes near winning is not resampled at all, and where
    none does the label map is not written: pages of zeros that nobody writes take no memory.

    Args:
        probabilities: ``(K, n, H, W)``; K counts the background first if the rule is exclusive.
        rule: Which category wins.
        size: (H, W) of the label map.
        labels: ``(D, *size)``, zeros in planes ``start`` to ``start + n``, which are written.
        masks: Written likewise; not needed if the rule is exclusive.
        start: First plane.
    """
    planes = slice(start, start + probabilities.shape[1])
    if rule.exclusive:
        labels[planes] = _largest_class(probabilities, rule, size)
        return
    score = np.zeros((probabilities.shape[1], *size), np.float32)
    winners = {winner for winner, _ in rule.beats}
    over: dict[int, NDArray[np.bool_]] = {}
    thresholds = rule.thresholds or (THRESHOLD,) * len(rule.names)
    boxes = _reach(probabilities, thresholds, size)
    for index in sorted(boxes, key=lambda k: (k not in winners, k)):
        threshold, box = thresholds[index], boxes[index]
        there = (slice(None), *box)
        score_here = score[there]
        probability = resample_part(probabilities[index], size, box).numpy()
        inside = probability > threshold
        if masks is not None:
            masks.put(index, (planes, *box), inside)
        if not rule.values[index]:
            continue
        if index in winners:
            over[index] = np.zeros(score.shape, bool)
            over[index][there] = inside
        for winner, loser in rule.beats:
            if loser == index and winner in over:
                inside = inside & ~over[winner][there]
        candidate = _candidate(probability, inside, rule.odds[index], rule.rank[index])
        np.copyto(labels[planes][there], rule.values[index], where=candidate > score_here)
        np.maximum(score_here, candidate, out=score_here)


def _candidate(
    probability: NDArray[np.float32], inside: NDArray[np.bool_], odds: float, rank: int
) -> NDArray[np.float32]:
    """Return what a category competes by: its probability as if its threshold were 0.5, and rank.

    Zero where it is not `inside`.
    """
    candidate: NDArray[np.float32] = (probability + 2 * rank) * inside
    if odds != 1:
        own = probability[inside]
        candidate[inside] = own * odds / (1 - own + own * odds) + 2 * rank
    return candidate


def _reach(
    probabilities: Tensor, thresholds: tuple[float, ...], size: tuple[int, int]
) -> dict[int, Box]:
    """Return where planes may exceed thresholds once they are resampled to (H, W) of `size`.

    What lies between voxels is never more than the largest of them. Boxes begin at multiples of
    eight voxels and end there or at the plane's end, as bytes of masks do.

    Args:
        probabilities: ``(K, n, H, W)``.
        thresholds: One a category.
        size: (H, W).

    Returns:
        One box for all planes by each category that exceeds its threshold somewhere.
    """
    most = probabilities.amax(dim=1)
    limits = torch.tensor(thresholds)[:, None]
    along = ((most.amax(dim=2) > limits).tolist(), (most.amax(dim=1) > limits).tolist())
    boxes = {}
    for index, lines in enumerate(zip(*along, strict=True)):
        if any(lines[0]):
            rows, columns = map(_box, lines, size)
            boxes[index] = (rows, columns)
    return boxes


def _box(over: list[bool], wanted: int) -> slice:
    """Return the part of a line of `wanted` voxels that those over a threshold reach."""
    there, voxels = extent(over), wanted / len(over)  # an old voxel's, and one more on both sides
    start = max(0, math.floor((there.start - 1) * voxels / 8) * 8)
    return slice(start, min(wanted, math.ceil((there.stop + 1) * voxels / 8) * 8))


def _largest_class(probabilities: Tensor, rule: LabelRule, size: tuple[int, int]) -> NDArray[Any]:
    """Take the most probable class; the background, channel 0, on a tie."""
    best = resample_planes(probabilities[0], size).numpy().copy()
    value = np.zeros(best.shape, rule.dtype)
    least = 1 / (1 + sum(1 / odds for odds in rule.odds))  # less cannot be the largest anywhere
    for index, (channel, odds) in enumerate(zip(probabilities[1:], rule.odds, strict=True)):
        if channel.max() * odds > least:
            probability = resample_planes(channel, size).numpy()
            if odds != 1:
                probability = probability * odds
            np.copyto(value, rule.values[index], where=probability > best)
            np.maximum(best, probability, out=best)
    return value
