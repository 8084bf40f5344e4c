"""What a prediction leaves in a folder: label map, names of its values, volumes, masks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mots_pretrained.inference.predictor import Prediction


def save_prediction(
    prediction: Prediction,
    folder: str | os.PathLike[str],
    *,
    masks: bool = False,
    volumes: str = "volumes.json",
) -> dict[str, Any]:
    """Write a prediction's files, making the folder if need be; each appears whole or not at all.

    Written are ``NAME_seg.nii.gz``, the values of its categories in ``labels.json`` (which
    ``mots evaluate`` reads), and the volumes; with masks also ``NAME_masks/CATEGORY.nii.gz``.

    Args:
        prediction: What was found.
        folder: Where to write.
        masks: Whether to write each category's own mask, an organ's with its tumours.
        volumes: Name of the JSON file of volumes.

    Returns:
        What the file of volumes says: ``scan``, ``segmentation`` (a path), ``spacing_mm`` along
        (D, H, W), ``labels``, ``volumes_ml`` counted in the label map, and ``mask_volumes_ml`` of
        the categories' own masks.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = prediction.volume.name
    segmentation = folder / f"{name}_seg.nii.gz"
    prediction.save(segmentation)
    if masks:
        (folder / f"{name}_masks").mkdir(exist_ok=True)
        for category in prediction.names:
            prediction.save_mask(category, folder / f"{name}_masks" / f"{category}.nii.gz")
    report = {
        "scan": name,
        "segmentation": str(segmentation),
        "spacing_mm": list(prediction.spacing),
        "labels": dict(prediction.values),
        "volumes_ml": _rounded(prediction.volumes),
        "mask_volumes_ml": _rounded(prediction.mask_volumes),
    }
    _write(folder / "labels.json", report["labels"])
    _write(folder / volumes, report)
    return report


def _rounded(amounts: dict[str, float]) -> dict[str, float]:
    return {name: round(amount, 3) for name, amount in amounts.items()}


def _write(path: Path, value: object) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
