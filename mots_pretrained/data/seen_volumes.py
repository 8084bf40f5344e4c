"""How large each category was in training scans: what a prediction's volume is compared to."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

from mots_pretrained.config import ModelConfig, SeenVolume
from mots_pretrained.data.case import Case


def seen_volumes(cases: Iterable[Case], config: ModelConfig) -> tuple[SeenVolume, ...]:
    """Measure the categories of training cases, on the contract's grid.

    The smallest volume is that of scans whose border does not cut the category; a category that
    is nowhere whole is left out. Of stored cases no more than their outermost voxels is read.

    Args:
        cases: Cases of the configuration's tasks or classes.
        config: A network with tasks, or a segmenter.

    Returns:
        A range for each category, in the order of the configuration.
    """
    voxel = math.prod(config.preprocessing.spacing) / 1000
    whole: dict[str, list[float]] = defaultdict(list)
    every: dict[str, list[float]] = defaultdict(list)
    without: dict[str, int] = defaultdict(int)
    for case in cases:
        voxels = case.voxels
        for name, channel, value in _categories(case, config):
            volume = voxels.get((channel, value), 0) * voxel
            if not volume:
                without[name] += 1
                continue
            every[name].append(volume)
            if not _touches_border(case, channel, value):
                whole[name].append(volume)
    names = config.categories
    return tuple(
        SeenVolume(
            name,
            round(min(whole[name]), 3),
            round(max(every[name]), 3),
            len(every[name]),
            without[name],
        )
        for name in names
        if whole[name]
    )


def with_seen_volumes(config: ModelConfig, cases: Iterable[Case]) -> ModelConfig:
    """Return a configuration that says how large categories were in a training's cases.

    Those that the cases tell nothing of keep what an earlier training has left.
    """
    seen = {one.category: one for one in (*config.seen_volumes, *seen_volumes(cases, config))}
    return dataclasses.replace(config, seen_volumes=tuple(seen.values()))


def _categories(case: Case, config: ModelConfig) -> Iterator[tuple[str, int, int]]:
    """Yield each labelled category, the target channel that it is in, and its value there."""
    if config.classes:
        known = case.knows(len(config.classes))
        for index, name in enumerate(config.classes):
            if known[index]:
                yield (name, 0, index + 1) if config.exclusive else (name, index, 1)
        return
    tasks = [config.tasks[index] for index in case.tasks]
    names = [name for task in tasks for name in (task.organ, task.tumour)]
    for channel, (category, labelled) in enumerate(zip(names, case.labelled, strict=True)):
        if category is not None and labelled:
            yield category, channel, 1


def _touches_border(case: Case, channel: int, value: int) -> bool:
    for axis, size in enumerate(case.shape):
        for end in (0, size - 1):
            face = [slice(None)] * 3
            face[axis] = slice(end, end + 1)
            if (case.target[(slice(channel, channel + 1), *face)] == value).any():
                return True
    return False
