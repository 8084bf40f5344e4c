from __future__ import annotations

import dataclasses

import pytest
import torch
from small_networks import SMALLEST, small
from torch.nn import functional as F

from mots_pretrained.networks import build
from mots_pretrained.published.conference import (
    ConferenceUNet,
    PreactivationBlock,
    conference_defaults,
)


def test_the_published_counts() -> None:
    with torch.device("meta"):
        net = build(conference_defaults())
    assert sum(p.numel() for p in net.parameters()) == 17_329_528
    assert len(net.state_dict()) == 111


@pytest.mark.parametrize("standardised", [False, True])
def test_a_block_by_its_definition(standardised: bool) -> None:
    block = PreactivationBlock(16, 32, stride=2, project=True, standardised=standardised)

    def conv(x, weight, **how):
        if standardised:
            variance, mean = torch.var_mean(weight, dim=(1, 2, 3, 4), keepdim=True)
            weight = (weight - mean) / (variance + 1e-12).sqrt()
        return F.conv3d(x, weight, **how)

    x = torch.randn(1, 16, 2, 4, 4)
    kept = x.clone()
    y = conv(F.relu(F.group_norm(x, 16)), block.conv1.weight, stride=2, padding=1)
    y = conv(F.relu(F.group_norm(y, 16)), block.conv2.weight, padding=1)
    shortcut = conv(F.relu(F.group_norm(x, 16)), block.shortcut[2].weight, stride=2)
    torch.testing.assert_close(block(x), y + shortcut, rtol=1e-4, atol=1e-4)
    assert torch.equal(x, kept)


def test_it_ends_at_full_resolution_normalised() -> None:
    out = ConferenceUNet(small("backbone", backbone="conference"))(
        torch.randn(1, 1, *SMALLEST["conference"])
    )
    assert out.decoder.shape == (1, 16, *SMALLEST["conference"])
    assert [x.shape[3] for x in out.encoder] == [32, 16, 8, 4, 2]
    assert out.decoder.min() == 0
    assert out.memory == []


def test_its_weights_come_out_of_the_whole_network() -> None:
    net = build(small("dodnet_conference")).eval()
    backbone = ConferenceUNet.from_state(net.config, net.state_dict())
    x = torch.randn(1, 1, *SMALLEST["conference"])
    assert torch.equal(backbone(x).decoder, net.backbone(x).decoder)
    assert backbone.config.architecture == "backbone"


def test_another_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs backbone 'conference', not 'mots'"):
        ConferenceUNet(small("backbone"))


def test_widths_must_fit_skips_and_groups() -> None:
    config = small("dodnet_conference")
    with pytest.raises(ValueError, match="must begin with its skips' widths"):
        dataclasses.replace(
            config, decoder=dataclasses.replace(config.decoder, widths=(16, 32, 16, 16, 16))
        )
    with pytest.raises(ValueError, match="divisible by 16, not 40"):
        dataclasses.replace(
            config, encoder=dataclasses.replace(config.encoder, widths=(16, 16, 16, 40))
        )
