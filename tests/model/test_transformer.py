from __future__ import annotations

import pytest
import torch

from mots_pretrained.config import TransformerConfig
from mots_pretrained.model.deformable_attention import DeformableAttention
from mots_pretrained.model.organ_decoder import DecoderLayer
from mots_pretrained.model.transformer import FeedForward, deepnorm, initialise_deepnorm


@pytest.mark.parametrize(
    ("layers", "encoder", "decoder"),
    [
        ((1, 1), (0.81, 0.87), (1.316074, 0.537285)),
        ((3, 1), (1.066020, 0.661057), (1.316074, 0.537285)),
        ((1, 3), (0.867571, 0.812268), (1.732051, 0.408248)),
        ((3, 3), (1.141788, 0.61719), (1.732051, 0.408248)),
        ((6, 6), (1.417938, 0.496989), (2.059767, 0.343295)),
    ],
)
def test_deepnorm_factors(
    layers: tuple[int, int], encoder: tuple[float, float], decoder: tuple[float, float]
) -> None:
    factors = deepnorm(*layers)
    assert factors["encoder"] == pytest.approx(encoder, abs=1e-6)
    assert factors["decoder"] == pytest.approx(decoder, abs=1e-6)


def test_feedforward_is_linear_relu_linear() -> None:
    layer = FeedForward(2, 2, dropout=0.5).eval()
    with torch.no_grad():
        layer.widen.weight.copy_(torch.tensor([[1.0, 0], [0, 1]]))
        layer.widen.bias.copy_(torch.tensor([0.0, -3]))
        layer.narrow.weight.copy_(torch.tensor([[2.0, 5], [0, 1]]))
        layer.narrow.bias.copy_(torch.tensor([0.5, 0]))
    out = layer(torch.tensor([[[4.0, 2.0], [-1.0, 7.0]]]))
    torch.testing.assert_close(out, torch.tensor([[[8.5, 0.0], [20.5, 4.0]]]))


def test_deepnorm_scales_the_value_path_only() -> None:
    torch.manual_seed(0)
    gain = 0.25
    attention = DeformableAttention(96, heads=8, levels=2, points=2)
    feedforward = FeedForward(96, 384, dropout=0.0)
    initialise_deepnorm(torch.nn.ModuleList([attention, feedforward]), gain)
    xavier = {
        attention.value_projection: (2 / 192) ** 0.5,
        attention.output_projection: (2 / 192) ** 0.5,
        feedforward.widen: (2 / 480) ** 0.5,
        feedforward.narrow: (2 / 480) ** 0.5,
    }
    for layer, std in xavier.items():
        assert layer.weight.std().item() == pytest.approx(gain * std, rel=0.05)
    assert torch.equal(attention.sampling_offsets.weight, torch.zeros(96, 96))


def test_deepnorm_reaches_the_self_attention_of_the_organ_decoder() -> None:
    """As DeepNet has it: values and outputs by the gain, queries and keys by 1."""
    torch.manual_seed(0)
    layer = DecoderLayer(TransformerConfig(width=96, encoder_layers=3, decoder_layers=3))
    gain, xavier = deepnorm(3, 3)["decoder"][1], (2 / 192) ** 0.5
    query, key, value = layer.self_attention.in_proj_weight.chunk(3)
    for matrix, expected in (
        (query, 1.0),
        (key, 1.0),
        (value, gain),
        (layer.self_attention.out_proj.weight, gain),
        (layer.cross_attention.value_projection.weight, gain),
    ):
        assert matrix.std().item() == pytest.approx(expected * xavier, rel=0.05)
