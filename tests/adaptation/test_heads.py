"""Heads on one map and on all levels: shapes, the order of upsampling, configuration."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from small_networks import small
from torch.nn import functional

from mots_pretrained.adaptation.heads import LevelsHead, level_maps
from mots_pretrained.adaptation.segmenter import Segmenter, drop_transformer
from mots_pretrained.config import ModelConfig


@pytest.fixture
def segmenter():
    torch.manual_seed(0)
    return Segmenter.from_scratch(small(), classes=("a", "b"), head="levels").eval()


def test_the_first_layer_at_each_levels_own_size_equals_it_on_joined_maps(segmenter):
    image = torch.randn(1, 1, 32, 64, 64)
    with torch.no_grad():
        out = segmenter.backbone(image)
        maps = level_maps(out)
        joined = torch.cat(
            [functional.interpolate(x, size=maps[0].shape[2:], mode="trilinear") for x in maps],
            dim=1,
        )
        head = segmenter.head
        weight = torch.cat([level.weight for level in head.levels], dim=1)
        hidden = functional.conv3d(joined, weight, head.bias).relu()
        torch.testing.assert_close(head(out), head.last(hidden), atol=1e-4, rtol=1e-4)
        assert segmenter(image).shape == (1, 3, 32, 64, 64)


def test_the_widths_are_those_of_the_maps(segmenter):
    out = segmenter.backbone(torch.zeros(1, 1, 32, 64, 64))
    assert [x.shape[1] for x in level_maps(out)] == segmenter.backbone.level_widths
    assert level_maps(out)[0] is out.decoder


def test_the_kind_of_head_travels_in_the_configuration(segmenter, tmp_path):
    segmenter.save_pretrained(tmp_path)
    again = Segmenter.from_pretrained(tmp_path)
    assert again.config.new_head.kind == "levels"
    assert isinstance(again.head, LevelsHead)
    image = torch.randn(1, 1, 32, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(image), segmenter(image))


def test_without_the_transformer_its_levels_leave_the_head(segmenter):
    plain = drop_transformer(segmenter)
    assert len(plain.head.levels) == len(segmenter.head.levels) - 2
    assert plain(torch.zeros(1, 1, 32, 64, 64)).shape == (1, 3, 32, 64, 64)


def test_an_older_configuration_has_the_papers_head():
    old = dataclasses.asdict(ModelConfig())
    del old["new_head"]
    assert ModelConfig.from_json(json.dumps({"format_version": 1, **old})) == ModelConfig()
