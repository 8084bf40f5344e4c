"""This package's resampling among those that nnU-Net finds by name, in all of its processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.images.preprocess import zscore
from mots_pretrained.images.resample import resample, shape_at
from mots_pretrained.shapes import Size

RESAMPLING = "resample_as_mots_pretrained"
"""Name of the function in plans.json."""


def resample_channels(
    data: Any,
    new_shape: Sequence[int],
    current_spacing: Sequence[float],
    new_spacing: Sequence[float],
    to_contract: bool = False,
    standardise: bool = False,
) -> NDArray[np.float32]:
    """Resample images or probabilities ``(C, D, H, W)``, as nnU-Net calls such a function.

    Args:
        data: Array or tensor.
        new_shape: Voxels wanted along (D, H, W).
        current_spacing: Millimetres along (D, H, W).
        new_spacing: Millimetres wanted.
        to_contract: Whether the spacings say how many voxels come, by this package's rounding.
        standardise: Whether to z-score each channel before, as a contract of MRI asks.
    """
    depth, height, width = (int(n) for n in new_shape)
    if to_contract:
        before: Size = tuple(data.shape[1:])
        depth, height, width = shape_at(before, tuple(current_spacing), tuple(new_spacing))
    size: Size = (depth, height, width)
    channels = [np.asarray(channel, np.float32) for channel in data]
    if standardise:
        channels = [zscore(channel, "scan", index) for index, channel in enumerate(channels)]
    return np.stack([resample(channel, size) for channel in channels])


def register() -> None:
    """Put the function where nnU-Net looks resampling functions up; needs nnunetv2."""
    from nnunetv2.preprocessing.resampling import no_resampling

    setattr(no_resampling, RESAMPLING, resample_channels)


class Registration:
    """Registers the function in whatever process it is unpickled in."""

    def __reduce__(self) -> tuple[Callable[[], Registration], tuple[()]]:
        return _registered, ()


def _registered() -> Registration:
    register()
    return Registration()
