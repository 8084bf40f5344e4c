"""The CNN decoder, f_D(F + Z; theta_D) (Eq. 6), with the fusion modes of Fig. 6."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import repeat
from torch import Tensor, nn

from mots_pretrained.config import Activation, DecoderConfig, Fusion
from mots_pretrained.model.blocks import BasicBlock, projection
from mots_pretrained.shapes import Features


class Decoded(NamedTuple):
    """What the decoder returns: the fused bottleneck, and its four maps from coarse to fine."""

    bottleneck: Features
    stages: list[Features]


class Decoder(nn.Module):
    """Upsamples step by step, sums the encoder's map of the same size, refines by a block.

    Args:
        config: Widths of the fused bottleneck and of the four stages.
        in_widths: Channels of the encoder's five maps, finest first.
        memory_width: d of the Transformer, or None where there is none.
        fusion: Mode A sums both features, B takes the CNN's only, C the Transformer's only.
        code: Length of a task code that joins the activations at every step (Cond-Dec).
        act: Activation.
        standardised: Whether convolutions standardise their weights.
    """

    def __init__(
        self,
        config: DecoderConfig,
        in_widths: tuple[int, ...],
        *,
        memory_width: int | None,
        fusion: Fusion = "A",
        code: int = 0,
        act: Activation = "relu",
        standardised: bool = False,
    ) -> None:
        super().__init__()
        self.fusion: Fusion = fusion if memory_width is not None else "B"
        fused, *widths = config.widths
        # Mode C leaves this one unused; it stays, so that all modes keep one set of names.
        self.fuse_features = projection(in_widths[-1], fused, act, standardised=standardised)
        if memory_width is not None and self.fusion != "B":
            self.fuse_memory = projection(memory_width, fused, act, standardised=standardised)
        self.upsample = nn.ModuleList()
        self.skip = nn.ModuleList()
        self.refine = nn.ModuleList()
        channels = fused
        for width, skip_width in zip(widths, reversed(in_widths[:-1]), strict=True):
            up = nn.ConvTranspose3d(channels + code, width, kernel_size=2, stride=2, bias=False)
            nn.init.kaiming_normal_(up.weight, mode="fan_out", nonlinearity="relu")
            self.upsample.append(up)
            self.skip.append(projection(skip_width, width, act, standardised=standardised))
            self.refine.append(BasicBlock(width, width, act=act, standardised=standardised))
            channels = width

    def forward(
        self, features: list[Features], memory: list[Features], code: Tensor | None = None
    ) -> Decoded:
        """Decode to stride (1, 2, 2).

        Args:
            features: The CNN encoder's five maps, F the last.
            memory: The Transformer's levels, Z the last; empty where there is none.
            code: ``(B, M)``, each sample's task, constant over the volume.

        Returns:
            The fused bottleneck at stride (16, 32, 32), and maps of strides (8, 16, 16) to
            (1, 2, 2), the last ``(B, widths[-1], D, H/2, W/2)``.
        """
        bottleneck = x = self.fuse(features[-1], memory)
        maps: list[Features] = []
        stages = zip(self.upsample, self.skip, self.refine, reversed(features[:-1]), strict=True)
        for upsample, skip, refine, feature in stages:
            # A code before an instance norm would be lost; upsampling and shortcut have none.
            x = x if code is None else join_code(x, code)
            x = refine(upsample(x).add_(skip(feature)))
            maps.append(x)
        return Decoded(bottleneck, maps)

    def fuse(self, feature: Tensor, memory: list[Tensor]) -> Tensor:
        """Return F + Z, each through its own projection, as the mode says (Fig. 6)."""
        if self.fusion == "B":
            return self.fuse_features(feature)
        if self.fusion == "C":
            return self.fuse_memory(memory[-1])
        return self.fuse_features(feature) + self.fuse_memory(memory[-1])


def join_code(x: Features, code: Tensor) -> Features:
    """Join codes ``(B, M)``, as M constant channels, to activations ``(B, C, D, H, W)``."""
    d, h, w = x.shape[2:]
    return torch.cat([x, repeat(code, "b m -> b m d h w", d=d, h=h, w=w)], dim=1)
