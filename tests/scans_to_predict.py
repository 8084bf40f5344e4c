"""Scans of noise, and the configuration of a small network that segments them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from small_networks import small

from mots_pretrained.config import Preprocessing

CONFIG = small(
    preprocessing=Preprocessing(spacing=(4.0, 3.0, 3.0), patch=(32, 32, 32), window=(32, 32, 32))
)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2.5, 0, -12], [0, 0, 5.0, 100], [0, 0, 0, 1]])


def ct(shape: tuple[int, ...] = (24, 26, 14), seed: int = 0) -> np.ndarray:
    """Noise with air in it, as CT numbers have."""
    array = np.random.default_rng(seed).normal(0, 300, shape).astype(np.int16)
    array.flat[0] = -1000
    return array


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path
