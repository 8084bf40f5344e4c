"""Fixed heads: their own resolution is the image's, and a code changes every voxel."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_networks import SIZE, TRANSFORMER, small

from mots_pretrained.methods.static import StaticDecoder, StaticNetwork
from mots_pretrained.model.encoder import Encoder

X = torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_network_of_a_head_of_zeros_gives_its_bias_at_every_voxel() -> None:
    net = StaticNetwork(small("multi_nets"), out_channels=3).eval()
    net.head.weight.zero_()
    net.head.bias.copy_(torch.tensor([1.0, -2.0, 0.5]))
    logits = net(X)
    assert logits.shape == (1, 3, *SIZE)
    assert torch.equal(logits, net.head.bias[None, :, None, None, None].expand_as(logits))


@torch.no_grad()
def test_a_decoder_takes_each_samples_code() -> None:
    config = small("cond_dec")
    features = [x.expand(2, -1, -1, -1, -1) for x in Encoder(config.encoder).eval()(X)]
    decoder = StaticDecoder(config, 2, code=3).eval()
    one = decoder(features, torch.eye(3)[[0, 2]])
    swapped = decoder(features, torch.eye(3)[[2, 0]])
    assert one.shape == (2, 2, *SIZE)
    assert (one[0] - one[1]).abs().max() > 1e-3
    torch.testing.assert_close(swapped, one.flip(0), rtol=0, atol=1e-5)


def test_a_decoder_has_no_transformer() -> None:
    config = dataclasses.replace(small("multi_head"), transformer=TRANSFORMER)
    with pytest.raises(ValueError, match="multi_head has no Transformer; set transformer to None"):
        StaticDecoder(config, 2)
