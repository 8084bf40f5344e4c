"""New heads for a downstream task: on the decoder's finest map (Fig. 5), or on all levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mots_pretrained.config import ModelConfig
from mots_pretrained.model.backbone import BackboneOutput
from mots_pretrained.model.blocks import upsample
from mots_pretrained.shapes import Features


class LinearHead(nn.Conv3d):
    """A 1x1x1 convolution on the decoder's finest map, as in Fig. 5.

    Args:
        widths: Channels of the maps of ``level_maps``; the first one counts.
        out_channels: Output channels.
    """

    def __init__(self, widths: Sequence[int], out_channels: int) -> None:
        super().__init__(widths[0], out_channels, kernel_size=1)

    def forward(self, out: BackboneOutput) -> Features:  # type: ignore[override]
        """Return logits ``(B, out_channels, D, H/2, W/2)``."""
        return super().forward(out.decoder)


class LevelsHead(nn.Module):
    """One hidden layer on the maps of all levels ("hypercolumns", Hariharan et al. 2015).

    A linear layer commutes with upsampling: the first layer is applied to each map at the map's
    own resolution, hidden maps of one resolution are added, and each sum is upsampled once. So the
    joined map of hundreds of channels never exists at full resolution.

    Args:
        widths: Channels of the maps of ``level_maps``.
        out_channels: Output channels.
        hidden: Channels of the hidden layer.
    """

    def __init__(self, widths: Sequence[int], out_channels: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv3d(width, hidden, 1, bias=False) for width in widths)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.last = nn.Conv3d(hidden, out_channels, kernel_size=1)

    def forward(self, out: BackboneOutput) -> Features:
        """Return logits ``(B, out_channels, D, H/2, W/2)``."""
        maps = level_maps(out)
        sums: dict[torch.Size, Tensor] = {}
        for level, x in zip(self.levels, maps, strict=True):
            size = x.shape[2:]
            sums[size] = sums[size] + level(x) if size in sums else level(x)
        finest, *coarser = sums.values()
        hidden = finest + self.bias[:, None, None, None]
        for x in coarser:
            hidden = hidden + upsample(x, finest.shape[2:])
        return self.last(hidden.relu())


Head = LinearHead | LevelsHead


def build_head(config: ModelConfig, widths: Sequence[int], out_channels: int) -> Head:
    """Build the head that a segmenter's configuration names."""
    if config.new_head.kind == "linear":
        return LinearHead(widths, out_channels)
    return LevelsHead(widths, out_channels, hidden=config.new_head.hidden)


def level_maps(out: BackboneOutput) -> list[Tensor]:
    """Return the maps that a head on all levels sees: decoder's finest first, then all others.

    These are the decoder's four maps from fine to coarse, the encoder's maps from fine to coarse
    without the coarsest, and the Transformer's levels.
    """
    return [*reversed(out.stages), *out.encoder[:-1], *out.memory]
