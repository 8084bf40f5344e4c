"""Generated kernels: each task's own in DoDNet, of queries that see each other in TransDoDNet."""

from __future__ import annotations

import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.methods.dodnet import DoDNet
from mots_pretrained.methods.transdodnet import TransDoDNet

X = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_each_sample_gets_the_kernels_of_its_own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    net = DoDNet(small("dodnet")).eval()
    seen: list[torch.Tensor] = []
    net.head.register_forward_pre_hook(lambda module, given: seen.append(given[1]))
    net.task_logits(X, torch.tensor([[4, 0], [1, 6]]))
    every = net.kernels(net.backbone(X))
    for sample, tasks in enumerate([[4, 0], [1, 6]]):
        torch.testing.assert_close(seen[0][sample], every[sample, tasks])


@torch.no_grad()
def test_a_task_code_moves_its_own_kernels_only() -> None:
    net = DoDNet(small("dodnet")).eval()
    before = net.kernels(net.backbone(X))
    width = net.config.decoder.widths[0]
    net.kernel_generator.controller.weight[:, width + 2] += 1
    moved = (net.kernels(net.backbone(X)) - before).abs().amax((0, 2)) > 0.5
    assert moved.tolist() == [False, False, True, False, False, False, False]


@torch.no_grad()
def test_a_query_moves_the_kernels_of_all_tasks() -> None:
    net = TransDoDNet(small("transdodnet")).eval()
    before = net.kernels(net.backbone(X))
    net.organ_decoder.embedding[2] += 1
    assert ((net.kernels(net.backbone(X)) - before).abs().amax((0, 2)) > 0).all()
