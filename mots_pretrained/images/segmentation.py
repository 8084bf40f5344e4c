"""Label maps out, in the formats asked for, and beside them what their values mean."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.files import write_json
from mots_pretrained.images.dicom_seg import write_dicom_seg
from mots_pretrained.images.label_names import nifti_extension, write_label_files
from mots_pretrained.images.rtstruct import write_rtstruct
from mots_pretrained.images.seg_nrrd import write_seg_nrrd
from mots_pretrained.images.volume import Volume, write_like

LABELS = "labels.json"
"""Name of the file that says which values make up each category of a folder's label maps."""

DICOM_FORMATS = ("dicom-seg", "rtstruct")
"""Formats that refer to the DICOM series that was segmented."""


def _write_nifti(path: Path, labels: NDArray[Any], like: Volume, values: Mapping[str, int]) -> None:
    extension = nifti_extension(values)
    write_like(path, labels, like, dtype=labels.dtype, extension=extension)


_Writer = Callable[[Path, NDArray[Any], Volume, Mapping[str, int]], None]

FORMATS: dict[str, tuple[str, _Writer]] = {
    "nifti": ("{}_seg.nii.gz", _write_nifti),
    "nrrd": ("{}.seg.nrrd", write_seg_nrrd),
    "dicom-seg": ("{}_seg.dcm", write_dicom_seg),
    "rtstruct": ("{}_rtstruct.dcm", write_rtstruct),
    "nnunet": ("{}.nii.gz", _write_nifti),  # NIfTI as nnU-Net names it
}
"""Formats of label maps: how a scan's file is named, and what writes it."""


def check_formats(formats: Sequence[str], *, dicom: bool) -> None:
    """Refuse formats that there are not, none at all, and those of DICOM where the scan is not.

    Raises:
        UnknownNameError: If there is no such format.
        UserError: If none is given, or one needs a DICOM series.
    """
    for name in formats:
        if name not in FORMATS:
            raise UnknownNameError(f"unknown format {name!r}; allowed are {', '.join(FORMATS)}")
        if name in DICOM_FORMATS and not dicom:
            raise UserError(
                f"format {name} refers to a DICOM series, and this input is none; give the folder "
                "or zip of a series, or choose nifti or nrrd"
            )
    if not formats:
        raise UserError(f"no format given; allowed are {', '.join(FORMATS)}")


def check_writable(scan: Volume, formats: Sequence[str]) -> None:
    """Refuse a scan of which label maps can't be written in these formats, before it is segmented.

    The DICOM formats are tried: what their libraries want of a series' headers, they alone know.

    Raises:
        UserError: As `write_segmentation` would, of the scan.
    """
    check_formats(formats, dicom=scan.series is not None)
    tried = [name for name in formats if name in DICOM_FORMATS]
    if not tried:
        return
    labels = np.zeros(scan.shape, np.uint8)
    labels[0, 0, 0] = 1
    with tempfile.TemporaryDirectory() as folder:
        for name in tried:
            FORMATS[name][1](Path(folder, "trial.dcm"), labels, scan, {"trial": 1})


def write_segmentation(
    folder: str | os.PathLike[str],
    labels: NDArray[Any],
    like: Volume,
    label_values: Mapping[str, Sequence[int]],
    *,
    formats: Sequence[str] = ("nifti",),
) -> dict[str, Path]:
    """Write a label map on its scan's grid, and its values' meaning into files of the folder.

    Beside the label map lie ``labels.json`` and, with names and colours, ITK-SNAP's
    ``labels_itksnap.txt`` and 3D Slicer's ``labels.ctbl``.

    Args:
        folder: An existing folder.
        labels: ``(D, H, W)`` on the grid of ``like``, of the type to store.
        like: The scan.
        label_values: Values that make up each category, its own first.
        formats: Names of ``FORMATS``.

    Returns:
        The file of each format.

    Raises:
        UnknownNameError: If there is no such format.
        UserError: If the folder holds label maps whose values mean something else, or a format
            needs a DICOM series or a package that is missing.
    """
    check_formats(formats, dicom=like.series is not None)
    check_label_values(folder, label_values)
    values = {name: own[0] for name, own in label_values.items()}
    files = {name: Path(folder) / FORMATS[name][0].format(like.name) for name in formats}
    # what can fail first, so that a scan that fails leaves nothing behind
    for name in sorted(files, key=lambda name: name not in DICOM_FORMATS):
        FORMATS[name][1](files[name], labels, like, values)
    write_json(Path(folder) / LABELS, labels_content(label_values))
    write_label_files(folder, values)
    return files


def labels_content(label_values: Mapping[str, Sequence[int]]) -> dict[str, int | list[int]]:
    """Return what labels.json says: the value of each category, or the list of its values.

    Example:
        >>> labels_content({"organ": (1, 2), "tumour": (2,)})
        {'organ': [1, 2], 'tumour': 2}
    """
    return {name: v[0] if len(v) == 1 else [*v] for name, v in label_values.items()}


def check_label_values(
    folder: str | os.PathLike[str], label_values: Mapping[str, Sequence[int]]
) -> None:
    """Refuse a folder whose labels.json, if there is one, gives other values than these.

    Raises:
        UserError: If it does.
    """
    path = Path(folder) / LABELS
    if not path.is_file():
        return
    try:
        there = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        there = None
    here = labels_content(label_values)
    if there != here:
        raise UserError(
            f"{path} belongs to label maps of other values than these: {_difference(there, here)}; "
            "give another folder, or remove the old results"
        )


def _difference(there: Any, here: Mapping[str, int | list[int]]) -> str:
    """Say what the first name is whose values differ."""
    if not isinstance(there, dict):
        return "nothing readable"
    either = (*here, *there)
    name = next(n for n in either if n not in here or n not in there or here[n] != there[n])
    told = [f"{side[name]}"[:40] if name in side else "not there" for side in (there, here)]
    return f"{name:.80} was {told[0]} and is {told[1]}"
