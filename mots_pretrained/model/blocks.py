"""Convolutions and residual blocks with instance norm that encoder and decoder share (Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mots_pretrained.config import Activation
from mots_pretrained.shapes import Features


class StandardisedConv3d(nn.Conv3d):
    """Convolution whose kernels have zero mean and unit variance an output channel.

    Source: weight standardisation (Qiao et al., 2019), with the published network's unbiased
    variance and 1e-12 under the root.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(B, C, D, H, W)`` with the standardised kernels."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3, 4), keepdim=True)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-12)
        return self._conv_forward(input, weight, self.bias)


def convolution(
    in_channels: int,
    out_channels: int,
    *,
    kernel: int = 1,
    stride: int | tuple[int, int, int] = 1,
    bias: bool = False,
    standardised: bool = False,
) -> nn.Conv3d:
    """Return a "same"-padded 3D convolution, Kaiming-initialised by its fan-out."""
    layer = StandardisedConv3d if standardised else nn.Conv3d
    conv = layer(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=bias)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class InstanceNorm(nn.InstanceNorm3d):
    """Affine instance norm, on the CPU by the kernel of group norm, which is three times faster."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each channel of each sample of ``(B, C, D, H, W)``."""
        if input.device.type != "cpu":  # autocast on a GPU runs group norm in single precision
            return super().forward(input)
        return F.group_norm(input, self.num_features, self.weight, self.bias, self.eps)


def norm(channels: int) -> InstanceNorm:
    """Return the affine instance norm that replaces ResNet's batch norm (Sec. 3.2)."""
    return InstanceNorm(channels, affine=True)


def activation(name: Activation) -> nn.Module:
    """Return the activation: ReLU, or LeakyReLU with slope 0.01."""
    return nn.ReLU(inplace=True) if name == "relu" else nn.LeakyReLU(0.01, inplace=True)


def projection(
    in_channels: int, out_channels: int, act: Activation, *, standardised: bool = False
) -> nn.Sequential:
    """Return 1x1x1 convolution, norm, activation: how skips, fusion and G change their width."""
    return nn.Sequential(
        convolution(in_channels, out_channels, standardised=standardised),
        norm(out_channels),
        activation(act),
    )


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions and a shortcut (He et al., 2016).

    Args:
        in_channels: Channels of the input.
        width: Channels of the output.
        stride: Stride of the first convolution.
        project: Whether the shortcut is a strided 1x1x1 convolution; else the identity.
        act: Activation.
        standardised: Whether convolutions standardise their weights.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int = 1,
        project: bool = False,
        act: Activation = "relu",
        standardised: bool = False,
    ) -> None:
        super().__init__()
        ws = standardised
        self.conv1 = convolution(in_channels, width, kernel=3, stride=stride, standardised=ws)
        self.norm1 = norm(width)
        self.conv2 = convolution(width, width, kernel=3, standardised=ws)
        self.norm2 = norm(width)
        self.act = activation(act)
        self.shortcut = _shortcut(in_channels, width, stride, ws) if project else nn.Identity()

    def forward(self, x: Features) -> Features:
        """Map ``(B, in_channels, D, H, W)`` to ``(B, width, D/stride, H/stride, W/stride)``."""
        y = self.act(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return self.act(y.add_(self.shortcut(x)))


class Bottleneck(nn.Module):
    """1x1x1, strided 3x3x3 and widening 1x1x1 convolution with a shortcut (He et al., 2016).

    Arguments as in :class:`BasicBlock`; the output has four times ``width`` channels.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int = 1,
        project: bool = False,
        act: Activation = "relu",
        standardised: bool = False,
    ) -> None:
        super().__init__()
        out, ws = width * self.expansion, standardised
        self.conv1 = convolution(in_channels, width, standardised=ws)
        self.norm1 = norm(width)
        self.conv2 = convolution(width, width, kernel=3, stride=stride, standardised=ws)
        self.norm2 = norm(width)
        self.conv3 = convolution(width, out, standardised=ws)
        self.norm3 = norm(out)
        self.act = activation(act)
        self.shortcut = _shortcut(in_channels, out, stride, ws) if project else nn.Identity()

    def forward(self, x: Features) -> Features:
        """Map ``(B, in_channels, D, H, W)`` to ``(B, 4 width, D/stride, H/stride, W/stride)``."""
        y = self.act(self.norm1(self.conv1(x)))
        y = self.act(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return self.act(y.add_(self.shortcut(x)))


def _shortcut(in_channels: int, out_channels: int, stride: int, standardised: bool) -> nn.Module:
    return nn.Sequential(
        convolution(in_channels, out_channels, stride=stride, standardised=standardised),
        norm(out_channels),
    )


def upsample_in_plane(logits: Features) -> Features:
    """Double height and width of ``(B, C, D, H, W)`` trilinearly, depth kept.

    The stem halves the plane once and the decoder does not undo it; the published network
    upsamples logits, not features. Plane by plane is the same function, at a third of the time.
    """
    planes = F.interpolate(
        logits.flatten(1, 2), scale_factor=2.0, mode="bilinear", align_corners=False
    )
    return planes.unflatten(1, logits.shape[1:3])


def upsample(x: Features, size: Sequence[int]) -> Features:
    """Bring ``(B, C, d, h, w)`` to ``(B, C, *size)`` trilinearly, not aligned at corners.

    One axis after the other, by matrices, is the same function as ``F.interpolate``'s, at a fourth
    to a tenth of the time on the CPU; on a GPU its gradient is deterministic, the other's is not.
    """
    batch, channels, depth = x.shape[:3]
    if x.shape[4] != size[2]:
        x = x @ _hats(x, x.shape[4], size[2]).T
    if x.shape[3] != size[1]:
        x = _hats(x, x.shape[3], size[1]) @ x
    if depth != size[0]:
        x = _hats(x, depth, size[0]) @ x.reshape(batch, channels, depth, -1)
    return x.reshape(batch, channels, *size)


def _hats(x: Tensor, count: int, size: int) -> Tensor:
    """Return the matrix ``(size, count)`` of linear interpolation, with ends repeated."""
    place = (torch.arange(size, device=x.device) + 0.5) * (count / size) - 0.5
    away = place.clamp(0, count - 1)[:, None] - torch.arange(count, device=x.device)
    return (1 - away.abs()).clamp(min=0).to(x.dtype)
