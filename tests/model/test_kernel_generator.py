from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mots_pretrained.model.kernel_generator import (
    ConvolutionKernelGenerator,
    TransformerKernelGenerator,
)


@pytest.mark.parametrize("act", ["relu", "leaky_relu"])
def test_equation_14_is_a_two_layer_perceptron(act: str) -> None:
    generator = TransformerKernelGenerator(4, 10, act=act)
    t = torch.randn(2, 3, 4)
    hidden = getattr(F, act)(F.linear(t, generator[0].weight, generator[0].bias))
    expected = F.linear(hidden, generator[2].weight, generator[2].bias)
    torch.testing.assert_close(generator(t), expected)


def test_the_convolution_generator_counts_as_in_table_4() -> None:
    generator = ConvolutionKernelGenerator(256, 7, 162)
    assert sum(p.numel() for p in generator.parameters()) == 42_768


def test_features_come_first_then_the_task_code() -> None:
    generator = ConvolutionKernelGenerator(3, 2, 5)
    bottleneck = torch.randn(2, 3, 2, 2, 4)
    kernels = generator(bottleneck)
    for b in range(2):
        for task in range(2):
            code = torch.tensor([1.0, 0.0] if task == 0 else [0.0, 1.0])
            joined = torch.cat([bottleneck[b].mean(dim=(1, 2, 3)), code])
            out = F.conv3d(
                joined.view(1, 5, 1, 1, 1), generator.controller.weight, generator.controller.bias
            )
            torch.testing.assert_close(kernels[b, task], out.flatten())


def test_the_norm_stands_before_the_pooling() -> None:
    generator = ConvolutionKernelGenerator(4, 2, 5, norm=[nn.GroupNorm(2, 4), nn.ReLU()])
    bottleneck = torch.randn(1, 4, 2, 2, 2)
    pooled = F.relu(F.group_norm(bottleneck, 2)).mean(dim=(2, 3, 4))
    expected = F.linear(
        torch.cat([pooled[0], torch.tensor([0.0, 1.0])]),
        generator.controller.weight.flatten(1),
        generator.controller.bias,
    )
    torch.testing.assert_close(generator(bottleneck)[0, 1], expected)
