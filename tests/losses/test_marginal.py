"""Merging unlabelled classes with the background, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mots_pretrained.losses.marginal import marginal_cross_entropy


def test_each_sample_is_merged_by_what_it_labels():
    """Softmax 0.5, 0.4, 0.1 everywhere: background of the second sample is 0.5 + 0.4."""
    q = torch.tensor([0.5, 0.4, 0.1], dtype=torch.float64)
    logits = q.log().reshape(1, 3, 1).expand(2, 3, 3)
    classes = torch.tensor([[0, 1, 2], [0, 1, 2]])
    labelled = torch.tensor([[True, False], [False, True]])
    found = marginal_cross_entropy(logits, classes, labelled)
    expected = [[0.6, 0.4, 0.6], [0.9, 0.9, 0.1]]
    assert found.exp().reciprocal().tolist() == [pytest.approx(row) for row in expected]


def test_without_a_label_it_is_zero_and_without_gaps_plain():
    logits = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    classes = torch.randint(0, 4, (2, 5, 6))
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert marginal_cross_entropy(logits, classes, nothing).abs().max() < 1e-12
    plain = torch.nn.functional.cross_entropy(logits, classes, reduction="none")
    torch.testing.assert_close(marginal_cross_entropy(logits, classes, ~nothing), plain)


def test_confident_logits_stay_finite():
    logits = torch.tensor([[[-1e4], [1e4], [0.0]]], requires_grad=True)
    loss = marginal_cross_entropy(logits, torch.zeros(1, 1).long(), torch.tensor([[True, False]]))
    loss.sum().backward()
    assert math.isclose(loss.item(), 1e4)
    assert logits.grad.flatten().tolist() == [0, 1, -1]
