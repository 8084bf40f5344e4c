"""Multi-Nets: a task is a network of its own."""

from __future__ import annotations

import torch
from small_networks import SIZE, small

from mots_pretrained.methods.multi_nets import MultiNets

X = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))


def test_a_step_reaches_the_networks_of_its_own_tasks_only() -> None:
    net = MultiNets(small("multi_nets"))
    net.task_logits(X, torch.tensor([[2], [5]])).sum().backward()
    reached = [any(p.grad is not None for p in part.parameters()) for part in net.networks]
    assert reached == [False, False, True, False, False, True, False]


@torch.no_grad()
def test_the_logits_are_those_of_the_tasks_network_alone() -> None:
    net = MultiNets(small("multi_nets")).eval()
    expected = torch.stack([net.networks[6](X), net.networks[0](X)], dim=1)
    torch.testing.assert_close(net(X, ["spleen", "liver"]), expected, rtol=0, atol=1e-5)
