"""What runs anew for every task: only what was asked for, and each sample by its own task."""

from __future__ import annotations

import torch
from small_networks import SIZE, small

from mots_pretrained.methods.cond_dec import CondDec
from mots_pretrained.methods.multi_head import MultiHead

X = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))


def test_samples_of_one_task_go_through_its_part_together() -> None:
    net = MultiHead(small("multi_head")).eval()
    sizes: list[int] = []
    net.branches[3].register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    net.task_logits(X, torch.tensor([[3], [3]]))
    assert sizes == [2]


def test_samples_of_different_tasks_go_through_a_coded_network_together() -> None:
    net = CondDec(small("cond_dec")).eval()
    codes: list[torch.Tensor] = []
    net.branch.register_forward_pre_hook(lambda module, given: codes.append(given[1]))
    net.task_logits(X, torch.tensor([[3], [6]]))
    assert [code.argmax(1).tolist() for code in codes] == [[3, 6]]
    assert [code.sum(1).tolist() for code in codes] == [[1, 1]]
