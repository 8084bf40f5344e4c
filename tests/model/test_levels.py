"""A backbone's maps by number: what is told of them is what comes."""

from __future__ import annotations

import pytest
import torch
from small_networks import SIZE, SMALLEST, small

from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.model.levels import FeatureNet, LevelledBackbone
from mots_pretrained.published.conference import ConferenceUNet


@pytest.fixture(params=["mots", "conference"])
def backbone(request) -> LevelledBackbone:
    kind = {"mots": MOTSBackbone, "conference": ConferenceUNet}[request.param]
    return kind(small("backbone", backbone=request.param)).eval()


def image_for(backbone: LevelledBackbone) -> torch.Tensor:
    return torch.randn(1, 1, *SMALLEST.get(backbone.config.backbone, SIZE))


def test_channels_and_strides_are_those_of_the_maps(backbone):
    image = image_for(backbone)
    final, maps = backbone.forward_intermediates(image, range(9))
    info = backbone.feature_info
    assert [level.name for level in info] == [
        *(f"encoder_{n}" for n in range(5)),
        *(f"decoder_{n}" for n in range(4)),
    ]
    assert [x.shape[1] for x in maps] == info.channels()
    for x, stride in zip(maps, info.strides(), strict=True):
        assert [n * step for n, step in zip(x.shape[2:], stride, strict=True)] == [*image.shape[2:]]
    assert torch.equal(final, maps[-1])
    assert torch.equal(final, backbone(image).decoder)


@pytest.mark.parametrize("indices", [None, [0], [3, 1], [4], [-1], [0, -9, 8]])
def test_intermediates_are_the_forward_pass_s_own(backbone, indices):
    image = image_for(backbone)
    out = backbone(image)
    every = [*out.encoder, *out.stages]
    wanted = [every[n] for n in (range(5) if indices is None else indices)]
    final, maps = backbone.forward_intermediates(image, indices)
    alone = backbone.forward_intermediates(image, indices, intermediates_only=True)
    net = FeatureNet(backbone, indices)
    for found in (maps, alone, net(image)):
        assert all(torch.equal(x, y) for x, y in zip(found, wanted, strict=True))
    assert net.feature_info.channels() == [x.shape[1] for x in wanted]
    assert torch.equal(final, out.decoder)


def test_what_no_map_needs_is_not_computed(backbone):
    ran = []
    for name in ("encoder.stages.1", "encoder.stages.2", "decoder"):
        module = backbone.get_submodule(name)
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    FeatureNet(backbone, [2, 0])(image_for(backbone))
    assert ran == ["encoder.stages.1"]


@pytest.mark.parametrize("indices", [[], [9], [0, -10]])
def test_maps_that_are_not_there_are_refused(backbone, indices):
    with pytest.raises(ValueError, match=r"numbers of maps, 0 to 8 \(encoder_0"):
        FeatureNet(backbone, indices)
    with pytest.raises(ValueError, match="must be numbers of maps"):
        backbone.forward_intermediates(image_for(backbone), indices)


def test_an_image_that_does_not_fit_is_refused_there_too(backbone):
    with pytest.raises(ValueError, match="must divide by"):
        FeatureNet(backbone, [0])(torch.zeros(1, 1, 16, 32, 20))
