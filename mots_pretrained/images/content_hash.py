"""A scan's fingerprints by its voxels, to find the same patient in training and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.images.volume import Volume

_FACTORS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
"""Odd numbers that spread a value's bits over 64."""


def content_hash(volume: Volume) -> str:
    """Hash what a volume shows: its voxels in canonical order, and their number along each axis.

    Compression, the stored type, the order of the file's axes and all else in the header
    (spacing, origin, form codes, units) make no difference; any change of a voxel does.

    Args:
        volume: A scan or label map in canonical orientation.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> one = Volume.with_spacing(np.eye(2).repeat(2).reshape(2, 2, 2), (1, 1, 1))
        >>> other = Volume.with_spacing(one.array.astype(np.int16), (5, 1, 1))
        >>> content_hash(one) == content_hash(other)
        True
    """
    digest = hashlib.sha256(repr(volume.array.shape).encode())
    for plane in _planes(volume):
        digest.update(plane.data)
    return digest.hexdigest()


def values_hash(volume: Volume) -> str:
    """Hash which values a volume has and how often, wherever they lie, and its size.

    A copy that its header mirrors or turns has the same one, and no other scan in practice.

    Args:
        volume: A scan or label map in canonical orientation.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> one = Volume.with_spacing(np.arange(24).reshape(2, 3, 4), (1, 1, 1))
        >>> other = Volume.with_spacing(one.array[:, ::-1], (1, 1, 1))
        >>> values_hash(one) == values_hash(other), content_hash(one) == content_hash(other)
        (True, False)
    """
    total = np.zeros(1, np.uint64)
    for plane in _planes(volume):
        mixed = (
            plane.view("<u4") * _FACTORS[0]
        )  # of 64 bits, as all here: what is beyond falls away
        mixed ^= mixed >> np.uint64(29)
        mixed *= _FACTORS[1]
        mixed ^= mixed >> np.uint64(32)
        total += mixed.sum(dtype=np.uint64)
    known = repr((sorted(volume.array.shape), total.tolist()))
    return hashlib.sha256(known.encode()).hexdigest()


def _planes(volume: Volume) -> Iterator[NDArray[np.float32]]:
    for plane in volume.array.reshape(-1, *volume.array.shape[-2:]):
        # adding zero turns -0.0, which some exporters write, into 0.0
        yield np.ascontiguousarray(plane, dtype="<f4") + np.float32(0)
