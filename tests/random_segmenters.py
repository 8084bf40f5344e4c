"""Segmenters of random weights whose outputs are spread over their classes or regions."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from small_networks import small

from mots_pretrained.networks import build

REGIONS = {"whole": (2, 1, 3), "core": (1, 3), "enhancing": (3,)}
"""Nested regions and their label values, in an order of their own."""


def network(kind: str, seed: int = 0, **changes: Any) -> torch.nn.Module:
    """A segmenter of ``"classes"`` of a CT, or of nested ``"regions"`` of an MRI.

    ``changes`` replace fields of its ModelConfig.
    """
    torch.manual_seed(seed)
    if kind == "regions":
        contract = dataclasses.replace(small("segmenter").preprocessing, intensity="zscore")
        named = {"classes": tuple(REGIONS), "class_values": tuple(REGIONS.values())}
        changes = {**named, "exclusive": False, "preprocessing": contract, **changes}
    net = build(small("segmenter", **changes)).eval()
    with torch.no_grad():
        net.head.weight *= 5  # a random head decides for one class almost everywhere
    return net
