"""Activation checkpointing: the networks' own gradients, with less kept."""

import pytest
import torch
from small_networks import SIZE, small
from torch import nn

from mots_pretrained.batch import Batch
from mots_pretrained.methods import METHODS
from mots_pretrained.training.recompute import blocks, recomputed


def batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, *SIZE, generator=generator)
    target = torch.rand(1, 2, *SIZE, generator=generator).round()
    return Batch(image, target, torch.ones(1, 2, dtype=torch.bool), torch.tensor([[2]]))


def gradients(net):
    """Gradients of a training step with dropout, and how many values the forward pass kept."""
    kept = 0

    def pack(value):
        nonlocal kept
        kept += value.numel()
        return value

    torch.manual_seed(1)
    net.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        loss = net.loss(batch()).total
    loss.backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}, kept


@pytest.mark.parametrize("method", ["transdodnet", "dodnet"])
def test_gradients_are_the_same_and_less_is_kept(method):
    torch.manual_seed(0)
    net = METHODS[method](small(method)).train()
    expected, much = gradients(net)
    with recomputed(net):
        found, little = gradients(net)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)
    assert little < 0.6 * much
    again, as_before = gradients(net)  # and it ends
    assert as_before == much
    torch.testing.assert_close(again, expected, rtol=0, atol=0)


def test_blocks_do_not_nest():
    net = METHODS["transdodnet"](small("transdodnet"))
    found = list(blocks(net))
    assert len({*map(id, found)}) == len(found)
    for block in found:
        inner = {id(module) for module in block.modules()} - {id(block)}
        assert inner.isdisjoint(map(id, found))
    kinds = {type(block).__name__ for block in found}
    assert {"BasicBlock", "EncoderLayer", "DecoderLayer"} <= kinds


def test_single_layers_are_no_blocks():
    assert list(blocks(nn.ModuleList([nn.Linear(1, 1), nn.ReLU()]))) == []
