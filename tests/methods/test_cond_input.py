"""Cond-Input: the code is heard at the faces of the window only, as docs/methods.md says."""

from __future__ import annotations

import dataclasses

import torch
from small_networks import SIZE, small

from mots_pretrained.methods.cond_input import CondInput, with_code
from mots_pretrained.tasks import MOTS_TASKS

X = torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_where_padding_does_not_end_the_code_the_first_norm_takes_it_out() -> None:
    net = CondInput(small("cond_input")).eval()
    first = net.network.backbone.encoder.stem[0]
    one, other = net(X, ["liver"]), net(X, ["lung"])
    assert (one - other).abs().max() > 0.1
    first.padding_mode = "replicate"
    first._reversed_padding_repeated_twice = [1] * 6
    one, other = net(X, ["liver"]), net(X, ["lung"])
    torch.testing.assert_close(one, other, rtol=0, atol=1e-3)


def test_the_inner_configuration_names_a_channel_a_task() -> None:
    inner = with_code(small("cond_input"))
    assert inner.encoder.in_channels == 8
    assert inner.preprocessing.channels[1] == "code_0"


def test_tasks_may_have_long_names() -> None:
    long = tuple(dataclasses.replace(task, name=task.name.ljust(64, "x")) for task in MOTS_TASKS)
    assert with_code(small("cond_input", tasks=long)).encoder.in_channels == 8
