from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mots_pretrained.config import TransformerConfig
from mots_pretrained.model.position import position_code, reference_points
from mots_pretrained.model.transformer_encoder import (
    EncoderLayer,
    TransformerEncoder,
    flatten_levels,
    level_shapes,
    unflatten_levels,
)

SHAPES = [(2, 4, 3), (1, 2, 2)]


def config(**changes) -> TransformerConfig:
    small = {"width": 12, "heads": 2, "feedforward": 20, "levels": 2, "encoder_points": 2}
    return TransformerConfig(**{**small, **changes})


def test_levels_survive_flattening() -> None:
    levels = [torch.randn(2, 12, *shape) for shape in SHAPES]
    tokens = flatten_levels(levels)
    assert tokens.shape == (2, 24 + 4, 12)
    assert torch.equal(tokens[1, 2 * 3 + 1], levels[0][1, :, 0, 2, 1])
    for back, level in zip(unflatten_levels(tokens, level_shapes(levels)), levels, strict=True):
        assert torch.equal(back, level)


def feedforward(layer: EncoderLayer, x: torch.Tensor) -> torch.Tensor:
    return layer.feedforward.narrow(F.relu(layer.feedforward.widen(x)))


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_layer_follows_equation_12(pre_norm: bool) -> None:
    layer = EncoderLayer(config(pre_norm=pre_norm, encoder_layers=3, decoder_layers=3)).eval()
    z, position = torch.randn(2, 28, 12), torch.randn(1, 28, 12)
    reference = reference_points(SHAPES)[None]
    norm = lambda x: F.layer_norm(x, (12,))  # noqa: E731 - norms start as the identity
    if pre_norm:
        u = norm(z)
        x = z + layer.attention(u + position, reference, u, SHAPES)
        expected = x + feedforward(layer, norm(x))
    else:
        alpha = 1.141788
        x = norm(layer.attention(z + position, reference, z, SHAPES) + alpha * z)
        expected = norm(feedforward(layer, x) + alpha * x)
    torch.testing.assert_close(layer(z, position, reference, SHAPES), expected, rtol=0, atol=1e-5)


def test_position_is_the_code_plus_the_levels_embedding() -> None:
    encoder = TransformerEncoder(config(), (3, 4, 5))
    position = encoder.position(SHAPES)
    code = position_code(SHAPES[1], 12)[:, 0, 1, 0].float()
    torch.testing.assert_close(position[0, 24 + 2], code + encoder.level_embedding[1])


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_last_levels_become_memory(levels: int) -> None:
    encoder = TransformerEncoder(config(levels=levels, encoder_layers=1), (3, 4, 5))
    features = [
        torch.randn(1, channels, *size)
        for channels, size in zip((3, 4, 5), [(4, 4, 4), (2, 4, 2), (1, 2, 1)], strict=True)
    ]
    memory = encoder(features)
    assert [x.shape[2:] for x in memory] == [x.shape[2:] for x in features[-levels:]]
    assert all(x.shape[1] == 12 for x in memory)


def test_only_pre_norm_ends_with_a_norm() -> None:
    assert isinstance(TransformerEncoder(config(), (3, 4)).norm, torch.nn.Identity)
    assert isinstance(TransformerEncoder(config(pre_norm=True), (3, 4)).norm, torch.nn.LayerNorm)


def test_correct_coordinates_let_a_query_look_around_itself() -> None:
    """With offsets of zero, attention reads each voxel's own value, on non-cubic levels."""
    cfg = config(levels=1, encoder_points=1, heads=1, encoder_layers=1)
    layer = EncoderLayer(cfg).eval()
    for weight in (layer.attention.value_projection, layer.attention.output_projection):
        torch.nn.init.eye_(weight.weight)
    torch.nn.init.zeros_(layer.attention.sampling_offsets.bias)
    z = torch.randn(1, 24, 12)
    own = layer.attention(z, reference_points(SHAPES[:1])[None], z, SHAPES[:1])
    torch.testing.assert_close(own, z, rtol=0, atol=1e-5)


def test_untrained_sampling_points_are_the_rays_of_deformable_detr() -> None:
    """Head 0 looks along +h, in steps of one voxel of each level; all weights are equal."""
    encoder = TransformerEncoder(config(), (4, 6))
    features = [torch.randn(1, c, *s) for c, s in zip((4, 6), SHAPES, strict=True)]
    sampling = encoder.sampling(features)
    assert sampling.shapes == SHAPES
    assert sampling.locations.shape == (1, 24 + 4, 2, 2, 2, 3)
    assert torch.equal(sampling.weights, torch.full((1, 28, 2, 2, 2), 1 / 4))
    first = 0.5 / torch.tensor(SHAPES[0])
    torch.testing.assert_close(sampling.reference[0], first)
    for level, shape in enumerate(SHAPES):
        steps = (sampling.locations[0, 0, 0, level] - first) * torch.tensor(shape)
        torch.testing.assert_close(steps, torch.tensor([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]]))


@pytest.mark.parametrize("pre_norm", [False, True])
def test_sampling_points_are_those_of_the_last_layers_query(pre_norm: bool) -> None:
    """What the last layer's attention is called with in a forward pass."""
    encoder = TransformerEncoder(config(encoder_layers=2, pre_norm=pre_norm), (4, 6)).eval()
    attention = encoder.layers[1].attention
    torch.nn.init.normal_(attention.sampling_offsets.weight)
    torch.nn.init.normal_(attention.attention_weights.weight)
    features = [torch.randn(2, c, *s) for c, s in zip((4, 6), SHAPES, strict=True)]
    seen = []
    hook = attention.register_forward_pre_hook(lambda _, given: seen.append(given))
    encoder(features)
    hook.remove()
    query, reference, _, shapes = seen[0]
    locations, weights = attention.sampling(query, reference, shapes)
    found = encoder.sampling(features)
    torch.testing.assert_close(found.locations, locations.flip(-1))
    torch.testing.assert_close(found.weights, weights)
