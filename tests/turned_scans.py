"""Smooth scans on grids turned about their long axis, for other programs to predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.images.resample import resample
from mots_pretrained.images.volume import Volume, affine_of, write_like


def smooth(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.int16]:
    """CT numbers without small detail, so that resampling loses little."""
    coarse = np.random.default_rng(seed).normal(0, 250, tuple(n // 6 + 2 for n in shape))
    return resample(coarse, shape).astype(np.int16)


def write_turned(
    path: Path, array: NDArray[np.int16], spacing: tuple[float, float, float], turn: float = 0.0
) -> Path:
    """Write a scan whose grid is turned by ``turn`` radians; its folder is made if need be."""
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    path.parent.mkdir(exist_ok=True)
    write_like(path, array, Volume(array, rotation @ affine_of(spacing)), dtype=np.int16)
    return path
