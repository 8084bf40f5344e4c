"""From the values of a label map to the channels of a target (Table 1; Secs. 3.1 and 4.5)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config.checks import LARGEST_LABEL
from mots_pretrained.data.layouts.collection import Classes, exclude_each_other
from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import WIDEST
from mots_pretrained.images.resample import resample_labels
from mots_pretrained.shapes import Size
from mots_pretrained.tasks import IGNORED, Task

Form = Literal["task", "classes", "regions"]

_TOLD = 16  # classes that a message lists


@dataclass(frozen=True)
class Targets:
    """What the values of a label map become.

    Attributes:
        names: Names of the classes, in the order of the target's numbers or channels.
        values: The label values that make up each.
        form: ``"task"``: channels (organ, tumour), of which the tumour wins a shared voxel and
            stays in its organ. ``"classes"``: one channel of class numbers from 1. ``"regions"``:
            one binary channel a class, which may overlap.
        labelled: Which channels are annotated; the others hold zeros. Of one channel of class
            numbers which classes are; one value stands for all.
        ignore: Label value of voxels that count neither way: ``IGNORED`` in every channel.
        background: Further label values that are known and of no class.
    """

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    form: Form = "classes"
    labelled: tuple[bool, ...] = (True,)
    ignore: int | None = None
    background: tuple[int, ...] = ()

    @classmethod
    def of_task(cls, task: Task) -> Targets:
        """Return the targets of a partially labelled collection: organ and tumour."""
        return cls(
            ("organ", "tumour"),
            (task.organ_values, task.tumour_values),
            "task",
            task.labelled,
            background=task.background_values,
        )

    @classmethod
    def of_classes(
        cls,
        classes: Mapping[str, tuple[int, ...]],
        *,
        exclusive: bool | None = None,
        ignore: int | None = None,
    ) -> Targets:
        """Return the targets of downstream classes.

        Args:
            classes: The label values that make up each, in the order of the network's outputs.
            exclusive: Whether they become one map of class numbers, or one binary channel each;
                by default the former, unless any two share a label value.
            ignore: Label value of voxels that count neither way.

        Raises:
            UserError: If there are more classes than a target's numbers.
        """
        if exclusive is None:
            exclusive = exclude_each_other(dict(classes))
        if exclusive and len(classes) >= IGNORED:
            raise UserError(f"at most {IGNORED - 1} classes can be learned, not {len(classes)}")
        form: Form = "classes" if exclusive else "regions"
        labelled = (True,) * (1 if exclusive else len(classes))
        return cls(tuple(classes), tuple(classes.values()), form, labelled, ignore)

    def labelling(self, names: Collection[str] | None) -> Targets:
        """Return the targets of a case that labels these of the classes alone; None: all.

        Example:
            >>> targets = Targets.of_classes({"liver": (1,), "spleen": (2,)})
            >>> targets.labelling(["spleen"]).labelled
            (False, True)
        """
        if names is None or {*self.names} <= {*names}:
            return self
        return replace(self, labelled=tuple(name in names for name in self.names))

    @property
    def known_classes(self) -> tuple[bool, ...]:
        """Of each class whether it is annotated."""
        return self.labelled * (len(self.names) if len(self.labelled) == 1 else 1)

    @property
    def classes(self) -> Classes:
        """Label values by class name."""
        return dict(zip(self.names, self.values, strict=True))

    @property
    def known(self) -> tuple[int, ...]:
        """Every label value that may occur, rising."""
        listed = {0, *self.background, *(value for group in self.values for value in group)}
        return tuple(sorted(listed if self.ignore is None else listed | {self.ignore}))

    def check(self, counts: Mapping[int, int], where: object) -> None:
        """Refuse label values that are in no class; ``where`` names the label map.

        Raises:
            UserError: If there is one.
        """
        known = self.known
        strange = sorted(value for value in counts if value not in known)
        if strange:
            more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
            raise UserError(
                f"{where} holds label value {strange[0]}{more}, which is in no class; known are "
                f"{', '.join(map(str, known))}: {self._way_out(strange)}"
            )

    def _way_out(self, strange: Sequence[int]) -> str:
        """Return what to do about label values of no class; of a few the file of classes to give.

        Example:
            >>> Targets.of_classes({"organ": (1, 2)})._way_out([4])
            'correct the file, or name it by --classes FILE.json, {"organ": [1, 2], "class_4": 4}'
        """
        if self.form == "task":
            return "name it, or correct the file"
        if outside := [value for value in strange if not 1 <= value <= LARGEST_LABEL]:
            return correct_or_ignore(outside[0])
        named = self.classes | {f"class_{value}": (value,) for value in strange}
        if len(named) > _TOLD:
            return "correct the file, or name it, beside all classes, by --classes FILE.json"
        told = {name: own if len(own) > 1 else own[0] for name, own in named.items()}
        return f"correct the file, or name it by --classes FILE.json, {json.dumps(told)}"

    def target(self, labels: NDArray[np.integer], size: Size) -> NDArray[np.uint8]:
        """Make a target of a label map, resampled to ``size``.

        Args:
            labels: ``(D, H, W)`` whole numbers; values of no class are background.
            size: Voxels wanted along (D, H, W).

        Returns:
            ``(K, *size)``: class numbers, or binary channels.

        Example:
            >>> targets = Targets.of_classes({"organ": (1, 2), "tumour": (2,)})
            >>> targets.target(np.array([[[0, 1, 2]]]), (1, 1, 3))[:, 0, 0].tolist()
            [[0, 1, 1], [0, 0, 1]]
        """
        if self.form == "regions":
            masks = (
                _coded(labels, dict.fromkeys(own if known else (), 1))
                for own, known in zip(self.values, self.known_classes, strict=True)
            )
            target = np.stack([resample_labels(mask, size) for mask in masks])
        elif self.form == "classes":
            known = zip(self.values, self.known_classes, strict=True)
            numbers = {v: n for n, (own, is_known) in enumerate(known, 1) if is_known for v in own}
            target = resample_labels(_coded(labels, numbers), size)[None]
        else:
            # One map for both channels: where either could win a voxel the tumour does, and it
            # stays in its organ.
            organ, tumour = self.values
            codes = {v: (v in organ) + 2 * (v in tumour) for v in (*organ, *tumour)}
            both = resample_labels(_coded(labels, codes), size)
            target = np.stack([both & 1, both >> 1])
        if self.ignore is not None:
            unsure = resample_labels(_coded(labels, {self.ignore: 1}), size)
            target[:, unsure == 1] = IGNORED
        return target


def correct_or_ignore(value: int) -> str:
    """Return what to do about a label value that no class can have."""
    return (
        f"correct the file, or, if such voxels count neither way, name {value} as ignore in a "
        "dataset.json of nnU-Net"
    )


def _coded(labels: NDArray[np.integer], codes: Mapping[int, int]) -> NDArray[np.uint8]:
    """Replace label values by codes, those without one by 0."""
    low, high = int(labels.min()), int(labels.max())
    result = np.zeros(labels.shape, np.uint8)
    if high - low > WIDEST:
        for value, code in codes.items():
            result[labels == value] = code
        return result
    table = np.zeros(high - low + 1, np.uint8)
    for value, code in codes.items():
        if low <= value <= high:
            table[value - low] = code
    for plane, coded in zip(labels, result, strict=True):
        coded[:] = table[plane.astype(np.intp) - low]
    return result
