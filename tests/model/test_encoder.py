from __future__ import annotations

import dataclasses

import pytest
import torch

from mots_pretrained.config import EncoderConfig
from mots_pretrained.model.encoder import STAGES, Encoder, feature_widths

SMALL = EncoderConfig(depth=10, stem_width=2, widths=(2, 3, 4, 5))


@pytest.mark.parametrize(("depth", "layers"), [(10, 10), (18, 18), (34, 34), (50, 50)])
def test_depth_counts_learnable_layers(depth: int, layers: int) -> None:
    block, counts = STAGES[depth]
    a_block = 2 if block.expansion == 1 else 3
    # ResNet's count: one stem layer and one classifier, which this network replaces by a second
    # convolution in the stem.
    assert 2 + a_block * sum(counts) == layers


@pytest.mark.parametrize("depth", [10, 50])
def test_five_maps_of_the_published_strides(depth: int) -> None:
    config = dataclasses.replace(SMALL, depth=depth)
    maps = Encoder(config)(torch.randn(1, 1, 32, 64, 64))
    strides = [(1, 2, 2), (2, 4, 4), (4, 8, 8), (8, 16, 16), (16, 32, 32)]
    assert [tuple(x.shape[2:]) for x in maps] == [
        (32 // d, 64 // h, 64 // w) for d, h, w in strides
    ]
    assert tuple(x.shape[1] for x in maps) == feature_widths(config)


def test_the_published_widths() -> None:
    assert feature_widths(EncoderConfig(depth=18)) == (32, 64, 128, 256, 320)
    assert feature_widths(EncoderConfig()) == (32, 256, 512, 1024, 1280)


def test_extra_blocks_go_into_the_last_stage() -> None:
    encoder = Encoder(dataclasses.replace(SMALL, extra_blocks=2))
    assert [len(stage) for stage in encoder.stages] == [1, 1, 1, 3]


def test_in_channels_are_those_of_the_first_convolution() -> None:
    encoder = Encoder(dataclasses.replace(SMALL, in_channels=4))
    assert encoder.stem[0].weight.shape == (2, 4, 3, 3, 3)
    assert len(encoder(torch.randn(1, 4, 16, 64, 64))) == 5
