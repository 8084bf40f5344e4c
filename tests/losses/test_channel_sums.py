"""Sums over voxels, against the same written out operation by operation."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mots_pretrained.losses import channel_sums as module
from mots_pretrained.losses.channel_sums import channel_sums
from mots_pretrained.tasks import IGNORED


@pytest.fixture
def case():
    torch.manual_seed(0)
    logits = (6 * torch.randn(3, 2, 4, 5, 6, dtype=torch.float64)).requires_grad_()
    target = (torch.rand(3, 2, 4, 5, 6) > 0.6).to(torch.uint8)
    target[0, 1, 2] = IGNORED
    labelled = torch.tensor([[True, True], [True, False], [True, True]])
    return logits, target, labelled


@pytest.mark.parametrize("voxels", [1, 300, 10**6], ids=["a row each", "some rows", "all rows"])
def test_sums_and_gradients_are_those_of_the_plain_operations(case, voxels, monkeypatch):
    monkeypatch.setattr(module, "_AT_A_TIME", voxels)
    logits, target, labelled = case
    known = labelled[:, :, None, None, None] & (target != IGNORED)
    y, p = torch.where(known, target, 0).double(), torch.where(known, logits.sigmoid(), 0)
    ce = binary_cross_entropy_with_logits(logits, y, reduction="none")
    ce = torch.where(known, ce, 0)
    plain = [p * y, p + y, ce, ce * y, known, y]
    sums = channel_sums(logits, target, labelled)
    weights = torch.randn(4, 3, 2, dtype=torch.float64)
    for ours, theirs in zip(sums, plain, strict=True):
        torch.testing.assert_close(ours, theirs.sum((2, 3, 4)))
    ours, theirs = (
        torch.autograd.grad(sum((w * one).sum() for w, one in zip(weights, some)), logits)[0]
        for some in (sums[:4], [one.sum((2, 3, 4)) for one in plain[:4]])
    )
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(ours == 0, ~known)


def test_second_derivatives_are_right(case):
    logits, target, labelled = (one[:1, :, :1, :2, :3] if one.ndim > 2 else one[:1] for one in case)
    logits = logits.detach().requires_grad_()

    def total(x):
        overlap, size, bce, missed, *_ = channel_sums(x, target, labelled)
        return overlap / size + bce + 3 * missed

    assert torch.autograd.gradgradcheck(total, logits)


def test_half_precision_is_summed_in_single_and_keeps_the_dtype_of_its_gradient():
    logits = torch.full((1, 1, 70_000), 1.0, dtype=torch.bfloat16, requires_grad=True)
    target, labelled = torch.ones(1, 1, 70_000, dtype=torch.uint8), torch.tensor([[True]])
    sums = channel_sums(logits, target, labelled)
    assert sums.overlap.dtype == torch.float32
    assert sums.overlap.item() == pytest.approx(70_000 * 0.7310586, rel=1e-5)
    assert sums.bce.item() == pytest.approx(70_000 * 0.3132617, rel=1e-5)
    sums.bce.sum().backward()
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16


def test_extreme_logits_cost_what_they_should():
    logits = torch.tensor([[[100.0, -100.0, 1e4, -1e4]]])
    wrong, right = torch.tensor([[[0, 1, 0, 1]]]), torch.tensor([[[1, 0, 1, 0]]])
    labelled = torch.tensor([[True]])
    assert channel_sums(logits, wrong, labelled).bce.item() == 20_200
    assert channel_sums(logits, right, labelled).bce.item() == pytest.approx(0, abs=1e-6)
