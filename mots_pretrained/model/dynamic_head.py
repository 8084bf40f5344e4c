"""The dynamic head, P_i = ((G * w_1i) * w_2i) * w_3i (Eq. 15), for all requested tasks at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mots_pretrained.config import Activation, HeadConfig
from mots_pretrained.errors import UserError
from mots_pretrained.model.blocks import projection
from mots_pretrained.shapes import Features, Kernels


def layer_sizes(config: HeadConfig) -> list[tuple[int, int]]:
    """Return (in, out) channels of each of the head's layers."""
    hidden = [(config.width, config.width)] * (config.depth - 1)
    return [*hidden, (config.width, config.out_channels)]


def split_kernels(kernels: Tensor, config: HeadConfig) -> list[tuple[Tensor, Tensor]]:
    """Cut generated vectors into weights ``(..., out, in)`` and biases ``(..., out)`` a layer.

    Args:
        kernels: ``(..., d_F)``: the weights of all layers, then the biases of all layers.
        config: Depth and widths of the head.

    Raises:
        ValueError: If the last axis is not d_F long.
    """
    sizes = layer_sizes(config)
    if kernels.shape[-1] != config.parameters:
        raise UserError(
            f"the head of depth {config.depth} and width {config.width} takes "
            f"{config.parameters} parameters a task, got {kernels.shape[-1]}"
        )
    lengths = [i * o for i, o in sizes] + [o for _, o in sizes]
    parts = kernels.split(lengths, dim=-1)
    weights = [part.unflatten(-1, (o, i)) for part, (i, o) in zip(parts, sizes, strict=False)]
    return list(zip(weights, parts[len(sizes) :], strict=True))


class DynamicHead(nn.Module):
    """Narrows the decoder's map to G and applies each task's own 1x1x1 kernels to it.

    Args:
        config: Depth and widths of the head.
        in_channels: Channels of the decoder's finest map.
        act: Activation of the projection to G; between the dynamic layers it is ReLU.
        standardised: Whether the projection standardises its weights.
        plain: Whether the projection is a mere convolution with bias, as in the 2021 network,
            whose decoder ends with norm and activation.
    """

    def __init__(
        self,
        config: HeadConfig,
        in_channels: int,
        *,
        act: Activation = "relu",
        standardised: bool = False,
        plain: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.project = (
            nn.Conv3d(in_channels, config.width, kernel_size=1)
            if plain
            else projection(in_channels, config.width, act, standardised=standardised)
        )

    def forward(self, decoder: Features, kernels: Kernels, *, voxels: int | None = None) -> Tensor:
        """Return logits ``(B, T, 2, D, H, W)`` at the decoder's own resolution.

        Args:
            decoder: The decoder's finest map ``(B, C, D, H, W)``.
            kernels: ``(B, T, d_F)`` of the T tasks to evaluate.
            voxels: About how many to work on at once, in whole planes; all of them by default.
        """
        g = self.project(decoder)
        if voxels is None:
            return apply_kernels(g, kernels, self.config)
        planes = max(1, voxels // g[0, 0, 0].numel())
        parts = [apply_kernels(part, kernels, self.config) for part in g.split(planes, dim=2)]
        return torch.cat(parts, dim=3)


def apply_kernels(g: Features, kernels: Kernels, config: HeadConfig) -> Tensor:
    """Convolve G ``(B, width, D, H, W)`` with the kernels ``(B, T, d_F)`` of T tasks.

    The first layer is one product of the shared G with all tasks' kernels stacked; the later
    ones are one batched product each. G is never copied, but for one that lies channels last: the
    products would else keep that order, in which activations' gradients take ten times as long.

    Returns:
        Logits ``(B, T, out_channels, D, H, W)``.
    """
    batch, tasks = kernels.shape[:2]
    size = g.shape[2:]
    (weight, bias), *later = split_kernels(kernels, config)
    g = g.contiguous().flatten(2)
    x = torch.baddbmm(
        bias.reshape(batch, -1, 1), weight.reshape(batch, -1, config.width), g
    )  # (B, T * out, voxels)
    for weight, bias in later:
        x = F.relu(x, inplace=True).view(batch * tasks, config.width, -1)
        x = torch.baddbmm(bias.flatten(0, 1).unsqueeze(-1), weight.flatten(0, 1), x)
    return x.view(batch, tasks, config.out_channels, *size)
