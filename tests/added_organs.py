"""Organs added to a network by a random head on its own backbone."""

from __future__ import annotations

import torch

from mots_pretrained.adaptation.extended import ExtendedNetwork, add_head
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.model.pretrained import Pretrained


def with_organs(net: Pretrained, *organs: str, seed: int = 3) -> tuple[ExtendedNetwork, Segmenter]:
    """Return the network with the organs, and the segmenter whose head they have."""
    torch.manual_seed(seed)
    segmenter = Segmenter.from_scratch(net.config, classes=organs, head="levels")
    segmenter.backbone = (net.net if isinstance(net, ExtendedNetwork) else net).backbone
    return add_head(net, segmenter), segmenter.eval()
