"""Augmentation: scaling, rotation, mirroring and appearance (Sec. 4.1), in numpy and scipy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Range = tuple[float, float]
Engine = Literal["scipy", "batchgeneratorsv2"]


@dataclass(frozen=True)
class Augmentation:
    """How often and how strongly; the published code's numbers, in units of the scaled image.

    Attributes:
        scale: Probability and range of one common zoom.
        rotation: Probability and largest angle in degrees, about a random axis. The paper names
            rotation, the published code has none.
        mirror: Axes to mirror with probability 1/2: 0 depth, 1 height, 2 width. Width swaps the
            patient's sides, so leave it out where a class is lateral. The published code mirrors
            all three; here width alone, the one that keeps a body plausible.
        noise: Probability and largest variance of Gaussian noise.
        blur: Probability and range of sigma in voxels.
        brightness: Probability and range of a factor.
        shift: Probability and standard deviation of an added constant.
        contrast: Probability and range of a factor about the patch's mean.
        low_resolution: Probability and range of the zoom that the patch is put through and back.
        gamma: Probability and range of the exponent, within the patch's own range.
        engine: What changes the appearance: numpy and scipy, or the library batchgeneratorsv2
            (see ``augment_library``), the kept successor of the paper's.
    """

    scale: tuple[float, Range] = (0.2, (0.85, 1.25))
    rotation: tuple[float, float] = (0.0, 15.0)
    mirror: tuple[int, ...] = (2,)
    noise: tuple[float, float] = (0.1, 0.1)
    blur: tuple[float, Range] = (0.2, (0.5, 1.0))
    brightness: tuple[float, Range] = (0.15, (0.75, 1.25))
    shift: tuple[float, float] = (0.15, 0.1)
    contrast: tuple[float, Range] = (0.15, (0.75, 1.25))
    low_resolution: tuple[float, Range] = (0.25, (0.5, 1.0))
    gamma: tuple[float, Range] = (0.15, (0.7, 1.5))
    engine: Engine = "scipy"


def draw_matrix(
    settings: Augmentation, rng: np.random.Generator, *, spacing: tuple[float, float, float]
) -> NDArray[np.float64] | None:
    """Draw a zoom and a rotation.

    Args:
        settings: How often and how strongly.
        rng: Where the chance comes from.
        spacing: Millimetres along (D, H, W); a rotation turns the body, not the voxel grid.

    Returns:
        ``(3, 3)``, a step in the patch to a step in the scan, in voxels; None if neither came up.
    """
    zoom, angle = 1.0, 0.0
    if rng.random() < settings.scale[0]:
        zoom = rng.uniform(*settings.scale[1])
    if rng.random() < settings.rotation[0]:
        angle = np.deg2rad(rng.uniform(-settings.rotation[1], settings.rotation[1]))
    if zoom == 1.0 and angle == 0.0:
        return None
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross  # Rodrigues
    return np.diag(1 / np.array(spacing)) @ turn @ np.diag(spacing) / zoom


def draw_mirror(settings: Augmentation, rng: np.random.Generator) -> tuple[int, ...]:
    """Draw which of the allowed axes are mirrored, each with probability 1/2."""
    return tuple(axis for axis in settings.mirror if rng.random() < 0.5)


def change_appearance(
    image: NDArray[np.float32], settings: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Put noise, blur, brightness, contrast, lost resolution and gamma on each channel.

    Args:
        image: ``(C, D, H, W)``, scaled as the contract says; not changed.
        settings: How often and how strongly.
        rng: Where the chance comes from.

    Returns:
        A new ``(C, D, H, W)`` float32 image.

    Raises:
        ValueError: If the engine is not installed.
    """
    if settings.engine == "batchgeneratorsv2":
        from mots_pretrained.data.augment_library import change_appearance as by_library

        return by_library(image, settings, rng)
    return np.stack([_change(channel, settings, rng) for channel in image]).astype(np.float32)


def _change(
    image: NDArray[np.float32], settings: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Change one channel; the order is the published one."""
    if rng.random() < settings.noise[0]:
        sigma = np.sqrt(rng.uniform(0, settings.noise[1]))
        image = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    if rng.random() < settings.blur[0]:
        image = ndimage.gaussian_filter(image, rng.uniform(*settings.blur[1]), truncate=3)
    if rng.random() < settings.brightness[0]:
        image = image * rng.uniform(*settings.brightness[1])
    if rng.random() < settings.shift[0]:
        image = image + rng.normal(0, settings.shift[1])
    if rng.random() < settings.contrast[0]:
        mean = image.mean()
        image = mean + (image - mean) * rng.uniform(*settings.contrast[1])
    if rng.random() < settings.low_resolution[0]:
        image = _lose_resolution(image, rng.uniform(*settings.low_resolution[1]))
    if rng.random() < settings.gamma[0]:
        low, high = image.min(), image.max()
        share = (image - low) / max(high - low, 1e-6)
        image = low + share ** rng.uniform(*settings.gamma[1]) * (high - low)
    return image


def _lose_resolution(image: NDArray[np.float32], zoom: float) -> NDArray[np.float32]:
    """Keep the nearest voxel of a coarser grid and interpolate back, on the same field of view."""
    coarse = [max(1, round(size * zoom)) for size in image.shape]
    steps = np.array(image.shape) / coarse
    shift = (steps - 1) / 2
    small = ndimage.affine_transform(image, steps, shift, coarse, order=0, mode="nearest")
    return ndimage.affine_transform(
        small, 1 / steps, -shift / steps, image.shape, order=1, mode="nearest"
    )
