from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mots_pretrained.model.deformable_attention import DeformableAttention, deformable_sum
from mots_pretrained.model.position import Shape, reference_points

SHAPES: list[Shape] = [(3, 5, 4), (2, 2, 3), (1, 2, 1)]


def plain_loop(
    values: Tensor, shapes: list[Shape], locations: Tensor, weights: Tensor, *, heads: int
) -> Tensor:
    """The inner sums of Eq. 11, one corner of one sample after the other."""
    batch, queries, _, levels, points, _ = locations.shape
    volumes = values.unflatten(-1, (heads, -1)).split([math.prod(s) for s in shapes], dim=1)
    rows = []
    for b, q, m in product(range(batch), range(queries), range(heads)):
        total = torch.zeros(values.shape[-1] // heads, dtype=values.dtype)
        for level, k in product(range(levels), range(points)):
            depth, height, width = shapes[level]
            volume = volumes[level][b, :, m].unflatten(0, shapes[level])
            x, y, z = locations[b, q, m, level, k] * torch.tensor([width, height, depth]) - 0.5
            x0, y0, z0 = (int(a.detach().floor()) for a in (x, y, z))
            for i, j, n in product((x0, x0 + 1), (y0, y0 + 1), (z0, z0 + 1)):
                if 0 <= i < width and 0 <= j < height and 0 <= n < depth:
                    share = (1 - (x - i).abs()) * (1 - (y - j).abs()) * (1 - (z - n).abs())
                    total = total + weights[b, q, m, level, k] * share * volume[n, j, i]
        rows.append(total)
    return torch.stack(rows).view(batch, queries, -1)


def random_inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = sum(math.prod(shape) for shape in SHAPES)
    values = torch.randn(2, tokens, 6, generator=generator, dtype=dtype)
    # Wider than the unit cube, so that corners and whole samples fall outside.
    locations = torch.rand(2, 4, 2, 3, 2, 3, generator=generator, dtype=dtype) * 1.5 - 0.25
    weights = torch.randn(2, 4, 2, 3, 2, generator=generator, dtype=dtype)
    return values, locations, weights


def test_it_equals_the_plain_loop_with_all_gradients() -> None:
    results = []
    for function in (deformable_sum, plain_loop):
        values, locations, weights = (x.requires_grad_() for x in random_inputs())
        out = function(values, SHAPES, locations, weights, heads=2)
        slopes = torch.autograd.grad(out.sin().sum(), (values, locations, weights))
        results.append((out, *slopes))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=0, atol=1e-9)


def test_it_equals_the_plain_loop_without_gradients() -> None:
    values, locations, weights = random_inputs()
    with torch.inference_mode():
        fast = deformable_sum(values, SHAPES, locations, weights, heads=2)
    slow = plain_loop(values, SHAPES, locations, weights, heads=2)
    torch.testing.assert_close(fast.clone(), slow, rtol=0, atol=1e-9)


def test_a_point_at_a_voxel_reads_that_voxel() -> None:
    shapes: list[Shape] = [(2, 3, 4)]
    values = torch.arange(24.0).view(1, 24, 1)
    locations = reference_points(shapes).view(1, 24, 1, 1, 1, 3)
    out = deformable_sum(values, shapes, locations, torch.ones(1, 24, 1, 1, 1), heads=1)
    torch.testing.assert_close(out, values)


def test_a_point_outside_reads_zero() -> None:
    values, locations, weights = random_inputs()
    out = deformable_sum(values, SHAPES, locations + 5, weights, heads=2)
    assert torch.equal(out, torch.zeros_like(out))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_values_are_summed_in_single(dtype: torch.dtype) -> None:
    values, locations, weights = random_inputs(torch.float32)
    out = deformable_sum(values.to(dtype), SHAPES, locations, weights.to(dtype), heads=2)
    exact = deformable_sum(values, SHAPES, locations, weights, heads=2)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("divisor", "steps"),
    [
        ("level", [(1 / 4, 1 / 5, 1 / 3), (1 / 3, 1 / 2, 1 / 2), (1, 1 / 2, 1)]),
        ("published", [(1 / 64,) * 3, (1 / 32,) * 3, (1 / 16,) * 3]),
    ],
)
def test_offsets_are_divided_as_configured(divisor: str, steps: list) -> None:
    module = DeformableAttention(6, heads=2, levels=3, points=1, divisor=divisor)
    with torch.no_grad():
        module.sampling_offsets.bias.fill_(1.0)
        locations, weights = module.sampling(
            torch.randn(1, 4, 6), torch.full((1, 4, 3), 0.5), SHAPES
        )
    expected = torch.tensor(steps).view(1, 1, 1, 3, 1, 3).expand_as(locations) + 0.5
    torch.testing.assert_close(locations, expected)
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 3))  # they start equal


def test_weights_sum_to_one_over_levels_and_points() -> None:
    module = DeformableAttention(6, heads=2, levels=3, points=4)
    torch.nn.init.normal_(module.attention_weights.weight)
    _, weights = module.sampling(torch.randn(2, 5, 6), torch.rand(1, 5, 3), SHAPES)
    torch.testing.assert_close(weights.sum(dim=(3, 4)), torch.ones(2, 5, 2))


def test_offsets_start_as_rays_one_step_a_point() -> None:
    module = DeformableAttention(24, heads=8, levels=2, points=3)
    bias = module.sampling_offsets.bias.detach().view(8, 2, 3, 3)
    # Head 1 of 8, theta = 45 degrees: (sin cos, cos, sin) = (0.5, 0.707, 0.707), over 0.707.
    torch.testing.assert_close(bias[1, 0, 0], torch.tensor([math.sqrt(0.5), 1.0, 1.0]))
    torch.testing.assert_close(bias[:, 1], bias[:, 0])
    torch.testing.assert_close(bias[:, :, 2], 3 * bias[:, :, 0])


def test_attention_survives_autocast_with_exact_locations() -> None:
    module = DeformableAttention(6, heads=2, levels=3, points=2)
    tokens = sum(math.prod(shape) for shape in SHAPES)
    z = torch.randn(1, tokens, 6)
    reference = reference_points(SHAPES)[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        locations, _ = module.sampling(z, reference, SHAPES)
        out = module(z, reference, z, SHAPES)
    assert locations.dtype == torch.float32
    exact = (
        reference[:, :, None, None, None]
        + module.sampling_offsets.bias.view(2, 3, 2, 3)
        / torch.tensor([[4.0, 5, 3], [3, 2, 2], [1, 2, 1]])[:, None]
    )
    torch.testing.assert_close(locations, exact, rtol=0, atol=0.02)
    torch.testing.assert_close(out.float(), module(z, reference, z, SHAPES), rtol=0.1, atol=0.1)


class Copied(TorchDispatchMode):
    """Counts tensors that come from the host's data, as ``torch.tensor`` makes them."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.lift_fresh.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("divisor", ["level", "published"])
def test_nothing_is_copied_from_the_host(divisor: str) -> None:
    """On an accelerator each copy would wait for all that runs there."""
    module = DeformableAttention(6, heads=2, levels=3, points=2, divisor=divisor)
    tokens = sum(math.prod(shape) for shape in SHAPES)
    with Copied() as copied:
        torch.tensor([1.0])
        assert copied.count == 1
        module(torch.randn(1, 4, 6), torch.rand(1, 4, 3), torch.randn(1, tokens, 6), SHAPES)
    assert copied.count == 1
