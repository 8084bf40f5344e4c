"""A training case: a scan brought to a model's contract, with its labels on the same grid."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.errors import UserError
from mots_pretrained.images.nifti import check_finite
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.reading import count_values, read_channels, read_labels
from mots_pretrained.images.resample import resample
from mots_pretrained.images.volume import SAME_GRID, Volume, straightened
from mots_pretrained.parse import check_listed
from mots_pretrained.shapes import Size
from mots_pretrained.tasks import IGNORED

FOREGROUND_CAP = 10_000
"""Voxel positions listed of each class; of more, a random choice that the case's name seeds."""


@dataclass(frozen=True, eq=False)
class Case:
    """A scan brought to a model's contract, with its labels on the same grid.

    Attributes:
        image: ``(C, D, H, W)`` float32, scaled as the contract says; here and below, anything
            with ``shape``, ``dtype`` and slices will do.
        target: ``(K, D, H, W)`` uint8: one channel a binary target, or a single channel of class
            values; K is 0 for a scan without labels.
        labelled: ``(K,)``, which target channels are annotated; the others hold zeros. Of a single
            channel of class values which classes are, from class 1 on; one value stands for all.
        tasks: Indices of the case's tasks in the model's task list, two channels each; empty
            where the target is no MOTS task's.
        name: What to call it in messages.
    """

    image: NDArray[np.float32]
    target: NDArray[np.uint8]
    labelled: tuple[bool, ...] = (True,)
    tasks: tuple[int, ...] = ()
    name: str = "case"

    @property
    def shape(self) -> Size:
        """Voxels along (D, H, W)."""
        depth, height, width = self.image.shape[1:]
        return depth, height, width

    def knows(self, classes: int) -> tuple[bool, ...]:
        """Return of each of so many classes whether the case labels it."""
        return self.labelled * classes if len(self.labelled) == 1 else self.labelled

    @cached_property
    def foreground(self) -> tuple[NDArray[np.int64], ...]:
        """Flat voxel positions of every present class: channel by channel, value by value.

        At most FOREGROUND_CAP of each, the same in memory and on disk.
        """
        return tuple(listed for *_, listed in listed_classes(self))

    @property
    def voxels(self) -> dict[tuple[int, int], int]:
        """Voxels of every present class, by its target channel and value."""
        return {(n, value): len(where) for n, value, where in present_classes(self.target)}


def check_labelled(cases: Sequence[Case], classes: Sequence[str]) -> None:
    """Refuse training cases of which none labels one of the classes.

    Raises:
        UserError: Naming the class; or a case that labels another number of classes.
    """
    for case in cases:
        if len(case.labelled) not in (1, len(classes)):
            raise UserError(
                f"{case.name} says of {len(case.labelled)} classes whether it labels them; there "
                f"are {len(classes)}"
            )
    known = [any(told) for told in zip(*(case.knows(len(classes)) for case in cases), strict=True)]
    if nobody := [name for name, told in zip(classes, known, strict=True) if not told]:
        raise UserError(nobody_labels(nobody, len(cases)))


def nobody_labels(classes: Sequence[str], cases: int) -> str:
    """Return the message that none of the training cases labels some classes."""
    return (
        f"none of the {cases} training cases labels {', '.join(classes)}; leave that out of the "
        "classes, or train on a case that labels it"
    )


def present_classes(target: NDArray[np.uint8]) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yield channel, value and flat voxel positions of every class that a target holds.

    Args:
        target: ``(K, D, H, W)``; 0 and ``IGNORED`` are no class.
    """
    for number, channel in enumerate(target):
        positions = np.flatnonzero(channel)
        values = channel.ravel()[positions]
        for value in np.flatnonzero(np.bincount(values, minlength=1)):
            if value != IGNORED:
                yield number, int(value), positions[values == value]


def listed_classes(case: Case) -> Iterator[tuple[int, int, int, NDArray[np.int64]]]:
    """Yield channel, value, voxels and listed positions of every class that a case in memory has.

    Positions are flat, rising, at most FOREGROUND_CAP.
    """
    rng = np.random.default_rng([*case.name.encode()])
    for channel, value, positions in present_classes(case.target):
        listed = positions
        if len(positions) > FOREGROUND_CAP:
            listed = np.sort(rng.choice(positions, FOREGROUND_CAP, replace=False))
        yield channel, value, len(positions), listed


def make_case(
    volume: Volume,
    labels: NDArray[np.integer],
    contract: Preprocessing,
    classes: Mapping[str, tuple[int, ...]] | Targets,
    *,
    exclusive: bool | None = None,
    ignore: int | None = None,
    labelled: Collection[str] | None = None,
    name: str | None = None,
) -> Case:
    """Bring a scan and its label map, both in memory, to a contract.

    Tilted slices are brought to a straight grid first, as `images.reading.read_volume` does.

    Args:
        volume: The scan, in canonical orientation.
        labels: ``(D, H, W)`` whole numbers on the scan's grid; values of no class are background.
        contract: What the network expects.
        classes: The label values that make up each class, in the order of the network's outputs;
            or the targets themselves.
        exclusive: As in ``Targets.of_classes``.
        ignore: Label value of voxels that count neither way; ``IGNORED`` in every target channel.
        labelled: Names of the classes that the label map tells of, all by default. Nothing is
            learned of the others from this case.
        name: What to call the case; the volume's name by default.

    Raises:
        UserError: If the scan has NaN or infinite voxels, the labels have another shape than it or
            are no whole numbers, or ``labelled`` names what is no class; if its axes are sheared
            otherwise than by tilted slices.

    Example:
        >>> scan = Volume.with_spacing(np.zeros((4, 4, 4), np.int16) - 1000, (1.5, 0.8, 0.8))
        >>> make_case(scan, np.ones((4, 4, 4), int), Preprocessing(), {"x": (1,)}).target.sum()
        64
    """
    if not isinstance(classes, Targets):
        classes = Targets.of_classes(classes, exclusive=exclusive, ignore=ignore)
    check_finite(volume.array, volume.name)
    _check_labels(labels, volume)
    _check_labelled_names(labelled, classes.names)
    classes = classes.labelling(labelled)
    volume, labels = _straightened(volume, labels)
    image = preprocess(volume, contract)
    depth, height, width = image.shape[1:]
    target = classes.target(labels, (depth, height, width))
    if volume.tilt is not None:  # nothing was labelled where the straight grid leaves the scan
        inside = resample(volume.tilt.inside().astype(np.float32), (depth, height, width))
        target[:, inside < 0.5] = IGNORED
    return Case(image, target, classes.labelled, (), name or volume.name)


def _straightened(
    volume: Volume, labels: NDArray[np.integer]
) -> tuple[Volume, NDArray[np.integer]]:
    """Bring a scan and its labels to a straight grid; those of files are there already."""
    straight = straightened(volume)
    if straight is volume or straight.tilt is None:
        return volume, labels
    return straight, straight.tilt.straighten(labels, labels=True)


def _check_labels(labels: NDArray[np.generic], volume: Volume) -> None:
    if labels.shape != volume.shape:
        raise UserError(
            f"the labels have the shape {labels.shape}, {volume.name} has {volume.shape} along "
            "(D, H, W); bring the labels to the scan's grid and its order of axes"
        )
    if labels.dtype.kind not in "biu" and not np.array_equal(labels, np.rint(labels)):
        raise UserError(f"the labels of {volume.name} must be whole numbers")


def _check_labelled_names(labelled: Collection[str] | None, classes: Sequence[str]) -> None:
    check_listed("labelled", labelled)
    strange = [name for name in labelled or () if name not in classes]
    if strange:
        raise UserError(f"labelled: {strange[0]!r} is no class; they are {', '.join(classes)}")


def read_case(files: CaseFiles, contract: Preprocessing, targets: Targets | None) -> Case:
    """Read a scan with its labels and bring both to a contract.

    Raises:
        UserError: As `read_files` does.
    """
    targets = None if targets is None else targets.labelling(files.labelled)
    volume, labels = read_files(files, targets, channels=contract.channels)
    return bring_to_contract(volume, labels, contract, targets, name=files.name)


def bring_to_contract(
    volume: Volume,
    labels: NDArray[np.integer] | None,
    contract: Preprocessing,
    targets: Targets | None,
    *,
    name: str,
) -> Case:
    """Make a case of what `read_files` gave; without labels it has no target channel."""
    if targets is not None and labels is not None:
        return make_case(volume, labels, contract, targets, name=name)
    image = preprocess(volume, contract)
    return Case(image, np.zeros((0, *image.shape[1:]), np.uint8), (), (), name)


def read_files(
    files: CaseFiles,
    targets: Targets | None,
    *,
    channels: tuple[str, ...],
    digests: tuple[Any, Any] = (None, None),
) -> tuple[Volume, NDArray[np.integer] | None]:
    """Read a scan and, if there are targets, its label map.

    Args:
        files: Where they lie.
        targets: What the label values become; None reads no labels.
        channels: Names of the channels that the scan must have.
        digests: Hashes of ``hashlib`` that are fed the scan's and the labels' files as they are
            read.

    Returns:
        The scan in canonical orientation, and ``(D, H, W)`` whole numbers on its grid.

    Raises:
        UserError: If the channels are others, or the label map lies on another grid than the
            scan, has several channels, or holds a value that is in no class; the message names
            the file.
    """
    volume = read_channels(files.images, digest=digests[0])
    if volume.channels != len(channels):
        raise UserError(
            f"{files.images[0]}: case {files.name} has {volume.channels} channel(s), wanted are "
            f"{len(channels)} ({', '.join(channels)})"
        )
    if targets is None:
        return volume, None
    if files.label is not None:
        labels = _labels_on(volume, files, files.label, digests[1])
        targets.check(count_values(labels), files.label)
        return volume, labels
    return volume, _of_masks(volume, files, targets, digests[1])


def _labels_on(volume: Volume, files: CaseFiles, path: Path, digest: Any) -> NDArray[np.integer]:
    """Read a label map that must lie on the scan's grid."""
    labels = read_labels(path, digest=digest)
    if labels.apart(volume) > SAME_GRID:
        raise UserError(
            f"{path} lies on another grid than {files.images[0]} ({labels.shape} and "
            f"{volume.shape}, or elsewhere in the scanner); bring the labels to the scan's grid"
        )
    return labels.array


def _of_masks(
    volume: Volume, files: CaseFiles, targets: Targets, digest: Any
) -> NDArray[np.integer]:
    """Draw the masks of a case into one label map; where two overlap the smaller one is seen."""
    labels = np.zeros(volume.shape, np.int32)
    sizes = np.zeros(1 + max(value for own in targets.values for value in own), np.int64)
    for (name, (value, *_)), known in zip(
        targets.classes.items(), targets.known_classes, strict=True
    ):
        if not known:
            continue
        if name not in files.masks:
            raise UserError(f"{files.name} has no mask {name}; it has {', '.join(files.masks)}")
        mask = _labels_on(volume, files, files.masks[name], digest) != 0
        sizes[value] = mask.sum()
        mask &= (labels == 0) | (sizes[labels] > sizes[value])
        labels[mask] = value
    return labels
