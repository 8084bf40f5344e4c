"""From a labelled scan to a case that patches are cut from: both on the contract's grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts.labelled import Classes, LabelledScan
from mots_pretrained.data.patches import Case
from mots_pretrained.errors import UserError
from mots_pretrained.images.preprocess import contract_shape, preprocess
from mots_pretrained.images.resample import resample_labels
from mots_pretrained.images.volume import SAME_GRID, Volume, read_channels, read_volume
from mots_pretrained.tasks import IGNORED


def read_case(
    scan: LabelledScan,
    contract: Preprocessing,
    classes: Classes,
    *,
    exclusive: bool = True,
    ignore: int | None = None,
) -> Case:
    """Read a scan and its labels and bring both to a contract; see ``make_case``.

    Raises:
        ValueError: If the label map lies on another grid than the scan, has several channels, or
            holds a value that is in no class; the message names the file.
    """
    volume = read_channels(scan.images)
    if volume.channels != len(contract.channels):
        raise UserError(
            f"{scan.images[0]}: case {scan.name} has {volume.channels} channel(s), wanted are "
            f"{len(contract.channels)} ({', '.join(contract.channels)})"
        )
    labels = read_volume(scan.label, dtype=np.int32)
    if labels.array.ndim != 3:
        raise UserError(f"{scan.label} has {labels.channels} channels; a label map has one")
    if labels.apart(volume) > SAME_GRID:
        raise UserError(
            f"{scan.label} lies on another grid than {scan.images[0]} ({labels.shape} and "
            f"{volume.shape}, or elsewhere in the scanner); bring the labels to the scan's grid"
        )
    known = {0, *(value for values in classes.values() for value in values)}
    strange = sorted({int(value) for value in np.unique(labels.array)} - known - {ignore})
    if strange:
        raise UserError(
            f"{scan.label} holds label value {strange[0]}, which is in no class; known are "
            f"{', '.join(map(str, sorted(known)))}: name it, or correct the file"
        )
    return make_case(
        volume,
        labels.array,
        contract,
        classes,
        exclusive=exclusive,
        ignore=ignore,
        name=scan.name,
    )


def make_case(
    volume: Volume,
    labels: NDArray[np.integer],
    contract: Preprocessing,
    classes: Classes,
    *,
    exclusive: bool = True,
    ignore: int | None = None,
    name: str | None = None,
) -> Case:
    """Bring a scan and its label map to a contract.

    Args:
        volume: The scan, in canonical orientation.
        labels: ``(D, H, W)`` label map on the scan's grid; values of no class are background.
        contract: What the network expects.
        classes: The values that make up each class, in the order of the network's outputs.
        exclusive: Whether the target is one map of class numbers, 1 for the first class, or one
            binary channel a class.
        ignore: Label value of voxels that count neither way; ``IGNORED`` in every target channel.
        name: What to call the case; the volume's name by default.
    """
    if exclusive and len(classes) >= IGNORED:
        raise UserError(f"at most {IGNORED - 1} classes can be learned, not {len(classes)}")
    image = preprocess(volume, contract)
    size = contract_shape(volume, contract)
    masks = [np.isin(labels, values) for values in classes.values()]
    if exclusive:
        numbers = np.zeros(labels.shape, np.uint8)
        for number, mask in enumerate(masks, start=1):
            numbers[mask] = number
        target = resample_labels(numbers, size)[None]
    else:
        target = np.stack([resample_labels(mask.astype(np.uint8), size) for mask in masks])
    if ignore is not None:
        unsure = resample_labels((labels == ignore).astype(np.uint8), size)
        target[:, unsure == 1] = IGNORED
    return Case(image, target, (True,) * len(target), (), name or volume.name)
