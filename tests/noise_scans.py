"""Scans of noise in files, and a network that fails on those of its choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mots_pretrained.config import EncoderConfig, ModelConfig, Preprocessing
from mots_pretrained.images.volume import Volume, write_like


def scan(path: Path, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(0).normal(0, 300, (channels, 6, 7, 8)).astype(np.int16)
    array[..., 0] = -1000
    volume = Volume.with_spacing(array if channels > 1 else array[0], (4.0, 3.0, 3.0))
    write_like(path, volume.array, volume, dtype=np.int16)
    return path


class Fails(torch.nn.Module):
    """Segments, but for scans of some depths, for which it raises what machines raise."""

    config = ModelConfig(
        architecture="segmenter",
        classes=("organ",),
        encoder=EncoderConfig(in_channels=1),
        preprocessing=Preprocessing(spacing=(4, 3, 3), window=(8, 8, 8), patch=(8, 8, 8)),
    )
    error: Exception | None = None

    def forward(self, image):
        if self.error is not None:
            raise self.error
        return torch.cat([-image, image], dim=1)
