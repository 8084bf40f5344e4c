"""Every parameter count that the paper prints, exactly, and the registry of architectures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from small_networks import SIZE, SMALLEST, small

from mots_pretrained.config import EncoderConfig, ModelConfig, TransformerConfig
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.networks import build, load
from mots_pretrained.published.conference_unet import ConferenceUNet


def parameters(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(config).parameters())


def transformer(
    width: int = 192, encoder: int = 3, decoder: int = 3, levels: int = 3
) -> ModelConfig:
    return ModelConfig(
        transformer=TransformerConfig(
            width=width,
            encoder_layers=encoder,
            decoder_layers=decoder,
            feedforward=4 * width,
            levels=levels,
        )
    )


@pytest.mark.parametrize(
    ("paper", "config", "exact"),
    [
        pytest.param("40.52", transformer(384, 1, 1), 40_517_589, id="Tables 4 and 5, 1+1"),
        pytest.param("43.77", transformer(384, 3, 1), 43_770_837, id="Table 5, 3+1"),
        pytest.param("44.96", transformer(384, 1, 3), 44_955_093, id="Table 5, 1+3"),
        pytest.param("48.21", transformer(384, 3, 3), 48_208_341, id="Tables 5 and 6, 3+3"),
        pytest.param("59.74", transformer(384, 6, 6), 59_744_469, id="Table 5, 6+6"),
        pytest.param("36.49", transformer(96), 36_489_045, id="Table 6, 96"),
        pytest.param("39.05", transformer(192), 39_049_941, id="Table 6, 192, final"),
        pytest.param("82.67", transformer(768), 82_671_573, id="Table 6, 768"),
        pytest.param("38.46", transformer(levels=1), 38_457_045, id="1 scale"),
        pytest.param("38.80", transformer(levels=2), 38_802_645, id="2 scales"),
    ],
)
def test_transformer_generators(paper: str, config: ModelConfig, exact: int) -> None:
    found = parameters(config)
    assert found == exact
    assert f"{found / 1e6:.2f}" == paper


@pytest.mark.parametrize(
    ("paper", "extra", "exact"), [("35.31", 0, 35_313_472), ("42.49", 2, 42_489_152)]
)
def test_convolution_generators_of_table_4(paper: str, extra: int, exact: int) -> None:
    found = parameters(
        ModelConfig(
            architecture="dodnet",
            encoder=EncoderConfig(extra_blocks=extra),
            transformer=None,
        )
    )
    assert found == exact
    assert f"{found / 1e6:.2f}" == paper


def test_mode_c_counts_as_mode_a_and_mode_b_lacks_one_projection() -> None:
    counts = {
        fusion: parameters(ModelConfig(transformer=TransformerConfig(fusion=fusion)))
        for fusion in ("A", "B", "C")
    }
    assert counts["A"] == counts["C"] == 39_049_941
    assert counts["A"] - counts["B"] == 256 * 192 + 2 * 256


def test_weight_standardisation_adds_no_parameter() -> None:
    assert parameters(ModelConfig(weight_standardisation=True)) == 39_049_941


def test_the_network_has_no_buffers() -> None:
    with torch.device("meta"):
        net = build(ModelConfig())
    assert len(net.state_dict()) == 346  # published 345, one of which is two of ours
    assert list(net.buffers()) == []


@pytest.mark.parametrize(("name", "kind"), [("mots", MOTSBackbone), ("conference", ConferenceUNet)])
def test_a_backbone_alone_is_of_its_own_class(name: str, kind: type, tmp_path: Path) -> None:
    config = small("backbone", backbone=name)
    net = build(config)
    assert type(net) is kind
    net.save_pretrained(tmp_path / "net")
    back = load(tmp_path / "net")
    assert type(back) is kind
    x = torch.randn(1, 1, *SMALLEST.get(name, SIZE))
    torch.testing.assert_close(back(x).decoder, net.eval()(x).decoder)


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(KeyError, match="unknown architecture 'unet'"):
        build(dataclasses.replace(small(), architecture="unet"))


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["transdodnet", "dodnet", "segmenter"])
def test_networks_can_be_exported(architecture: str) -> None:
    net = build(small(architecture)).eval()
    x = torch.randn(1, 1, *SIZE)
    with torch.no_grad():
        exported = torch.export.export(net, (x,)).module()
        torch.testing.assert_close(exported(x), net(x), rtol=0, atol=1e-4)
