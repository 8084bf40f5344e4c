"""DoDNet's kernels: each task's own."""

from __future__ import annotations

import torch
from small_networks import SIZE, small

from mots_pretrained.methods.dodnet import DoDNet

X = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_task_code_moves_its_own_kernels_only() -> None:
    net = DoDNet(small("dodnet")).eval()
    before = net.kernels(net.backbone(X))
    width = net.config.decoder.widths[0]
    net.kernel_generator.controller.weight[:, width + 2] += 1
    moved = (net.kernels(net.backbone(X)) - before).abs().amax((0, 2)) > 0.5
    assert moved.tolist() == [False, False, True, False, False, False, False]
