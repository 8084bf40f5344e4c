"""Cond-Dec: the code is heard everywhere in the decoder."""

from __future__ import annotations

import torch
from small_networks import SIZE, small

from mots_pretrained.methods.cond_dec import CondDec

X = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_code_reaches_every_voxel_of_cond_dec() -> None:
    net = CondDec(small("cond_dec")).eval()
    logits = net(X, ["liver", "lung"])
    assert ((logits[:, 0] - logits[:, 1]).abs() > 0).float().mean() > 0.99
