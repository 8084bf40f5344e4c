"""Networks that are asked for nothing but a prediction, and a scan for them."""

import numpy as np
import torch
from torch import Tensor, nn

from mots_pretrained.config import EncoderConfig, ModelConfig, Preprocessing
from mots_pretrained.images.resample import resample
from mots_pretrained.tasks import MOTS_TASKS

CONTRACT = Preprocessing(spacing=(4.0, 3.0, 3.0), window=(8, 16, 16), patch=(8, 16, 16))
CONFIG = ModelConfig(preprocessing=CONTRACT)


class Tiny(nn.Module):
    """A small random network with the signature of the real one."""

    def __init__(self, config: ModelConfig = CONFIG) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.config = config
        self.body = nn.Sequential(
            nn.Conv3d(1, 14, 3, padding=1), nn.InstanceNorm3d(14), nn.Dropout(0.5)
        )

    def forward(self, image: Tensor, tasks: list[str] | None = None) -> Tensor:
        names = [task.name for task in self.config.tasks]
        chosen = [names.index(task) for task in tasks or names]
        return 3 * self.body(image).unflatten(1, (7, 2))[:, chosen]


class Threshold(nn.Module):
    """Finds a liver wherever a voxel is above 0 HU; nothing else, whatever the task."""

    def __init__(self, config: ModelConfig = CONFIG) -> None:
        super().__init__()
        self.config = config

    def forward(self, image: Tensor, tasks: list[str] | None = None) -> Tensor:
        logits = torch.full((len(image), len(tasks or MOTS_TASKS), 2, *image.shape[2:]), -20.0)
        logits[:, 0, 0] = 20 * image[:, 0]
        return logits


def body(shape: tuple[int, int, int] = (18, 22, 26), seed: int = 0) -> np.ndarray:
    """A smooth random CT between air and bone, in RAS order of axes."""
    coarse = np.random.default_rng(seed).normal(0, 400, tuple(n // 4 + 2 for n in shape))
    array = resample(coarse, shape) - 50
    array[0] = -1000
    return array.astype(np.int16) | 1  # never 0 HU, where the networks below are undecided


class Constant(nn.Module):
    """A segmenter whose logits are the input's channels, after a background of zero."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, image: Tensor) -> Tensor:
        if self.config.exclusive:
            return torch.cat([torch.zeros_like(image[:, :1]), image], dim=1)
        return image


def segmenter(exclusive: bool, names: tuple[str, ...]) -> Constant:
    contract = Preprocessing(
        spacing=(1, 1, 1), intensity="zscore", channels=names, window=(8, 8, 8), patch=(8, 8, 8)
    )
    return Constant(
        ModelConfig(
            architecture="segmenter",
            encoder=EncoderConfig(in_channels=len(names)),
            classes=names,
            exclusive=exclusive,
            preprocessing=contract,
        )
    )
