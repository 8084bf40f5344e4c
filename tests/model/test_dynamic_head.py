from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mots_pretrained.config import HeadConfig
from mots_pretrained.model.dynamic_head import DynamicHead, apply_kernels, split_kernels


@pytest.mark.parametrize(
    ("depth", "width", "parameters"),
    [(2, 8, 90), (3, 8, 162), (4, 8, 234), (3, 4, 50), (3, 16, 578)],
)
def test_generated_parameters_of_tables_2_and_3(depth: int, width: int, parameters: int) -> None:
    assert HeadConfig(depth=depth, width=width).parameters == parameters


def test_all_weights_come_before_all_biases() -> None:
    config = HeadConfig(depth=2, width=2, out_channels=1)  # 4 + 2 weights, 2 + 1 biases
    (w1, b1), (w2, b2) = split_kernels(torch.arange(9.0), config)
    assert w1.tolist() == [[0, 1], [2, 3]]  # (out, in)
    assert w2.tolist() == [[4, 5]]
    assert b1.tolist() == [6, 7]
    assert b2.tolist() == [8]


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="takes 162 parameters a task, got 100"):
        split_kernels(torch.zeros(1, 100), HeadConfig())


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_it_equals_a_convolution_a_task(depth: int) -> None:
    config = HeadConfig(depth=depth, width=4)
    g = torch.randn(2, 4, 3, 4, 5, dtype=torch.float64)
    kernels = torch.randn(2, 3, config.parameters, dtype=torch.float64)
    logits = apply_kernels(g, kernels, config)
    assert logits.shape == (2, 3, 2, 3, 4, 5)
    for b in range(2):
        for task in range(3):
            x = g[b : b + 1]
            layers = split_kernels(kernels[b, task], config)
            for number, (weight, bias) in enumerate(layers):
                x = F.relu(x) if number else x
                x = F.conv3d(x, weight[:, :, None, None, None], bias)
            torch.testing.assert_close(logits[b, task], x[0])


@pytest.mark.parametrize("voxels", [1, 20, 45, 1000])
def test_a_few_planes_at_a_time_give_the_same(voxels: int) -> None:
    head = DynamicHead(HeadConfig(width=4), 6)
    decoder, kernels = torch.randn(2, 6, 5, 4, 5), torch.randn(2, 3, HeadConfig(width=4).parameters)
    torch.testing.assert_close(head(decoder, kernels, voxels=voxels), head(decoder, kernels))


def test_gradients_reach_kernels_and_features() -> None:
    config = HeadConfig(depth=2, width=2)
    g = torch.randn(1, 2, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    kernels = torch.randn(1, 2, config.parameters, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g, k: apply_kernels(g, k, config), (g, kernels))


def test_g_is_projected_with_norm_and_activation_or_plainly() -> None:
    x = torch.randn(1, 6, 2, 4, 4)
    head = DynamicHead(HeadConfig(width=4), 6)
    g = F.relu(F.instance_norm(F.conv3d(x, head.project[0].weight), eps=1e-5))
    torch.testing.assert_close(head.project(x), g)
    plain = DynamicHead(HeadConfig(width=4), 6, plain=True)
    expected = F.conv3d(x, plain.project.weight, plain.project.bias)
    torch.testing.assert_close(plain.project(x), expected)
