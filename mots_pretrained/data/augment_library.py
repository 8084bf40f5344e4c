"""The appearance's changes by batchgeneratorsv2, the successor of the library of Sec. 4.1."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mots_pretrained.data.augment import Augmentation
from mots_pretrained.errors import UserError


def check_installed() -> None:
    """Raise a ValueError that says what to do if batchgeneratorsv2 is not there."""
    try:
        import batchgeneratorsv2  # noqa: F401
    except ImportError:
        raise UserError(
            "this augmentation needs batchgeneratorsv2; install it with "
            "pip install 'mots_pretrained[train]', or choose another (--augment default)"
        ) from None


def change_appearance(
    image: NDArray[np.float32], settings: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Put noise, blur, brightness, contrast, lost resolution and gamma on each channel.

    As ``augment.change_appearance``, with the library's own habits: sigma, zoom and all are drawn
    a channel (blur's a channel and axis), a contrast keeps the patch's range.

    Raises:
        ValueError: If batchgeneratorsv2 is not installed.
    """
    with _chance_of(rng):
        changed = _transforms(settings)(image=torch.from_numpy(image.copy()))["image"]
    return changed.numpy()


@contextmanager
def _chance_of(rng: np.random.Generator) -> Iterator[None]:
    """Let the global generators, which the library draws from, follow ``rng`` for a while.

    One thread only: sums of another number of threads may differ in their last bit, and a patch
    shall be the same from a worker process and from the main one.
    """
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
    check_installed()
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

    a, apart = settings, {"synchronize_channels": False}
    return ComposeTransforms(
        [
            GaussianNoiseTransform((0, a.noise[1]), a.noise[0], **apart),
            GaussianBlurTransform(a.blur[1], p_per_channel=a.blur[0], **apart),
            MultiplicativeBrightnessTransform(
                BGContrast(a.brightness[1]), p_per_channel=a.brightness[0], **apart
            ),
            BrightnessAdditiveTransform(0, a.shift[1], p_per_channel=a.shift[0], **apart),
            ContrastTransform(
                BGContrast(a.contrast[1]),
                preserve_range=True,
                p_per_channel=a.contrast[0],
                **apart,
            ),
            SimulateLowResolutionTransform(
                a.low_resolution[1],
                synchronize_axes=True,
                ignore_axes=None,
                p_per_channel=a.low_resolution[0],
                **apart,
            ),
            GammaTransform(
                BGContrast(a.gamma[1]),
                p_invert_image=0,
                p_per_channel=a.gamma[0],
                p_retain_stats=0,
                **apart,
            ),
        ]
    )
