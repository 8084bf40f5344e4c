"""Generators of the dynamic head's kernels: by Transformer (Eq. 14), by convolution (Fig. 3a)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from mots_pretrained.config import Activation
from mots_pretrained.model.blocks import activation
from mots_pretrained.shapes import Features, Kernels, Tokens


class TransformerKernelGenerator(nn.Sequential):
    """The filters prediction head: omega = MLP(t_Idec) (Eq. 14).

    Args:
        width: d, channels of the organ embeddings.
        parameters: d_F, parameters to generate a task.
        act: Activation; the published network uses the CNN's here.
    """

    def __init__(self, width: int, parameters: int, *, act: Activation = "relu") -> None:
        super().__init__(nn.Linear(width, width), activation(act), nn.Linear(width, parameters))

    def forward(self, input: Tokens) -> Kernels:
        """Map organ embeddings ``(B, M, d)`` to kernels ``(B, M, d_F)``."""
        return super().forward(input)


class ConvolutionKernelGenerator(nn.Module):
    """DoDNet's generator: pooled features beside a one-hot task code, one 1x1x1 convolution.

    Args:
        width: Channels of the bottleneck map that is pooled.
        tasks: M, length of the task code.
        parameters: d_F, parameters to generate a task.
        norm: Layers before the pooling: norm and activation in the 2021 network, none here.
    """

    def __init__(
        self, width: int, tasks: int, parameters: int, *, norm: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.norm = nn.Sequential(*norm)
        self.controller = nn.Conv3d(width + tasks, parameters, kernel_size=1)

    def forward(self, bottleneck: Features) -> Kernels:
        """Map the bottleneck ``(B, C, D, H, W)`` to kernels ``(B, M, d_F)`` of all tasks."""
        pooled = self.norm(bottleneck).mean(dim=(2, 3, 4))  # (B, C)
        code = torch.eye(self.tasks, dtype=pooled.dtype, device=pooled.device)
        features = pooled[:, None, :].expand(-1, self.tasks, -1)
        joined = torch.cat([features, code.expand(len(pooled), -1, -1)], dim=-1)  # (B, M, C + M)
        return F.linear(joined, self.controller.weight.flatten(1), self.controller.bias)
