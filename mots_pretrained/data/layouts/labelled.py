"""What a folder of labelled scans says of itself, whatever its layout (Sec. 3.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Classes = dict[str, tuple[int, ...]]
"""The label values that make up each class, by name; several for regions that overlap."""


@dataclass(frozen=True)
class LabelledScan:
    """Where one case lies.

    Attributes:
        name: What to call it.
        images: The scan, or one file a channel in order.
        label: Its label map.
    """

    name: str
    images: tuple[Path, ...]
    label: Path


@dataclass(frozen=True)
class LabelledFolder:
    """What a folder says of itself.

    Attributes:
        scans: The labelled cases, by name.
        classes: Values by class name; None where the folder does not say.
        channels: Names of the input channels; None where the folder does not say.
        ignore: Label value of voxels that are to count neither way; None where there is none.
    """

    scans: tuple[LabelledScan, ...]
    classes: Classes | None = None
    channels: tuple[str, ...] | None = None
    ignore: int | None = None


def numbered(names: Sequence[str]) -> Classes:
    """Return classes whose values are 1, 2 and so on.

    Example:
        >>> numbered(("liver", "spleen"))
        {'liver': (1,), 'spleen': (2,)}
    """
    return {name: (value,) for value, name in enumerate(names, start=1)}


def exclude_each_other(classes: Classes) -> bool:
    """Tell whether no label value belongs to two classes, as it does where regions are nested.

    Example:
        >>> exclude_each_other({"organ": (1, 2), "tumour": (2,)})
        False
    """
    values = [value for group in classes.values() for value in group]
    return len({*values}) == len(values)
