from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mots_pretrained.model.blocks import (
    BasicBlock,
    Bottleneck,
    StandardisedConv3d,
    activation,
    convolution,
    norm,
    upsample,
    upsample_in_plane,
)


def test_standardised_kernels_by_hand() -> None:
    conv = StandardisedConv3d(2, 2, 1, bias=True)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[1.0, 3.0], [-2.0, 6.0]]).view(2, 2, 1, 1, 1))
        conv.bias.copy_(torch.tensor([0.0, 10.0]))
    x = torch.tensor([1.0, 5.0]).view(1, 2, 1, 1, 1)
    # Means 2 and 2, unbiased variances 2 and 32: kernels (-1, 1)/sqrt 2 and (-4, 4)/sqrt 32.
    expected = torch.tensor([4 / 2**0.5, 10 + 16 / 32**0.5])
    torch.testing.assert_close(conv(x).flatten(), expected)


def test_constant_kernels_do_not_divide_by_zero() -> None:
    conv = StandardisedConv3d(2, 1, 1, bias=False)
    nn.init.constant_(conv.weight, 0.5)
    assert torch.equal(conv(torch.ones(1, 2, 1, 1, 1)), torch.zeros(1, 1, 1, 1, 1))


def test_convolutions_start_at_kaimings_fan_out() -> None:
    weight = convolution(64, 128, kernel=3).weight
    assert weight.std().item() == pytest.approx((2 / (128 * 27)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("name", "below"), [("relu", 0.0), ("leaky_relu", -0.02)])
def test_activations(name: str, below: float) -> None:
    out = activation(name)(torch.tensor([-2.0, 3.0]))
    torch.testing.assert_close(out, torch.tensor([below, 3.0]))


def test_instance_norm_by_hand() -> None:
    layer = norm(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0]))
        layer.bias.copy_(torch.tensor([0.0, 5.0]))
    x = torch.tensor([[1.0, 3.0], [10.0, 30.0]]).view(1, 2, 1, 1, 2)
    # Means 2 and 20, variances 1 and 100 (biased).
    s, t = (1 + 1e-5) ** -0.5, 20 * (100 + 1e-5) ** -0.5
    expected = torch.tensor([[-s, s], [5 - t, 5 + t]]).view_as(x)
    torch.testing.assert_close(layer(x), expected)


def test_instance_norm_agrees_with_torchs_own() -> None:
    layer = norm(3).double()
    torch.nn.init.normal_(layer.weight)
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    slopes = []
    for out in (layer(x), F.instance_norm(x, weight=layer.weight, bias=layer.bias)):
        slopes.append((out, *torch.autograd.grad(out.sin().sum(), (x, layer.weight, layer.bias))))
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def normed(x: torch.Tensor) -> torch.Tensor:
    return F.instance_norm(x, eps=1e-5)


def test_a_basic_block_by_its_definition() -> None:
    block = BasicBlock(3, 4, stride=2, project=True)
    x = torch.randn(2, 3, 4, 6, 8)
    y = F.relu(normed(F.conv3d(x, block.conv1.weight, stride=2, padding=1)))
    y = normed(F.conv3d(y, block.conv2.weight, padding=1))
    shortcut = normed(F.conv3d(x, block.shortcut[0].weight, stride=2))
    torch.testing.assert_close(block(x.clone()), F.relu(y + shortcut))


def test_a_bottleneck_strides_in_its_middle() -> None:
    block = Bottleneck(3, 4, stride=2, project=True, act="leaky_relu")
    x = torch.randn(1, 3, 4, 4, 6)
    y = F.leaky_relu(normed(F.conv3d(x, block.conv1.weight)))
    y = F.leaky_relu(normed(F.conv3d(y, block.conv2.weight, stride=2, padding=1)))
    y = normed(F.conv3d(y, block.conv3.weight))
    shortcut = normed(F.conv3d(x, block.shortcut[0].weight, stride=2))
    out = block(x.clone())
    assert out.shape == (1, 16, 2, 2, 3)
    torch.testing.assert_close(out, F.leaky_relu(y + shortcut))


def test_a_block_leaves_its_input_alone_and_keeps_the_identity() -> None:
    block = BasicBlock(4, 4)
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(1, 4, 4, 4, 4)
    kept = x.clone()
    torch.testing.assert_close(block(x), F.relu(x))
    assert torch.equal(x, kept)


def test_upsampling_doubles_the_plane_by_halves() -> None:
    row = torch.tensor([0.0, 4.0]).view(1, 1, 1, 1, 2)
    out = upsample_in_plane(row)
    assert out.shape == (1, 1, 1, 2, 4)
    torch.testing.assert_close(out[0, 0, 0, 0], torch.tensor([0.0, 1.0, 3.0, 4.0]))
    x = torch.randn(2, 3, 4, 5, 6)
    trilinear = F.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="trilinear")
    torch.testing.assert_close(upsample_in_plane(x), trilinear, rtol=0, atol=1e-6)


def test_upsampling_by_matrices_repeats_ends_and_divides_between_voxels() -> None:
    row = torch.tensor([0.0, 4.0]).view(1, 1, 1, 1, 2)
    found = upsample(row, (2, 1, 8))
    assert found.shape == (1, 1, 2, 1, 8)
    expected = torch.tensor([0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0])
    assert torch.equal(found[0, 0, 1, 0], expected)


@pytest.mark.parametrize("size", [(8, 12, 9), (2, 6, 3), (7, 3, 3), (2, 3, 3), (5, 4, 20)])
def test_upsampling_by_matrices_is_trilinear_with_its_gradient(size: tuple[int, int, int]) -> None:
    x = torch.randn(2, 3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, *size, dtype=torch.float64)
    found = upsample(x, size)
    trilinear = F.interpolate(x, size=size, mode="trilinear", align_corners=False)
    torch.testing.assert_close(found, trilinear, rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad((found * weight).sum(), x)
    (expected,) = torch.autograd.grad((trilinear * weight).sum(), x)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5)
