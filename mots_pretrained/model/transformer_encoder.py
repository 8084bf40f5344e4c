"""The Transformer encoder, Z = f_TE(F; theta_TE) (Eqs. 5 and 12)."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from mots_pretrained.config import TransformerConfig
from mots_pretrained.model.blocks import convolution, norm
from mots_pretrained.model.position import Shape, position_code, reference_points
from mots_pretrained.model.transformer import (
    FeedForward,
    deepnorm,
    deformable_attention,
    initialise_deepnorm,
)
from mots_pretrained.shapes import Features, Tokens


def level_shapes(levels: list[Tensor]) -> list[Shape]:
    """Return the size (D, H, W) of each map."""
    return [(x.shape[2], x.shape[3], x.shape[4]) for x in levels]


def flatten_levels(levels: list[Tensor]) -> Tensor:
    """Flatten maps ``(B, d, D, H, W)`` and join them to tokens ``(B, tokens, d)``."""
    return torch.cat([rearrange(x, "b c d h w -> b (d h w) c") for x in levels], dim=1)


def unflatten_levels(tokens: Tensor, shapes: list[Shape]) -> list[Tensor]:
    """Undo :func:`flatten_levels`."""
    parts = tokens.split([d * h * w for d, h, w in shapes], dim=1)
    return [
        rearrange(part, "b (d h w) c -> b c d h w", d=d, h=h, w=w)
        for part, (d, h, w) in zip(parts, shapes, strict=True)
    ]


class EncoderLayer(nn.Module):
    """One line of Eq. 12: deformable self-attention, then the feed-forward network.

    Args:
        config: The Transformer's configuration.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.alpha, beta = deepnorm(config.encoder_layers, config.decoder_layers)["encoder"]
        self.attention = deformable_attention(config, points=config.encoder_points)
        self.norm_attention = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config.width, config.feedforward, dropout=config.dropout)
        self.norm_feedforward = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        initialise_deepnorm(self, beta)

    def forward(
        self, z: Tokens, position: Tensor, reference: Tensor, shapes: list[Shape]
    ) -> Tokens:
        """Return z_i of z_{i-1} ``(B, tokens, d)``."""
        if self.pre_norm:  # residuals unscaled, as published
            x = self.norm_attention(z)
            z = z + self.dropout(self.attention(x + position, reference, x, shapes))
            return z + self.feedforward(self.norm_feedforward(z))
        attended = self.dropout(self.attention(z + position, reference, z, shapes))
        z = self.norm_attention(attended + z * self.alpha)
        return self.norm_feedforward(self.feedforward(z) + z * self.alpha)

    def sampling(
        self, z: Tensor, position: Tensor, reference: Tensor, shapes: list[Shape]
    ) -> tuple[Tensor, Tensor]:
        """Return where and how much the layer samples; see ``DeformableAttention.sampling``."""
        query = (self.norm_attention(z) if self.pre_norm else z) + position
        return self.attention.sampling(query, reference, shapes)


class SamplingPoints(NamedTuple):
    """Where the queries of the last layer look, and how much they take from there (Fig. 7).

    Queries are the voxels of all levels, finest level first. All points are normalised: 0 to 1
    from the first to the last face of the image, in the order (d, h, w).

    Attributes:
        shapes: Size (D, H, W) of each level.
        reference: ``(Q, 3)``, p of Eq. 11.
        locations: ``(B, Q, heads, levels, points, 3)``.
        weights: ``(B, Q, heads, levels, points)``; they sum to one over levels and points.
    """

    shapes: list[Shape]
    reference: Tensor
    locations: Tensor
    weights: Tensor


class TransformerEncoder(nn.Module):
    """Projects the last L feature maps to d channels and lets their voxels attend to each other.

    Args:
        config: The Transformer's configuration.
        in_widths: Channels of the encoder's feature maps, finest first; the last L are used.
        standardised: Whether the projections phi of Sec. 3.3.1 standardise their weights.
    """

    def __init__(
        self,
        config: TransformerConfig,
        in_widths: tuple[int, ...],
        *,
        standardised: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.projections = nn.ModuleList(
            nn.Sequential(
                convolution(width, config.width, bias=True, standardised=standardised),
                norm(config.width),
            )
            for width in in_widths[-config.levels :]
        )
        self.level_embedding = nn.Parameter(torch.randn(config.levels, config.width))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(config.width) if config.pre_norm else nn.Identity()

    def forward(self, features: list[Features]) -> list[Features]:
        """Return the memory Z as L maps ``(B, d, D, H, W)``, finest first.

        Args:
            features: The CNN encoder's maps; the last L are used.
        """
        z, position, reference, shapes = self._tokens(features)
        for layer in self.layers:
            z = layer(z, position, reference, shapes)
        return unflatten_levels(self.norm(z), shapes)

    def sampling(self, features: list[Features]) -> SamplingPoints:
        """Return the sampling points of the last layer; arguments as of ``forward``."""
        z, position, reference, shapes = self._tokens(features)
        for layer in self.layers[:-1]:
            z = layer(z, position, reference, shapes)
        last = cast(EncoderLayer, self.layers[-1])
        locations, weights = last.sampling(z, position, reference, shapes)
        return SamplingPoints(shapes, reference[0].flip(-1), locations.flip(-1), weights)

    def _tokens(self, features: list[Features]) -> tuple[Tensor, Tensor, Tensor, list[Shape]]:
        """Return z_0, E_pos with the levels' embeddings, reference points and levels' sizes."""
        sources = [
            project(x)
            for project, x in zip(self.projections, features[-self.config.levels :], strict=True)
        ]
        shapes = level_shapes(sources)
        position = self.position(shapes).to(sources[0])
        # At the parameters' precision: half precision, as under autocast, is coarser than a voxel.
        reference = reference_points(
            shapes, order=self.config.coordinate_order, device=position.device
        ).to(torch.promote_types(self.level_embedding.dtype, torch.float32))[None]
        return flatten_levels(sources), position, reference, shapes

    def position(self, shapes: list[Shape]) -> Tensor:
        """Return E_pos of all levels plus each level's embedding, ``(1, tokens, d)``."""
        codes = [
            position_code(
                shape,
                self.config.width,
                code=self.config.position_code,
                device=self.level_embedding.device,
            ).to(self.level_embedding)
            for shape in shapes
        ]
        embedded = [
            code[None] + self.level_embedding[level][None, :, None, None, None]
            for level, code in enumerate(codes)
        ]
        return flatten_levels(embedded)
