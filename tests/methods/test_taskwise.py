"""What runs anew for every task: only what was asked for, and each sample by its own task."""

from __future__ import annotations

import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.methods.cond_dec import CondDec
from mots_pretrained.methods.multi_head import MultiHead
from mots_pretrained.methods.multi_nets import MultiNets
from mots_pretrained.methods.taskwise import TaskwiseNetwork

X = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("method", "parts"), [(MultiNets, "networks"), (MultiHead, "branches")])
def test_a_step_reaches_the_parts_of_its_own_tasks_only(
    method: type[TaskwiseNetwork], parts: str
) -> None:
    net = method(small("multi_nets" if method is MultiNets else "multi_head"))
    net.task_logits(X, torch.tensor([[2], [5]])).sum().backward()
    reached = [
        any(parameter.grad is not None for parameter in part.parameters())
        for part in getattr(net, parts)
    ]
    assert reached == [False, False, True, False, False, True, False]


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


@torch.no_grad()
def test_the_code_reaches_every_voxel_of_cond_dec() -> None:
    net = CondDec(small("cond_dec")).eval()
    logits = net(X, ["liver", "lung"])
    assert ((logits[:, 0] - logits[:, 1]).abs() > 0).float().mean() > 0.99
