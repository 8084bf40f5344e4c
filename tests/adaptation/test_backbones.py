"""Backbones by name: one interface, whatever network the configuration is of."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.adaptation.backbones import BACKBONES, build_backbone
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.published.conference import ConferenceUNet


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_keeps_the_interface(name: str) -> None:
    backbone = build_backbone(small("backbone", backbone=name))
    out = backbone(torch.randn(2, 1, *SIZE))
    assert len(out.encoder) == 5
    assert out.decoder.shape[:2] == (2, backbone.out_channels)
    logits = backbone.upsample(torch.zeros(2, 3, *out.decoder.shape[2:]))
    assert logits.shape == (2, 3, *SIZE)
    assert out.bottleneck.shape[2:] == out.encoder[-1].shape[2:]
    for size, step, coarse in zip(SIZE, backbone.stride, out.bottleneck.shape[2:], strict=True):
        assert coarse * step == size


@pytest.mark.parametrize("name", BACKBONES)
def test_a_size_that_does_not_divide_is_told(name: str) -> None:
    backbone = build_backbone(small("backbone", backbone=name))
    with pytest.raises(ValueError, match=r"must divide by .*got \(16, 40, 64\)"):
        backbone(torch.zeros(1, 1, 16, 40, 64))
    with pytest.raises(ValueError, match=r"must be \(batch, 1, depth"):
        backbone(torch.zeros(1, 2, 16, 32, 64))


def test_a_configuration_of_any_network_builds_its_backbone():
    segmenter = small("segmenter", class_values=((3,), (7,)))
    backbone = build_backbone(segmenter)
    assert isinstance(backbone, MOTSBackbone)
    assert (backbone.config.architecture, backbone.config.classes) == ("backbone", ())
    assert backbone.config.encoder == segmenter.encoder
    regions = dataclasses.replace(segmenter, exclusive=False, class_values=((1, 2), (2,)))
    assert isinstance(build_backbone(regions), MOTSBackbone)
    assert isinstance(build_backbone(small("segmenter", backbone="conference")), ConferenceUNet)
