"""The published post-processing: keep the largest components, and tumours inside their organ."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.tasks import Task, all_categories

Mask = NDArray[np.bool_]


@runtime_checkable
class MaskStore(Protocol):
    """What masks are read from and written back to: a dict will do."""

    def __contains__(self, name: object) -> bool: ...
    def __getitem__(self, name: str) -> Mask: ...
    def __setitem__(self, name: str, mask: Mask) -> None: ...


@dataclass(frozen=True)
class Cleaning:
    """What is kept of one category.

    Attributes:
        inside: Category that it must lie in, or None.
        largest: How many of its largest components are kept; None for all.
        above: Components of no more voxels than this are dropped.
    """

    inside: str | None = None
    largest: int | None = None
    above: int = 0


PUBLISHED_CLEANING: dict[str, Cleaning] = {
    # Before the liver itself is cleaned: the tumour must lie in the liver as predicted.
    "hepatic_vessel_tumour": Cleaning(inside="liver"),
    "liver": Cleaning(largest=1),
    "liver_tumour": Cleaning(inside="liver", above=50),
    "kidney": Cleaning(largest=2),
    "kidney_tumour": Cleaning(inside="kidney", largest=1),
    "pancreas": Cleaning(largest=1),
    "pancreas_tumour": Cleaning(inside="pancreas"),
    "colon_tumour": Cleaning(largest=1),
    "lung_tumour": Cleaning(largest=1),
    "spleen": Cleaning(largest=1),
}
"""By category, in the order of work; hepatic vessels are left as they are."""


def cleans(names: Collection[str]) -> bool:
    """Whether cleaning may change a mask, if these categories are predicted.

    Example:
        >>> cleans(["liver"]), cleans(["hepatic_vessel", "hepatic_vessel_tumour"])
        (True, False)
    """
    rules = [rule for name, rule in PUBLISHED_CLEANING.items() if name in names]
    return any(rule.largest is not None or rule.above or rule.inside in names for rule in rules)


def tasks_to_clean(tasks: Sequence[Task], chosen: Collection[str]) -> tuple[Task, ...]:
    """Return the tasks chosen and those whose organs cleaning them looks at, in their order.

    Args:
        tasks: The network's tasks.
        chosen: Names of some.
    """
    names = all_categories(task for task in tasks if task.name in chosen)
    around = {PUBLISHED_CLEANING[name].inside for name in names if name in PUBLISHED_CLEANING}
    return tuple(t for t in tasks if t.name in chosen or around & {*t.categories})


def postprocess(masks: MaskStore) -> None:
    """Clean masks in place as the published testing does; voxels are only ever removed.

    Args:
        masks: Binary ``(D, H, W)`` masks by category, each organ with its tumour. Categories that
            the published rules do not know, or whose organ was not predicted, stay as they are.

    Example:
        >>> masks = {"spleen": np.array([[[True, True, False, True]]])}
        >>> postprocess(masks)
        >>> masks["spleen"].tolist()
        [[[True, True, False, False]]]
    """
    for name, cleaning in PUBLISHED_CLEANING.items():
        if name not in masks:
            continue
        mask = masks[name]
        if cleaning.inside is not None and cleaning.inside in masks:
            mask = mask & masks[cleaning.inside]
        masks[name] = keep_components(mask, cleaning.largest, cleaning.above)


def keep_components(mask: Mask, largest: int | None = None, above: int = 0) -> Mask:
    """Keep the largest 18-connected components, or those above a size.

    Args:
        mask: ``(D, H, W)``.
        largest: How many to keep, None for all; of equally large ones the first found.
        above: Components of no more voxels than this are dropped.

    Returns:
        A new mask.
    """
    from scipy import ndimage

    if not mask.any() or (largest is None and not above):
        return mask
    filled = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(line[0], line[-1] + 1) for line in filled)
    components, count = ndimage.label(mask[box], ndimage.generate_binary_structure(3, 2))
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    sizes[0] = 0
    keep = sizes > above
    if largest is not None:
        keep[np.argsort(-sizes, kind="stable")[largest:]] = False
    result = np.zeros_like(mask)
    result[box] = keep[components]
    return result
