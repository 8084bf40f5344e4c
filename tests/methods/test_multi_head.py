"""Multi-Head: a task is a decoder behind the one encoder."""

from __future__ import annotations

import torch
from small_networks import SIZE, small

from mots_pretrained.config import ModelConfig
from mots_pretrained.methods import configured
from mots_pretrained.methods.multi_head import MultiHead

X = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))


def test_a_step_reaches_the_decoders_of_its_own_tasks_only() -> None:
    net = MultiHead(small("multi_head"))
    net.task_logits(X, torch.tensor([[2], [5]])).sum().backward()
    reached = [any(p.grad is not None for p in part.parameters()) for part in net.branches]
    assert reached == [False, False, True, False, False, True, False]
    assert all(p.grad is not None for p in net.encoder.parameters())


def test_its_own_configuration_is_not_halved_again() -> None:
    base = ModelConfig()
    once = configured("multi_head", base)
    assert once.decoder.widths == tuple(width // 2 for width in base.decoder.widths)
    assert configured("multi_head", once) == once


def test_thresholds_of_other_weights_are_left_out() -> None:
    base = ModelConfig(thresholds={"liver_tumour": 0.9})
    assert configured("multi_head", base).thresholds == {}
    assert configured("transdodnet", base) == ModelConfig()
