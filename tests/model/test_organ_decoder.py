from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mots_pretrained.config import TransformerConfig
from mots_pretrained.model.organ_decoder import DecoderLayer, OrganDecoder
from mots_pretrained.model.transformer_encoder import flatten_levels, level_shapes


def config(**changes) -> TransformerConfig:
    small = {"width": 12, "heads": 2, "feedforward": 20, "levels": 2, "decoder_points": 2}
    return TransformerConfig(**{**small, **changes})


MEMORY = [(2, 4, 3), (1, 2, 2)]


def memory(batch: int = 2) -> list[torch.Tensor]:
    return [torch.randn(batch, 12, *shape) for shape in MEMORY]


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_layer_follows_equation_13(pre_norm: bool) -> None:
    layer = DecoderLayer(config(pre_norm=pre_norm)).eval()
    levels = memory()
    tokens, shapes = flatten_levels(levels), level_shapes(levels)
    t, e = torch.randn(2, 5, 12), torch.randn(5, 12)
    reference = torch.rand(1, 5, 3)

    def norm(x):
        return F.layer_norm(x, (12,))  # norms start as the identity

    def attend(q, v):
        return layer.self_attention(q, q, v)[0]

    def cross(q):
        return layer.cross_attention(q, reference, tokens, shapes)

    def feedforward(x):
        return layer.feedforward.narrow(F.relu(layer.feedforward.widen(x)))

    if pre_norm:
        x = t + attend(norm(t) + e, norm(t))
        x = x + cross(norm(x) + e)
        expected = x + feedforward(norm(x))
    else:
        alpha = 1.732051
        x = norm(attend(t + e, t) + alpha * t)
        x = norm(cross(x + e) + alpha * x)
        expected = norm(feedforward(x) + alpha * x)
    out = layer(t, e, reference, tokens, shapes)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_every_sample_starts_from_the_same_queries() -> None:
    decoder = OrganDecoder(config(), 5).eval()
    levels = memory(1)
    doubled = [torch.cat([x, x]) for x in levels]
    out = decoder(doubled)
    assert out.shape == (2, 5, 12)
    torch.testing.assert_close(out[0], out[1])
    torch.testing.assert_close(out[:1], decoder(levels), rtol=0, atol=1e-5)


def test_reference_points_come_from_the_embeddings() -> None:
    decoder = OrganDecoder(config(decoder_layers=1), 3).eval()
    seen = []
    decoder.layers[0].cross_attention.register_forward_pre_hook(lambda _m, x: seen.append(x[1]))
    decoder(memory())
    expected = (decoder.embedding @ decoder.reference.weight.T + decoder.reference.bias).sigmoid()
    torch.testing.assert_close(seen[0][0], expected)


def test_the_published_last_norm_of_pre_norm_is_kept_but_never_applied() -> None:
    decoder = OrganDecoder(config(pre_norm=True), 3).eval()
    levels = memory()
    before = decoder(levels)
    torch.nn.init.constant_(decoder.norm.weight, 7.0)
    assert torch.equal(decoder(levels), before)
    assert not hasattr(OrganDecoder(config(), 3), "norm")
