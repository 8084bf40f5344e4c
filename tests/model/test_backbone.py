from __future__ import annotations

import dataclasses

import pytest
import torch
from small_networks import SIZE, TRANSFORMER, small

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.methods.dodnet import DoDNet
from mots_pretrained.methods.transdodnet import TransDoDNet
from mots_pretrained.model.backbone import MOTSBackbone


def test_a_single_coarse_voxel_is_refused() -> None:
    backbone = MOTSBackbone(small("backbone"))
    with pytest.raises(ValueError, match="single voxel at the coarsest"):
        backbone(torch.zeros(1, 1, 16, 32, 32))


def test_without_a_transformer_there_is_no_memory() -> None:
    out = MOTSBackbone(small("backbone", transformer=None))(torch.randn(1, 1, *SIZE))
    assert out.memory == []


def test_features_are_the_forward_pass_before_the_decoder() -> None:
    backbone = MOTSBackbone(small("backbone")).eval()
    x = torch.randn(2, 1, *SIZE)
    whole, features = backbone(x), backbone.forward_features(x)
    for found, expected in ((features.pyramid, whole.encoder), (features.memory, whole.memory)):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert [z.shape[2:] for z in features.memory] == [f.shape[2:] for f in features.pyramid[-2:]]
    means = [m.flatten(2).mean(-1) for m in (whole.encoder[-1], *whole.memory)]
    torch.testing.assert_close(features.embedding, torch.cat(means, dim=1))
    assert features.embedding.shape == (2, 10 + 12 + 12)
    with pytest.raises(ValueError, match="must divide"):
        backbone.forward_features(x[..., :40])


def test_without_a_transformer_the_embedding_is_the_encoders() -> None:
    backbone = MOTSBackbone(small("backbone", transformer=None))
    features = backbone.forward_features(torch.randn(1, 1, *SIZE))
    assert features.memory == []
    assert features.embedding.shape == (1, 10)


@pytest.mark.parametrize("fusion", ["A", "B", "C"])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_modes_and_norms_run_forward_and_back(fusion: str, pre_norm: bool) -> None:
    transformer = dataclasses.replace(TRANSFORMER, fusion=fusion, pre_norm=pre_norm)
    backbone = MOTSBackbone(small("backbone", transformer=transformer))
    out = backbone(torch.randn(1, 1, *SIZE))
    (out.decoder.square().sum() + sum(z.square().sum() for z in out.memory)).backward()
    unused = {name for name, p in backbone.named_parameters() if p.grad is None}
    expected = {
        "C": {
            "decoder.fuse_features.0.weight",
            "decoder.fuse_features.1.weight",
            "decoder.fuse_features.1.bias",
        }
    }
    assert unused == expected.get(fusion, set())


def test_samples_of_a_batch_do_not_touch_each_other() -> None:
    backbone = MOTSBackbone(small("backbone")).eval()
    x = torch.randn(2, 1, *SIZE)
    both, alone = backbone(x), backbone(x[1:])
    torch.testing.assert_close(both.decoder[1:], alone.decoder, rtol=0, atol=1e-4)


def test_an_inference_leaves_the_image_alone() -> None:
    x = torch.randn(1, 1, *SIZE)
    kept = x.clone()
    MOTSBackbone(small("backbone")).eval()(x)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("method", [TransDoDNet, DoDNet])
def test_a_whole_networks_weights_give_its_backbone(method: type) -> None:
    architecture = "transdodnet" if method is TransDoDNet else "dodnet"
    net = method(small(architecture)).eval()
    backbone = MOTSBackbone.from_state(net.config, net.state_dict())
    assert backbone.config.architecture == "backbone"
    x = torch.randn(1, 1, *SIZE)
    assert torch.equal(backbone(x).decoder, net.backbone(x).decoder)


@pytest.mark.parametrize("regions", [False, True])
def test_the_backbone_of_a_segmenter_loads(regions: bool) -> None:
    values = ((1,), (2, 1)) if regions else ((3,), (7,))
    net = Segmenter(small("segmenter", class_values=values, exclusive=not regions)).eval()
    backbone = MOTSBackbone.from_state(net.config, net.state_dict())
    assert (backbone.config.architecture, backbone.config.classes) == ("backbone", ())
    x = torch.randn(1, 1, *SIZE)
    assert torch.equal(backbone(x).decoder, net.backbone(x).decoder)


def test_conference_weights_are_refused_with_a_way_out() -> None:
    config = small("dodnet_conference")
    with pytest.raises(ValueError, match=r"mots_pretrained\.load"):
        MOTSBackbone.from_state(config, {})
