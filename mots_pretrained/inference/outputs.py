"""What a prediction leaves in a folder: label map, names of its values, volumes, masks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mots_pretrained.files import file_names, inside, write_json
from mots_pretrained.images.segmentation import labels_content, write_segmentation
from mots_pretrained.inference.prediction import Prediction


def save_prediction(
    prediction: Prediction, folder: str | os.PathLike[str], *, masks: bool = False
) -> dict[str, Any]:
    """Write a prediction's files, making the folder if need be; each appears whole or not at all.

    Written are ``NAME_seg.nii.gz``, the values of its categories in ``labels.json`` (which
    ``mots evaluate`` reads), and ``NAME_volumes.json``; with masks also
    ``NAME_masks/CATEGORY.nii.gz``. Scans of one folder share their ``labels.json``.

    Args:
        prediction: What was found.
        folder: Where to write.
        masks: Whether to write each category's own mask, an organ's with its tumours.

    Returns:
        What the file of volumes says: ``scan``, ``segmentation`` (a path), ``spacing_mm`` along
        (D, H, W), ``labels`` as in labels.json, ``volumes_ml`` of each category in the label map,
        with all that lies in it, and ``mask_volumes_ml`` of the categories' own masks.

    Raises:
        UserError: If the folder holds label maps whose values mean something else.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = prediction.volume.name
    segmentation = write_segmentation(
        folder, prediction.labels, prediction.volume, prediction.label_values
    )
    if masks:
        place = folder / f"{name}_masks"
        place.mkdir(exist_ok=True)
        for category, file in file_names(prediction.names).items():
            prediction.save_mask(category, inside(folder, place / f"{file}.nii.gz"))
    report = {
        "scan": name,
        "segmentation": str(segmentation),
        "spacing_mm": list(prediction.spacing),
        "labels": labels_content(prediction.label_values),
        "volumes_ml": _rounded(prediction.volumes),
        "mask_volumes_ml": _rounded(prediction.mask_volumes),
    }
    write_json(folder / f"{name}_volumes.json", report)
    return report


def _rounded(amounts: dict[str, float]) -> dict[str, float]:
    return {name: round(amount, 3) for name, amount in amounts.items()}
