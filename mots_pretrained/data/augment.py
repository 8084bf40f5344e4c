"""Augmentation: scaling, rotation, mirroring and appearance (Sec. 4.1), by batchgeneratorsv2."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]


@dataclass(frozen=True)
class Augmentation:
    """How often and how strongly; the published code's numbers, in units of the scaled image.

    Every probability is a sample's. Scale, contrast and gamma are drawn as the published library
    does: below 1 and above 1 equally often.

    Attributes:
        scale: Probability and range of the patch's field of view: above 1 things become smaller.
        rotation: Probability and largest angle in degrees, about a random axis. The paper names
            rotation, the published code has none.
        mirror: Axes to mirror with probability 1/2: 0 depth, 1 height, 2 width. Width swaps the
            patient's sides, so leave it out where a class is lateral. The published code mirrors
            all three; here width alone, the one that keeps a body plausible.
        noise: Probability and largest standard deviation of Gaussian noise.
        blur: Probability and range of sigma in voxels.
        brightness: Probability and range of a factor.
        shift: Probability and standard deviation of an added constant.
        contrast: Probability and range of a factor about the patch's mean; its range stays.
        low_resolution: Probability and range of the zoom that the patch is put through and back.
        gamma: Probability and range of the exponent; mean and deviation stay.
        channels: Probability of each channel of a sample that is blurred, shifted or loses
            resolution; the others take all channels, each with numbers of its own.
        orders: Splines through image and target when scaled or turned; see ``patches.extract``.
        border: Image beyond the patch's own field of view when it is scaled; None reads on in the
            scan.
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
    channels: float = 0.5
    orders: tuple[int, int] = (1, 0)
    border: float | None = None


PUBLISHED = Augmentation(mirror=(0, 1, 2), orders=(3, 1), border=0.0)
"""The published code's: all three axes mirrored, cubic splines, zero beyond a scaled patch."""


def draw_matrix(
    settings: Augmentation, rng: np.random.Generator, *, spacing: tuple[float, float, float]
) -> NDArray[np.float64] | None:
    """Draw a scale and a rotation.

    Args:
        settings: How often and how strongly.
        rng: Where the chance comes from.
        spacing: Millimetres along (D, H, W); a rotation turns the body, not the voxel grid.

    Returns:
        ``(3, 3)``, a step in the patch to a step in the scan, in voxels; None if neither came up.
    """
    scale, angle = 1.0, 0.0
    if rng.random() < settings.scale[0]:
        low, high = settings.scale[1]
        if low < 1 and rng.random() < 0.5:
            scale = rng.uniform(low, min(1.0, high))
        else:
            scale = rng.uniform(max(1.0, low), max(1.0, high))
    if rng.random() < settings.rotation[0]:
        angle = np.deg2rad(rng.uniform(-settings.rotation[1], settings.rotation[1]))
    if scale == 1.0 and angle == 0.0:
        return None
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross  # Rodrigues
    return np.diag(1 / np.array(spacing)) @ turn @ np.diag(spacing) * scale


def draw_mirror(settings: Augmentation, rng: np.random.Generator) -> tuple[int, ...]:
    """Draw which of the allowed axes are mirrored, each with probability 1/2."""
    return tuple(axis for axis in settings.mirror if rng.random() < 0.5)


def change_appearance(
    image: NDArray[np.float32], settings: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Put noise, blur, brightness, contrast, lost resolution and gamma on an image.

    Args:
        image: ``(C, D, H, W)``, scaled as the contract says; not changed.
        settings: How often and how strongly.
        rng: Where the chance comes from; torch's and numpy's global generators stay as they are.

    Returns:
        A new ``(C, D, H, W)`` float32 image.
    """
    import torch

    with _chance_of(rng):
        changed = _transforms(settings)(image=torch.from_numpy(image.astype(np.float32)))["image"]
    return changed.numpy()


@contextmanager
def _chance_of(rng: np.random.Generator) -> Iterator[None]:
    """Let the global generators, which the library draws from, follow ``rng`` for a while.

    One thread only: sums of another number of threads may differ in their last bit, and a patch
    shall be the same from a worker process and from the main one.
    """
    import torch

    numpy_state, threads = np.random.get_state(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        np.random.seed(int(rng.integers(2**32)))
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            np.random.set_state(numpy_state)


@functools.cache
def _transforms(settings: Augmentation) -> Any:
    """Return the chain of transforms, in the published order."""
    from batchgeneratorsv2.transforms.intensity.brightness import (
        BrightnessAdditiveTransform,
        MultiplicativeBrightnessTransform,
    )
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    a, some, apart = settings, settings.channels, False
    chain = (
        (a.noise[0], GaussianNoiseTransform((0, a.noise[1]), 1, apart)),
        (a.blur[0], GaussianBlurTransform(a.blur[1], apart, True, some)),
        (a.brightness[0], MultiplicativeBrightnessTransform(a.brightness[1], apart, 1)),
        (a.shift[0], BrightnessAdditiveTransform(0, a.shift[1], apart, some)),
        (a.contrast[0], ContrastTransform(BGContrast(a.contrast[1]), True, apart, 1)),
        (
            a.low_resolution[0],
            SimulateLowResolutionTransform(
                a.low_resolution[1], apart, True, None, p_per_channel=some
            ),
        ),
        (a.gamma[0], GammaTransform(BGContrast(a.gamma[1]), 0, apart, 1, p_retain_stats=1)),
    )
    return ComposeTransforms([RandomTransform(each, p) for p, each in chain if p > 0])
