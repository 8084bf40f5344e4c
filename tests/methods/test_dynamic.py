"""The dynamic head gets each sample's own kernels."""

from __future__ import annotations

import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.methods.dodnet import DoDNet

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
