"""The DoDNet of the 2021 conference paper: a pre-activation U-Net, and the head on it."""

from __future__ import annotations

import dataclasses
from typing import cast

from torch import Tensor, nn

from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    Preprocessing,
)
from mots_pretrained.errors import UserError
from mots_pretrained.methods.dynamic import DynamicNetwork
from mots_pretrained.model.backbone import (
    BackboneOutput,
    MOTSBackbone,
    backbone_part,
    check_image,
)
from mots_pretrained.model.blocks import convolution, upsample
from mots_pretrained.model.kernel_generator import ConvolutionKernelGenerator
from mots_pretrained.model.levels import LevelledBackbone
from mots_pretrained.shapes import Features, Image, Kernels

GROUPS = 16
"""Groups of every norm; all widths divide by it."""

BLOCKS = (2, 2, 2, 2)
"""Residual blocks of the four strided stages; the stem has one."""


def conference_defaults() -> ModelConfig:
    """Return the published network's configuration: 17,329,528 parameters.

    Its contract has the published test window; published training standardised the weights.
    """
    return ModelConfig(
        architecture="dodnet_conference",
        backbone="conference",
        encoder=EncoderConfig(stem_width=32, widths=(64, 128, 256, 256)),
        transformer=None,
        decoder=DecoderConfig((256, 128, 64, 32, 32)),
        weight_standardisation=True,
        preprocessing=Preprocessing(window=(64, 192, 192)),
    )


def group_norm(channels: int) -> list[nn.Module]:
    """Return group norm and ReLU: what stands before a convolution here."""
    return [nn.GroupNorm(GROUPS, channels), nn.ReLU(inplace=True)]


class PreactivationBlock(nn.Module):
    """Norm, ReLU, 3x3x3 convolution, twice, and a shortcut from the raw input (He et al., 2016b).

    Args:
        in_channels: Channels of the input.
        width: Channels of the output.
        stride: Stride of the first convolution.
        project: Whether the shortcut is norm, ReLU and a strided 1x1x1 convolution.
        standardised: Whether convolutions standardise their weights.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int = 1,
        project: bool = False,
        standardised: bool = False,
    ) -> None:
        super().__init__()
        ws = standardised
        self.norm1, self.act = group_norm(in_channels)
        self.conv1 = convolution(in_channels, width, kernel=3, stride=stride, standardised=ws)
        self.norm2 = nn.GroupNorm(GROUPS, width)
        self.conv2 = convolution(width, width, kernel=3, standardised=ws)
        self.shortcut: nn.Module = nn.Identity()
        if project:
            strided = convolution(in_channels, width, stride=stride, standardised=ws)
            self.shortcut = nn.Sequential(*group_norm(in_channels), strided)

    def forward(self, x: Features) -> Features:
        """Map ``(B, in_channels, D, H, W)`` to ``(B, width, D/stride, H/stride, W/stride)``."""
        y = self.conv1(self.act(self.norm1(x)))
        y = self.conv2(self.act(self.norm2(y)))
        return y.add_(self.shortcut(x))


class ConferenceEncoder(nn.Module):
    """Stem at full resolution, four stages of stride 2, then a 1x1x1 convolution.

    Args:
        config: Its ``in_channels``, ``stem_width`` and ``widths`` are used; the depth is fixed.
        fused: Channels of the deepest map after the 1x1x1 convolution.
        standardised: Whether convolutions standardise their weights.
    """

    def __init__(self, config: EncoderConfig, fused: int, *, standardised: bool = False) -> None:
        super().__init__()
        ws, channels = standardised, config.stem_width
        self.stem = nn.Sequential(
            convolution(config.in_channels, channels, kernel=3, standardised=ws),
            PreactivationBlock(channels, channels, standardised=ws),
        )
        self.stages = nn.ModuleList()
        for width, count in zip(config.widths, BLOCKS, strict=True):
            first = PreactivationBlock(channels, width, stride=2, project=True, standardised=ws)
            rest = [PreactivationBlock(width, width, standardised=ws) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(first, *rest))
            channels = width
        self.bottleneck = nn.Sequential(
            *group_norm(channels), convolution(channels, fused, standardised=ws)
        )

    def forward(self, x: Image, levels: int = 5) -> list[Features]:
        """Return five maps of strides 1, 2, 4, 8 and 16, the last after the 1x1x1 convolution.

        Args:
            x: ``(B, C, D, H, W)``, all sizes divisible by 16.
            levels: How many of the maps to compute, the finest first.
        """
        features = [self.stem(x)]
        for stage in list(self.stages)[: levels - 1]:
            features.append(stage(features[-1]))
        if levels == 5:
            features[-1] = self.bottleneck(features[-1])
        return features


class ConferenceDecoder(nn.Module):
    """Trilinear upsampling, the sum with the encoder's map of the same size, one block; four times.

    Args:
        config: Widths of the bottleneck and of the four stages.
        standardised: Whether convolutions standardise their weights.
    """

    def __init__(self, config: DecoderConfig, *, standardised: bool = False) -> None:
        super().__init__()
        self.refine = nn.ModuleList(
            PreactivationBlock(in_, out, project=in_ != out, standardised=standardised)
            for in_, out in zip(config.widths[:-1], config.widths[1:], strict=True)
        )
        self.norm = nn.Sequential(*group_norm(config.widths[-1]))

    def forward(self, features: list[Features]) -> list[Features]:
        """Decode five maps, the deepest last, to four, coarse to fine, the last one normalised."""
        *skips, x = features
        maps: list[Features] = []
        for refine, skip in zip(self.refine, reversed(skips), strict=True):
            x = refine(upsample(x, skip.shape[2:]).add_(skip))
            maps.append(x)
        return [*maps[:-1], self.norm(x)]


class ConferenceUNet(LevelledBackbone):
    """The 2021 network without its head, with :class:`MOTSBackbone`'s interface.

    Args:
        config: Its ``backbone`` is "conference"; encoder, decoder and weight standardisation are
            used. Each of the decoder's widths but the last equals its skip's.

    Example:
        >>> import torch
        >>> ConferenceUNet(conference_defaults())(torch.zeros(1, 1, 16, 32, 48)).decoder.shape
        torch.Size([1, 32, 16, 32, 48])
    """

    stride = (16, 16, 16)
    """Input sizes must divide by this."""

    strides = ((1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8), (16, 16, 16))

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.backbone != "conference":
            raise UserError(f"ConferenceUNet needs backbone 'conference', not {config.backbone!r}")
        self.config = config
        ws = config.weight_standardisation
        self.encoder = ConferenceEncoder(config.encoder, config.decoder.widths[0], standardised=ws)
        self.decoder = ConferenceDecoder(config.decoder, standardised=ws)

    @property
    def out_channels(self) -> int:
        """Channels of the decoder's finest map."""
        return self.config.decoder.widths[-1]

    @property
    def level_widths(self) -> list[int]:
        """Channels of the decoder's maps, fine to coarse, and of the encoder's but the last."""
        encoder = self.config.encoder
        return [*reversed(self.config.decoder.widths[1:]), encoder.stem_width, *encoder.widths[:3]]

    @property
    def encoder_widths(self) -> list[int]:
        """Channels of the encoder's maps, fine to coarse."""
        encoder = self.config.encoder
        return [encoder.stem_width, *encoder.widths[:3], self.config.decoder.widths[0]]

    def check_image(self, image: Tensor) -> None:
        """Raise a ValueError if an image does not fit."""
        check_image(image, self.config.encoder.in_channels, self.stride)

    def forward(self, image: Image) -> BackboneOutput:
        """Encode and decode.

        Args:
            image: ``(B, C, D, H, W)`` scaled by the contract; all sizes divide by 16.

        Raises:
            ValueError: If the image has another number of channels or a size that doesn't divide.
        """
        self.check_image(image)
        features = self.encoder(image)
        stages = self.decoder(features)
        return BackboneOutput(features, [], features[-1], stages[-1], stages)

    def upsample(self, logits: Features) -> Features:
        """Return logits as they are: the decoder ends at the image's resolution."""
        return logits

    @classmethod
    def _adapt(
        cls, config: ModelConfig, state: dict[str, Tensor]
    ) -> tuple[ModelConfig, dict[str, Tensor]]:
        """Take the backbone's part of a whole network's weights."""
        own = dataclasses.replace(config.before_added, architecture="backbone")
        return own, backbone_part(state)


class ConferenceDoDNet(DynamicNetwork):
    """Kernels from pooled features and a task code, over the pre-activation U-Net.

    Args:
        config: Architecture "dodnet_conference"; ``conference_defaults()`` makes one with the
            published widths.
    """

    def __init__(self, config: ModelConfig) -> None:
        backbone = cast(MOTSBackbone, ConferenceUNet(config))  # of the same interface
        super().__init__(config, backbone, plain=True)
        width = config.decoder.widths[0]
        self.kernel_generator = ConvolutionKernelGenerator(
            width, len(config.tasks), config.head.parameters, norm=group_norm(width)
        )

    def kernels(self, out: BackboneOutput) -> Kernels:
        """Generate the kernels of all M tasks, each on its own."""
        return self.kernel_generator(out.bottleneck)
