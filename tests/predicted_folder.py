"""A folder as ``mots predict`` leaves it, made of phantoms and their own labels."""

from __future__ import annotations

import base64
import dataclasses
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from torso_once import torso_once

from mots_pretrained.config import ModelConfig, SeenVolume
from mots_pretrained.files import write_json
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.inference.outputs import save_prediction
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.phantom import task_target

CONFIG = dataclasses.replace(
    ModelConfig(), seen_volumes=(SeenVolume("spleen", 1.0, 2.0, 140, 3),)
)  # every spleen is larger


def predict_into(folder: Path, *names: str) -> Path:
    """Write scans into ``folder/in`` and results into ``folder/out``, which is returned."""
    (folder / "in").mkdir(parents=True)
    for number, name in enumerate(names):
        phantom = torso_once(100 + number, domain="liver", shape=(24, 32, 32))
        values = {n: CONFIG.label_values[n] for n in ("liver", "kidney", "pancreas", "spleen")}
        labels = np.zeros(phantom.labels.shape, np.uint8)
        for category, (own, *_) in values.items():
            labels[task_target(phantom.labels, category)[0]] = own
        image = phantom.image.round().astype(np.int16)
        volume = Volume.with_spacing(image, phantom.spacing, name=name)
        file = folder / "in" / f"{name}.nii.gz"
        write_like(file, image, volume, dtype=np.int16)
        found = Prediction(labels, volume, values)
        save_prediction(found, folder / "out", files=[file], config=CONFIG, model="a <i>model</i>")
    return folder / "out"


def write_volumes(folder: Path, name: str, ml: float) -> Path:
    """Write a file of volumes of a scan with a liver, and nothing else."""
    path = folder / f"{name}_volumes.json"
    told = {
        "scan": name, "segmentation": "x", "spacing_mm": [1, 1, 1], "labels": {"liver": 1},
        "volumes_ml": {"liver": ml}, "categories": {"liver": {"volume_ml": ml, "median": None}},
    }  # fmt: skip
    write_json(path, told)
    return path


def volume_of(text: str) -> nib.Nifti1Image:
    """Read a NIfTI file that a page holds as base64."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))
