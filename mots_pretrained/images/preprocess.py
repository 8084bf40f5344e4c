"""From a scan to a network's input: spacing, CT numbers and channels by the contract (Sec. 4.1)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import Preprocessing
from mots_pretrained.errors import UserError
from mots_pretrained.images.hounsfield import why_not_hounsfield
from mots_pretrained.images.resample import resampled_slabs, shape_at
from mots_pretrained.images.volume import Volume
from mots_pretrained.shapes import Size

_LARGEST = 1 << 31  # voxels; far above any scan, far below what exhausts memory


class NoAirWarning(UserWarning):
    """A scan has no number as low as air: it is no CT, or one that was clipped."""


def preprocess(volume: Volume, contract: Preprocessing) -> NDArray[np.float32]:
    """Bring a scan to a contract: resample, then clip and scale CT numbers, or z-score MRI.

    MRI is z-scored over the voxels that are not zero, channel by channel; zero stays zero.

    Args:
        volume: The scan; its orientation is canonical already.
        contract: What the network expects.

    Returns:
        ``(C, D, H, W)`` at the contract's spacing, or as near to it as whole voxels over the
        same field of view come.

    Raises:
        ValueError: If the channels are not the contract's, or the scan's spacing is absurd.

    Warns:
        UserWarning: If a scan is plainly no CT in Hounsfield units where one is expected.

    Example:
        >>> volume = Volume.with_spacing(np.full((8, 8, 8), 325, np.int16), (3.0, 1.6, 1.6))
        >>> preprocess(volume, Preprocessing()).shape
        (1, 16, 16, 16)
    """
    stream = PlaneStream(volume, contract)
    result = np.empty(stream.shape, np.float32)
    for start, planes in stream.slabs:
        result[:, start : start + planes.shape[1]] = planes
    return result


class PlaneStream:
    """What `preprocess` returns, made from feet to head while it is asked for.

    Args:
        volume: As in `preprocess`.
        contract: Likewise.

    Attributes:
        shape: ``(C, D, H, W)``.
        slabs: Pairs of first plane and ``(C, n, H, W)``, without gaps, made when they are taken.

    Raises:
        ValueError: As `preprocess` does.

    Warns:
        UserWarning: As `preprocess` does.
    """

    def __init__(self, volume: Volume, contract: Preprocessing) -> None:
        size = contract_shape(volume, contract)
        channels = [*volume.array] if volume.array.ndim == 4 else [volume.array]
        self.shape = (len(channels), *size)
        if contract.intensity == "ct":
            for channel in channels:
                reason = why_not_hounsfield(channel)
                if reason:
                    may_be_clipped = not why_not_hounsfield(channel, clipped=True)
                    warnings.warn(
                        f"{volume.name} does not look like a CT in Hounsfield units: {reason}; the "
                        "result may be meaningless",
                        NoAirWarning if may_be_clipped else UserWarning,
                        stacklevel=3,
                    )
        else:
            channels = [zscore(c, volume.name, index) for index, c in enumerate(channels)]
        self.slabs = _slabs(channels, size, contract)
        self._held = np.empty((len(channels), 0, *size[1:]), np.float32)
        self._first = 0

    def planes(self, first: int, stop: int) -> NDArray[np.float32]:
        """Return ``(C, stop - first, H, W)``; planes before ``first`` are not held any more."""
        parts = [self._held[:, first - self._first :]]
        count = parts[0].shape[1]
        while count < stop - first:
            parts.append(next(self.slabs)[1])
            count += parts[-1].shape[1]
        self._held, self._first = np.concatenate(parts, axis=1), first
        return self._held[:, : stop - first]


def _slabs(
    channels: list[NDArray[Any]], size: Size, contract: Preprocessing
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Resample all channels side by side, and scale CT numbers."""
    for slabs in zip(*(resampled_slabs(channel, size) for channel in channels), strict=True):
        start, planes = slabs[0][0], np.stack([slab for _, slab in slabs])
        if contract.intensity == "ct":
            scale_hounsfield(planes, contract.clip)
        yield start, planes


def contract_shape(volume: Volume, contract: Preprocessing) -> Size:
    """Return the voxels along (D, H, W) of a scan at its contract's spacing.

    Raises:
        ValueError: If the channels are not the contract's, or the scan's spacing is absurd.
    """
    if volume.channels != len(contract.channels):
        raise UserError(
            f"{volume.name} has {_count(volume.channels)}, the model expects "
            f"{_count(len(contract.channels))} ({', '.join(contract.channels)}); give one file "
            "a channel in that order, or one 4D file"
        )
    size = shape_at(volume.shape, volume.spacing, contract.spacing)
    if math.prod(size) > _LARGEST:
        extent = " x ".join(
            f"{n * step / 1000:.3g}" for n, step in zip(volume.shape, volume.spacing, strict=True)
        )
        raise UserError(
            f"{volume.name} would cover {extent} m by its header; correct its spacing (in mm)"
        )
    return size


def lowest_value(contract: Preprocessing) -> float:
    """Return what surrounds a scan in its contract's scale: air, or the zero around a brain."""
    return -1.0 if contract.intensity == "ct" else 0.0


def scale_hounsfield(image: NDArray[np.float32], clip: tuple[float, float]) -> None:
    """Clip CT numbers and scale them to [-1, 1], in place.

    Example:
        >>> image = np.array([-1000, 0, 325], np.float32)
        >>> scale_hounsfield(image, (-325, 325))
        >>> image.tolist()
        [-1.0, 0.0, 1.0]
    """
    low, high = clip
    np.clip(image, low, high, out=image)
    image -= (low + high) / 2
    image /= (high - low) / 2


def zscore(channel: NDArray[Any], name: str, index: int) -> NDArray[np.float32]:
    """Return a channel less its mean, by its standard deviation, over voxels that are not zero.

    Args:
        channel: ``(D, H, W)``.
        name: What the scan is called in a warning.
        index: The channel's number, for that.

    Warns:
        UserWarning: If it holds one value only.
    """
    image = channel.astype(np.float32)
    inside = image != 0
    values = image[inside]
    spread = float(values.std(dtype=np.float64)) if values.size else 0.0
    if spread == 0.0:
        warnings.warn(
            f"{name}: channel {index + 1} holds one value only; is the file right?", stacklevel=3
        )
        return np.zeros_like(image)
    image[inside] = (values - values.mean(dtype=np.float64)) / spread
    return image


def _count(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"
