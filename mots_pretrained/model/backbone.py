"""MOTSBackbone: CNN encoder, Transformer encoder and CNN decoder, the grey part of Fig. 5."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.model.blocks import upsample_in_plane
from mots_pretrained.model.decoder import Decoder
from mots_pretrained.model.encoder import STRIDE, Encoder, feature_widths
from mots_pretrained.model.levels import LevelledBackbone
from mots_pretrained.model.transformer_encoder import TransformerEncoder
from mots_pretrained.shapes import Features, Image


class BackboneOutput(NamedTuple):
    """All that the backbone computes.

    Attributes:
        encoder: Five maps of strides (1,2,2), (2,4,4), (4,8,8), (8,16,16), (16,32,32).
        memory: The Transformer's levels, finest first; empty without a Transformer.
        bottleneck: The fused F + Z at the coarsest stride (Eq. 6).
        decoder: ``(B, 32, D, H/2, W/2)`` at the paper's size; the input of a new head.
        stages: The decoder's four maps, coarse to fine; the last one is ``decoder``.
    """

    encoder: list[Features]
    memory: list[Features]
    bottleneck: Features
    decoder: Features
    stages: list[Features]


class BackboneFeatures(NamedTuple):
    """What the backbone computes before its decoder, for those who bring their own.

    Attributes:
        pyramid: The encoder's five maps, as in :class:`BackboneOutput`.
        memory: The Transformer's levels as maps ``(B, d, D, H, W)``, of the sizes of the last maps
            of the pyramid; empty without a Transformer.
        embedding: ``(B, E)``, one vector an image: the means over space of the pyramid's last map
            and of each level of the memory, one after the other.
    """

    pyramid: list[Features]
    memory: list[Features]
    embedding: Tensor


class MOTSBackbone(LevelledBackbone):
    """The pretrained part that transfers to downstream tasks (Sec. 3.7).

    Args:
        config: Its encoder, transformer (or None for a plain U-shaped CNN), decoder, activation
            and weight standardisation are used.

    Example:
        >>> import torch
        >>> backbone = MOTSBackbone.from_pretrained("transdodnet.phantom")
        >>> out = backbone(torch.zeros(1, 1, 32, 64, 64))
        >>> out.decoder.shape[2:]
        torch.Size([32, 32, 32])
    """

    stride = STRIDE
    """Input sizes must divide by this."""

    strides = ((1, 2, 2), (2, 4, 4), (4, 8, 8), (8, 16, 16), (16, 32, 32))

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        act, standardised = config.activation, config.weight_standardisation
        widths = feature_widths(config.encoder)
        self.encoder = Encoder(config.encoder, act=act, standardised=standardised)
        transformer = config.transformer
        self.transformer = (
            None
            if transformer is None
            else TransformerEncoder(transformer, widths, standardised=standardised)
        )
        self.decoder = Decoder(
            config.decoder,
            widths,
            memory_width=None if transformer is None else transformer.width,
            fusion="B" if transformer is None else transformer.fusion,
            act=act,
            standardised=standardised,
        )

    @property
    def out_channels(self) -> int:
        """Channels of the decoder's finest map."""
        return self.config.decoder.widths[-1]

    @property
    def level_widths(self) -> list[int]:
        """Channels of the decoder's maps, fine to coarse, the encoder's but one, the memory's."""
        encoder = feature_widths(self.config.encoder)[:-1]
        transformer = self.config.transformer
        memory = [] if transformer is None else [transformer.width] * transformer.levels
        return [*reversed(self.config.decoder.widths[1:]), *encoder, *memory]

    @property
    def encoder_widths(self) -> tuple[int, ...]:
        """Channels of the encoder's maps, fine to coarse."""
        return feature_widths(self.config.encoder)

    def check_image(self, image: Tensor) -> None:
        """Raise a ValueError if an image does not fit."""
        check_input(image, self.config.encoder.in_channels)

    def forward(self, image: Image) -> BackboneOutput:
        """Encode, attend and decode.

        Args:
            image: ``(B, C, D, H, W)`` scaled by the contract; D divides by 16, H and W by 32.

        Raises:
            ValueError: If the image has another number of channels or a size that doesn't divide.
        """
        f, z = self._encode(image)
        bottleneck, stages = self.decoder(f, z)  # Eq. 6
        return BackboneOutput(f, z, bottleneck, stages[-1], stages)

    def forward_features(self, image: Image) -> BackboneFeatures:
        """Encode and attend, without the decoder.

        Args:
            image: As :meth:`forward` takes it.

        Raises:
            ValueError: As :meth:`forward` does.

        Example:
            >>> import torch
            >>> backbone = MOTSBackbone.from_pretrained("transdodnet.phantom")
            >>> backbone.forward_features(torch.zeros(1, 1, 32, 64, 64)).embedding.shape
            torch.Size([1, 304])
        """
        f, z = self._encode(image)
        embedding = torch.cat([x.mean(dim=(2, 3, 4)) for x in (f[-1], *z)], dim=1)
        return BackboneFeatures(f, z, embedding)

    def _encode(self, image: Image) -> tuple[list[Features], list[Features]]:
        self.check_image(image)
        f = self.encoder(image)  # Eq. 4
        return f, [] if self.transformer is None else self.transformer(f)  # Eq. 5

    def upsample(self, logits: Features) -> Features:
        """Bring logits ``(B, C, D, H/2, W/2)`` to the image's resolution."""
        return upsample_in_plane(logits)

    @classmethod
    def _adapt(
        cls, config: ModelConfig, state: dict[str, Tensor]
    ) -> tuple[ModelConfig, dict[str, Tensor]]:
        """Take the backbone's part of a whole network's weights."""
        if config.backbone != "mots":
            raise UserError(
                "these weights are of the 2021 conference network; load them with "
                "mots_pretrained.load or put a Segmenter on them"
            )
        own = dataclasses.replace(config.before_added, architecture="backbone")
        return own, backbone_part(state)


def backbone_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the backbone's own weights out of a whole network's, or out of a backbone's."""
    part = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    return part or state


def check_input(image: Tensor, channels: int) -> None:
    """Raise a ValueError if an image does not fit the encoder of Eq. 4."""
    check_image(image, channels, STRIDE)
    if image[0, 0].numel() == math.prod(STRIDE):
        raise UserError(
            f"an image of {tuple(image.shape[2:])} leaves a single voxel at the coarsest "
            "stride, which instance norm cannot normalise; take a larger one"
        )


def check_image(image: Tensor, channels: int, stride: tuple[int, int, int]) -> None:
    """Raise a ValueError if an image does not fit the network's input."""
    if image.ndim != 5 or image.shape[1] != channels:
        raise UserError(
            f"image must be (batch, {channels}, depth, height, width), got {tuple(image.shape)}"
        )
    if any(size % step or not size for size, step in zip(image.shape[2:], stride, strict=True)):
        raise UserError(
            f"image sizes (depth, height, width) must divide by {stride}, "
            f"got {tuple(image.shape[2:])}; pad the image or use mots_pretrained.Predictor"
        )
