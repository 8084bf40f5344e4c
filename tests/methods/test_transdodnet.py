"""TransDoDNet's kernels: of queries that see each other."""

from __future__ import annotations

import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.methods.transdodnet import TransDoDNet

X = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_query_moves_the_kernels_of_all_tasks() -> None:
    net = TransDoDNet(small("transdodnet")).eval()
    before = net.kernels(net.backbone(X))
    net.organ_decoder.embedding[2] += 1
    assert ((net.kernels(net.backbone(X)) - before).abs().amax((0, 2)) > 0).all()


def test_it_needs_its_transformer() -> None:
    with pytest.raises(ValueError, match="needs a transformer"):
        TransDoDNet(small("dodnet"))
