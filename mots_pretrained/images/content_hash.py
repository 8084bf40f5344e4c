"""A scan's fingerprint by its voxels, to find the same patient in training and test."""

from __future__ import annotations

import hashlib

import numpy as np

from mots_pretrained.images.volume import Volume


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
    for plane in volume.array.reshape(-1, *volume.array.shape[-2:]):
        # adding zero turns -0.0, which some exporters write, into 0.0
        digest.update((np.ascontiguousarray(plane, dtype="<f4") + np.float32(0)).data)
    return digest.hexdigest()
