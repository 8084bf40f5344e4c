"""Label maps as the online evaluations of BCV and BraTS take them (Sec. 4.5, Tables 11 and 12)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.images.volume import write_like
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.tasks import BCV_ORGANS

# Inner regions are written over outer ones.
SUBMISSIONS: dict[str, dict[str, int]] = {
    "bcv": {name: value for value, name in enumerate(BCV_ORGANS, start=1)},
    "brats": {"whole_tumour": 2, "tumour_core": 1, "enhancing_tumour": 4},
    "brats-2023": {"whole_tumour": 2, "tumour_core": 1, "enhancing_tumour": 3},
}
"""What each evaluation wants: the value of a class, in the order in which they are written."""


def check_submission(kind: str, classes: Sequence[str]) -> None:
    """Refuse an evaluation that there is not, or whose classes a network does not give.

    Raises:
        KeyError: If there is no such evaluation.
        ValueError: If a class that it wants is missing.
    """
    if kind not in SUBMISSIONS:
        raise UnknownNameError(f"unknown submission {kind!r}; allowed are {', '.join(SUBMISSIONS)}")
    missing = [name for name in SUBMISSIONS[kind] if name not in classes]
    if missing:
        raise UserError(
            f"a submission to {kind} needs the class {missing[0]!r}, which this model lacks; it "
            f"has {', '.join(classes) or 'none'}"
        )


def save_submission(prediction: Prediction, folder: str | os.PathLike[str], kind: str) -> Path:
    """Write a prediction as an online evaluation takes it, on the scan's own grid.

    BCV: ``label0061.nii.gz`` for ``img0061.nii.gz``, values 0 to 13. BraTS: ``CASE.nii.gz``,
    values 0, 1 (core that does not enhance), 2 (oedema) and 4 (enhancing), which is 3 from 2023 on.

    Args:
        prediction: What was found.
        folder: Where to write; made if need be.
        kind: A name of ``SUBMISSIONS``.

    Returns:
        The file.

    Raises:
        KeyError: If there is no such evaluation.
        ValueError: If a class that it wants is missing, or the scan's name has no number.
    """
    check_submission(kind, prediction.names)
    name = _name(prediction.volume.name, kind)
    labels = np.zeros(prediction.labels.shape, np.uint8)
    for category, value in SUBMISSIONS[kind].items():
        labels[prediction.mask(category)] = value
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_like(folder / name, labels, prediction.volume)
    return folder / name


def _name(scan: str, kind: str) -> str:
    if kind.startswith("brats"):
        return f"{re.sub('_t1$|[-_]t1n$', '', scan)}.nii.gz"
    number = re.fullmatch(r"\D*(\d{4})", scan)
    if number is None:
        raise UserError(f"{scan} has no number of four digits, as BCV's scans have: img0061")
    return f"label{number[1]}.nii.gz"
