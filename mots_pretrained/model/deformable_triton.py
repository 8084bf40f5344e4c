# mypy: disable-error-code="no-untyped-def"
"""Eq. 11 as Triton kernels, forward and backward: what deformable attention computes by on CUDA.

A program sums for a block of queries and one head; levels come one after the other. Values may be
in half precision; sums are in the type of the locations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from mots_pretrained.model.position import Shape

_QUERIES = 32  # a block


def triton_sum(
    values: Tensor, shapes: Sequence[Shape], locations: Tensor, weights: Tensor, *, heads: int
) -> Tensor:
    """Sum trilinear samples by weights; arguments and result are those of `deformable_sum`."""
    result: Tensor = _DeformableSum.apply(
        values.contiguous(), locations.contiguous(), weights.contiguous(), tuple(shapes), heads
    )
    return result


def try_kernels(device: torch.device) -> None:
    """Compile and run the forward kernel once; raises whatever goes wrong with that."""
    values = torch.zeros(1, 1, 16, device=device)
    locations = torch.full((1, 1, 1, 1, 1, 3), 0.5, device=device)
    triton_sum(values, [(1, 1, 1)], locations, locations[..., 0], heads=1)
    torch.cuda.synchronize(device)


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Make a device the current one, on which Triton launches; its interpreter needs none."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class _DeformableSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        locations: Tensor,
        weights: Tensor,
        shapes: tuple[Shape, ...],
        heads: int,
    ) -> Tensor:
        ctx.save_for_backward(values, locations, weights)
        ctx.shapes, ctx.heads = shapes, heads
        batch, queries = locations.shape[:2]
        total = locations.new_zeros(batch, queries, values.shape[-1])
        arrays = (values, locations, weights, total)
        with _on(locations.device):
            for level, settings in _levels(values, locations, shapes, heads):
                _forward[_grid(locations, heads)](*arrays, *level, **settings)
        return total.to(values.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, locations, weights = ctx.saved_tensors
        gradient = gradient.to(locations.dtype).contiguous()
        of_values = torch.zeros_like(values, dtype=locations.dtype)
        of_locations, of_weights = torch.empty_like(locations), torch.empty_like(weights)
        arrays = (values, locations, weights, gradient, of_values, of_locations, of_weights)
        with _on(locations.device):
            for level, settings in _levels(values, locations, ctx.shapes, ctx.heads):
                _backward[_grid(locations, ctx.heads)](*arrays, *level, **settings)
        return of_values.to(values.dtype), of_locations, of_weights, None, None


def _grid(locations: Tensor, heads: int) -> tuple[int, int]:
    batch, queries = locations.shape[:2]
    return triton.cdiv(queries, _QUERIES), batch * heads


def _levels(
    values: Tensor, locations: Tensor, shapes: Sequence[Shape], heads: int
) -> list[tuple[tuple[int, ...], dict[str, int]]]:
    """Return what a kernel is told of each level: numbers, and those that are compiled in."""
    channels = values.shape[-1] // heads
    settings = {
        "HEADS": heads,
        "LEVELS": len(shapes),
        "POINTS": locations.shape[4],
        "CHANNELS": channels,
        "BLOCK_Q": _QUERIES,
        "BLOCK_C": triton.next_power_of_2(channels),
    }
    firsts = [sum(math.prod(shape) for shape in shapes[:level]) for level in range(len(shapes))]
    sizes = (values.shape[1], locations.shape[1])
    return [
        ((*sizes, first, *shape, level), settings)
        for level, (first, shape) in enumerate(zip(firsts, shapes, strict=True))
    ]


@triton.jit
def _forward(
    values, locations, weights, total, tokens, queries, first, depth, height, width, level,
    HEADS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Add what one level gives to ``total``."""
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    batch, head = tl.program_id(1) // HEADS, tl.program_id(1) % HEADS
    channel = tl.arange(0, BLOCK_C)[None, :]
    known = query < queries
    row = (batch.to(tl.int64) * queries + query) * HEADS + head
    there = known[:, None] & (channel < CHANNELS)
    place = row[:, None] * CHANNELS + channel
    summed = tl.load(total + place, mask=there, other=0.0)
    table = values + ((batch.to(tl.int64) * tokens + first) * HEADS + head) * CHANNELS
    for point in range(POINTS):
        at = (row * LEVELS + level) * POINTS + point
        weight = tl.load(weights + at, mask=known, other=0.0)
        x, low_x = _along(locations + 3 * at, width, known)
        y, low_y = _along(locations + 3 * at + 1, height, known)
        z, low_z = _along(locations + 3 * at + 2, depth, known)
        for corner in tl.static_range(8):
            in_x, share_x, _ = _corner(x, low_x, width, corner % 2)
            in_y, share_y, _ = _corner(y, low_y, height, corner // 2 % 2)
            in_z, share_z, _ = _corner(z, low_z, depth, corner // 4)
            token = ((low_z + corner // 4) * height + low_y + corner // 2 % 2) * width
            token = (token + low_x + corner % 2).to(tl.int64) * (HEADS * CHANNELS)
            inside = (known & in_x & in_y & in_z)[:, None] & (channel < CHANNELS)
            found = tl.load(table + token[:, None] + channel, mask=inside, other=0.0)
            summed += (weight * share_x * share_y * share_z)[:, None] * found.to(summed.dtype)
    tl.store(total + place, summed, mask=there)


@triton.jit
def _backward(
    values, locations, weights, gradient, of_values, of_locations, of_weights,
    tokens, queries, first, depth, height, width, level,
    HEADS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Write one level's gradients of locations and weights, and add those of its values."""
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    batch, head = tl.program_id(1) // HEADS, tl.program_id(1) % HEADS
    channel = tl.arange(0, BLOCK_C)[None, :]
    known = query < queries
    row = (batch.to(tl.int64) * queries + query) * HEADS + head
    there = known[:, None] & (channel < CHANNELS)
    slope = tl.load(gradient + row[:, None] * CHANNELS + channel, mask=there, other=0.0)
    start = ((batch.to(tl.int64) * tokens + first) * HEADS + head) * CHANNELS
    for point in range(POINTS):
        at = (row * LEVELS + level) * POINTS + point
        weight = tl.load(weights + at, mask=known, other=0.0)
        x, low_x = _along(locations + 3 * at, width, known)
        y, low_y = _along(locations + 3 * at + 1, height, known)
        z, low_z = _along(locations + 3 * at + 2, depth, known)
        by_weight, by_x, by_y, by_z = weight * 0, weight * 0, weight * 0, weight * 0
        for corner in tl.static_range(8):
            in_x, share_x, sign_x = _corner(x, low_x, width, corner % 2)
            in_y, share_y, sign_y = _corner(y, low_y, height, corner // 2 % 2)
            in_z, share_z, sign_z = _corner(z, low_z, depth, corner // 4)
            token = ((low_z + corner // 4) * height + low_y + corner // 2 % 2) * width
            token = (token + low_x + corner % 2).to(tl.int64) * (HEADS * CHANNELS)
            inside = (known & in_x & in_y & in_z)[:, None] & (channel < CHANNELS)
            where = start + token[:, None] + channel
            found = tl.load(values + where, mask=inside, other=0.0).to(slope.dtype)
            met = tl.sum(found * slope, axis=1)
            by_weight += share_x * share_y * share_z * met
            by_x += sign_x * share_y * share_z * met
            by_y += share_x * sign_y * share_z * met
            by_z += share_x * share_y * sign_z * met
            moved = (weight * share_x * share_y * share_z)[:, None] * slope
            tl.atomic_add(of_values + where, moved, mask=inside)
        tl.store(of_weights + at, by_weight, mask=known)
        tl.store(of_locations + 3 * at, by_x * weight * width, mask=known)
        tl.store(of_locations + 3 * at + 1, by_y * weight * height, mask=known)
        tl.store(of_locations + 3 * at + 2, by_z * weight * depth, mask=known)


@triton.jit
def _along(place, size, known):
    """Return coordinates in voxels and the voxels below; far outside is as good as outside."""
    voxel = tl.load(place, mask=known, other=0.0) * size - 0.5
    voxel = tl.minimum(tl.maximum(voxel, -2.0), size + 1.0)
    return voxel, tl.floor(voxel).to(tl.int32)


@triton.jit
def _corner(voxel, low, size, upper: tl.constexpr):
    """Return whether a neighbour is inside, its share, and how that changes along the axis."""
    above = voxel - low
    inside = (low + upper >= 0) & (low + upper < size)
    share = above if upper else 1.0 - above
    sign = 1.0 if upper else -1.0
    return inside, share, sign
