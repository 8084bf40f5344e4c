"""Small scans whose voxels all differ, and all the axis orders that a file may have."""

from __future__ import annotations

import itertools

import numpy as np

AFFINE = np.array([[1.5, 0, 0, -20], [0, 2.5, 0, 7], [0, 0, 4.0, 100], [0, 0, 0, 1]])
"""Axes to the right, the front and the head, of three spacings."""

ORDERS = [
    "".join(codes)
    for names in itertools.permutations(("LR", "PA", "IS"))
    for codes in itertools.product(*names)
]
"""All 48 axis orders, by nibabel's codes."""


def ramp(shape: tuple[int, ...] = (5, 6, 7)) -> np.ndarray:
    """Whole numbers from 0 on."""
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
