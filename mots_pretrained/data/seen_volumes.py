"""How large each category was in training scans: what a prediction's volume is compared to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig, SeenVolume
from mots_pretrained.data.case import Case


def seen_volumes(cases: Iterable[Case], config: ModelConfig) -> tuple[SeenVolume, ...]:
    """Measure the categories of cases of tasks, on the contract's grid.

    The smallest volume is that of scans whose border does not cut the category; a category that
    is nowhere whole is left out.

    Args:
        cases: Cases of the configuration's tasks.
        config: A network with tasks.

    Returns:
        A range for each category, in the order of the tasks.
    """
    voxel = math.prod(config.preprocessing.spacing) / 1000
    whole: dict[str, list[float]] = defaultdict(list)
    every: dict[str, list[float]] = defaultdict(list)
    without: dict[str, int] = defaultdict(int)
    for case in cases:
        tasks = [config.tasks[index] for index in case.tasks]
        names = [name for task in tasks for name in (task.organ, task.tumour)]
        for name, labelled, mask in zip(names, case.labelled, case.target, strict=True):
            if name is None or not labelled:
                continue
            volume = float((mask > 0).sum()) * voxel
            if not volume:
                without[name] += 1
                continue
            every[name].append(volume)
            if not _touches_border(mask):
                whole[name].append(volume)
    return tuple(
        SeenVolume(
            name,
            round(min(whole[name]), 1),
            round(max(every[name]), 1),
            len(every[name]),
            without[name],
        )
        for task in config.tasks
        for name in task.categories
        if whole[name]
    )


def _touches_border(mask: NDArray[Any]) -> bool:
    return any(mask.take(end, axis).any() for axis in range(3) for end in (0, -1))
