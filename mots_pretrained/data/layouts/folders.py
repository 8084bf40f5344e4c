"""Labelled scans in the folder layouts that fine-tuning takes: BCV, BraTS, Decathlon, nnU-Net."""

from __future__ import annotations

import os
from pathlib import Path

from mots_pretrained.data.layouts.bcv import find_bcv
from mots_pretrained.data.layouts.brats import find_brats
from mots_pretrained.data.layouts.dataset_json import DESCRIPTION, find_described
from mots_pretrained.data.layouts.labelled import Classes, LabelledFolder, LabelledScan, numbered
from mots_pretrained.data.layouts.pairs import pair_files
from mots_pretrained.errors import MissingFileError, UserError

__all__ = ["Classes", "LabelledFolder", "LabelledScan", "find_scans", "numbered"]

_PLAIN = (("images", "labels"), ("imagesTr", "labelsTr"), ("image", "label"))
_LAYOUTS = (
    "img/ and label/ (BCV), HGG/ and LGG/ (BraTS), a dataset.json (Decathlon, nnU-Net), or "
    "images/ and labels/"
)


def find_scans(root: str | os.PathLike[str]) -> LabelledFolder:
    """Find the labelled cases of a folder in one of the known layouts.

    - Decathlon or nnU-Net: ``dataset.json``, ``imagesTr`` and ``labelsTr``; one file a channel
      (``X_0000.nii.gz``, ``X_0001.nii.gz``) or all in one.
    - BCV: ``img/imgNNNN.nii.gz`` and ``label/labelNNNN.nii.gz``, 13 organs.
    - BraTS 2018: ``HGG/CASE/CASE_t1.nii.gz`` and so on, ``LGG`` likewise, three nested regions.
    - Plain: ``images`` and ``labels`` with the same file names.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the layout is unknown, or an image has no label; the message names it.
    """
    root = Path(root)
    if not root.is_dir():
        raise MissingFileError(f"no such folder: {root}")
    if (root / DESCRIPTION).is_file():
        return find_described(root)
    if (bcv := find_bcv(root)) is not None:
        return bcv
    for images, labels in _PLAIN:
        if (root / images).is_dir() and (root / labels).is_dir():
            return LabelledFolder(pair_files(root / images, root / labels))
    if (brats := find_brats(root)) is not None:
        return brats
    raise UserError(f"{root} holds no labelled scans in a known layout; wanted is {_LAYOUTS}")
