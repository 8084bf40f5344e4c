from __future__ import annotations

from pathlib import Path

import torch

import mots_pretrained as mots

ROOT = str(Path(__file__).parents[1])


def test_torch_hub_loads_what_from_pretrained_loads():
    found = torch.hub.load(ROOT, "backbone", source="local").state_dict()
    expected = mots.MOTSBackbone.from_pretrained("transdodnet.phantom").state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    segmenter = torch.hub.load(ROOT, "segmenter", source="local", out_channels=3)
    assert segmenter.head.out_channels == 3
