"""BCV (Sec. 4.5): its folders, its 13 organs, and its 30 labelled scans split 15 to 15."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mots_pretrained.data.layouts.collection import Collection, after_folder, numbered
from mots_pretrained.data.layouts.pairs import pair_files
from mots_pretrained.images.scan_files import list_volumes, stem
from mots_pretrained.tasks import BCV_ORGANS

BCV_SCANS: tuple[str, ...] = tuple(f"img{n:04d}" for n in (*range(1, 11), *range(21, 41)))
"""The labelled scans of BCV, whose numbers leave out the 20 for the online evaluation."""

BCV_TRAIN: tuple[str, ...] = (
    "img0001", "img0002", "img0003", "img0008", "img0010",
    "img0023", "img0024", "img0025", "img0026", "img0029",
    "img0030", "img0032", "img0035", "img0036", "img0037",
)  # fmt: skip
"""The half to train on (Sec. 4.5), drawn once with seed 0; the paper does not name its own."""

BCV_VALIDATION: tuple[str, ...] = (
    "img0004", "img0005", "img0006", "img0007", "img0009",
    "img0021", "img0022", "img0027", "img0028", "img0031",
    "img0033", "img0034", "img0038", "img0039", "img0040",
)  # fmt: skip
"""The other half, to validate with."""


def find_bcv(folder: Path) -> Collection | None:
    """Find ``img/imgNNNN.nii.gz`` with ``label/labelNNNN.nii.gz``; None in another layout.

    The names tell: folders of these names that hold others are anybody's, and their values are
    not the 13 organs.

    Raises:
        UserError: If a scan lies there twice.
    """
    images, labels = folder / "img", folder / "label"
    if not (images.is_dir() and labels.is_dir()):
        return None
    scans = [re.fullmatch(r"img(\d{4})", stem(path)) for path in list_volumes(images)]
    there = {stem(path) for path in list_volumes(labels)}
    if not scans or not all(scan and f"label{scan[1]}" in there for scan in scans):
        return None
    cases = pair_files(images, labels)
    # only its own scans are called by its name, which what is published tells
    name = "BCV" if {case.name for case in cases} <= {*BCV_SCANS} else after_folder(folder.name)
    return Collection(name, folder, cases, classes=numbered(BCV_ORGANS), channels=("ct",))


def split_bcv(seed: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Draw which half of BCV's labelled scans trains and which validates.

    Returns:
        15 names to train on and 15 to validate with; seed 0 gives ``BCV_TRAIN`` and
        ``BCV_VALIDATION``.
    """
    order = np.random.default_rng([seed, 2015]).permutation(len(BCV_SCANS)).tolist()
    half = len(BCV_SCANS) // 2
    train, validation = (
        tuple(BCV_SCANS[i] for i in sorted(part)) for part in (order[:half], order[half:])
    )
    return train, validation
