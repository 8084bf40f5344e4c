"""A prediction of a few voxels whose measures can be reckoned by hand."""

from __future__ import annotations

import numpy as np

from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.prediction import Prediction


def prediction(name: str = "ct") -> Prediction:
    """An organ of three voxels of 100 mm3, its tumour, a corner, and a category that is absent."""
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 2, 1:4] = 1, 1, 2
    labels[3, 0, 5] = 3
    scan = np.zeros((4, 5, 6), np.int16)
    scan[1, 2, 1:4] = 10, 20, 60
    volume = Volume.with_spacing(scan, (10.0, 5.0, 2.0), name=name)
    values = {"organ": (1, 2), "tumour": (2,), "corner": (3,), "absent": (4,)}
    return Prediction(labels, volume, values)
