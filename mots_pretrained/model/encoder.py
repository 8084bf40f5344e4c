"""The CNN encoder, F = f_E(X; theta_E) (Eq. 4): a residual network with instance norm."""

from __future__ import annotations

from torch import nn

from mots_pretrained.config import Activation, EncoderConfig
from mots_pretrained.model.blocks import BasicBlock, Bottleneck, activation, convolution, norm
from mots_pretrained.shapes import Features, Image

STAGES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    10: (BasicBlock, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}
"""Depth to block and number of blocks a stage."""

STRIDE = (16, 32, 32)
"""Input sizes must divide by this: the strides (1,2,2), (2,4,4) ... of the five maps."""


def feature_widths(config: EncoderConfig) -> tuple[int, int, int, int, int]:
    """Return the channels of the five feature maps, finest first."""
    block, _ = STAGES[config.depth]
    w1, w2, w3, w4 = (width * block.expansion for width in config.widths)
    return config.stem_width, w1, w2, w3, w4


class Encoder(nn.Module):
    """Stem of stride (1, 2, 2), then four residual stages of stride 2.

    Args:
        config: Depth, widths and input channels.
        act: Activation.
        standardised: Whether convolutions standardise their weights.
    """

    def __init__(
        self, config: EncoderConfig, *, act: Activation = "relu", standardised: bool = False
    ) -> None:
        super().__init__()
        stem = config.stem_width
        self.stem = nn.Sequential(
            convolution(
                config.in_channels, stem, kernel=3, stride=(1, 2, 2), standardised=standardised
            ),
            norm(stem),
            activation(act),
            convolution(stem, stem, kernel=3, standardised=standardised),
            norm(stem),
            activation(act),
        )
        block, counts = STAGES[config.depth]
        counts = (*counts[:3], counts[3] + config.extra_blocks)
        self.stages = nn.ModuleList()
        channels = stem
        for width, count in zip(config.widths, counts, strict=True):
            stage = nn.Sequential()
            for index in range(count):
                first = index == 0
                stage.append(
                    block(
                        channels,
                        width,
                        stride=2 if first else 1,
                        project=first,
                        act=act,
                        standardised=standardised,
                    )
                )
                channels = width * block.expansion
            self.stages.append(stage)

    def forward(self, x: Image, levels: int = 5) -> list[Features]:
        """Return five feature maps of strides (1,2,2), (2,4,4), (4,8,8), (8,16,16), (16,32,32).

        Args:
            x: ``(B, C, D, H, W)`` with D divisible by 16, H and W by 32.
            levels: How many of the maps to compute, the finest first.
        """
        features = [self.stem(x)]
        for stage in list(self.stages)[: levels - 1]:
            features.append(stage(features[-1]))
        return features
