"""Multi-scale deformable attention (Eqs. 10 and 11), in plain torch; on CUDA by Triton."""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import warnings
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from mots_pretrained.model.position import Shape
from mots_pretrained.shapes import Tokens


class DeformableAttention(nn.Module):
    """MSDA(q, S'): each query samples K points a head and level, and sums them by weights.

    Args:
        width: d, channels of queries and values.
        heads: h.
        levels: L.
        points: K.
        divisor: What an offset is divided by to become a normalised coordinate: ``"level"``, the
            level's own size on each axis (so offsets count voxels, as in Deformable DETR), or
            ``"published"``, 16 * 2^(L-1-l) on every axis.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        levels: int,
        points: int,
        divisor: Literal["level", "published"] = "level",
    ) -> None:
        super().__init__()
        self.heads, self.levels, self.points, self.divisor = heads, levels, points, divisor
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 3)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_projection = nn.Linear(width, width)
        self.output_projection = nn.Linear(width, width)
        self._initialise()

    def _initialise(self) -> None:
        """Start with equal weights and points on rays, one direction a head (Zhu et al., 2021)."""
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ray = torch.stack([angle.sin() * angle.cos(), angle.cos(), angle.sin()], dim=-1)
        ray = ray / ray.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        bias = ray[:, None, None, :] * steps[None, None, :, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(bias.expand(-1, self.levels, -1, -1).flatten())
        for layer in (self.value_projection, self.output_projection):
            nn.init.zeros_(layer.bias)

    def forward(
        self, query: Tokens, reference: Tensor, values: Tokens, shapes: list[Shape]
    ) -> Tokens:
        """Attend.

        Args:
            query: ``(B, Q, width)``.
            reference: ``(B or 1, Q, 3)`` normalised points in the order (w, h, d).
            values: ``(B, tokens, width)``, the levels flattened one after the other.
            shapes: Size (D, H, W) of each level.

        Returns:
            ``(B, Q, width)``.
        """
        locations, weights = self.sampling(query, reference, shapes)
        sampled = deformable_sum(
            self.value_projection(values), shapes, locations, weights, heads=self.heads
        )
        return self.output_projection(sampled)

    def sampling(
        self, query: Tokens, reference: Tensor, shapes: list[Shape]
    ) -> tuple[Tensor, Tensor]:
        """Return where and how much to sample: what Fig. 7 draws.

        Returns:
            Locations ``(B, Q, heads, levels, points, 3)``, normalised, in the order (w, h, d),
            and weights ``(B, Q, heads, levels, points)`` that sum to one over levels and points.
        """
        parts = {"h": self.heads, "l": self.levels, "k": self.points}
        offsets = rearrange(
            self.sampling_offsets(query), "b q (h l k xyz) -> b q h l k xyz", **parts
        )
        weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).softmax(dim=-1)
        weights = weights.unflatten(-1, (self.levels, self.points))
        # At least single precision: half is coarser than a voxel.
        exact = torch.promote_types(query.dtype, torch.float32)
        divisor = self._divisor(shapes, query.new_empty(0, dtype=exact))
        locations = reference[:, :, None, None, None, :] + offsets / divisor[:, None, :]
        return locations, weights

    def _divisor(self, shapes: list[Shape], like: Tensor) -> Tensor:
        """Return what offsets are divided by, ``(levels, 3)`` in the order (w, h, d).

        Each number is filled in on the device: a copy from the host would wait for it.
        """
        if self.divisor == "level":
            rows = [shape[::-1] for shape in shapes]
        else:
            rows = [(16 * 2 ** (self.levels - 1 - level),) * 3 for level in range(self.levels)]
        return torch.stack([like.new_full((), size) for row in rows for size in row]).view(-1, 3)


def deformable_sum(
    values: Tensor, shapes: list[Shape], locations: Tensor, weights: Tensor, *, heads: int
) -> Tensor:
    """Sum trilinear samples by weights, never holding them of all levels at once.

    Args:
        values: ``(B, tokens, width)``, projected.
        shapes: Size (D, H, W) of each level.
        locations: ``(B, Q, heads, levels, points, 3)`` normalised, in the order (w, h, d).
        weights: ``(B, Q, heads, levels, points)``.
        heads: Number of heads that share ``width``.

    Returns:
        ``(B, Q, width)``; a point outside its level counts as zero.
    """
    weights = weights.to(locations)
    if locations.is_cuda and not _must_be_plain() and has_kernels(locations.device):
        from mots_pretrained.model.deformable_triton import triton_sum

        return triton_sum(values, shapes, locations, weights, heads=heads)
    exact = values.to(locations)  # half precision is summed in single
    gather = locations.device.type == "cpu" and not (
        torch.is_grad_enabled() or torch.compiler.is_compiling()
    )
    function = _gathered_sum if gather else _sampled_sum
    return function(exact, shapes, locations, weights, heads).to(values)


@functools.cache
def has_kernels(device: torch.device) -> bool:
    """Whether Triton's kernels run on a CUDA device, unless MOTS_TRITON=0 says otherwise.

    They need a C compiler and Python's headers, which small images lack.
    """
    wanted = os.environ.get("MOTS_TRITON", "1") != "0"
    found = wanted and importlib.util.find_spec("triton") is not None
    if not found or torch.cuda.get_device_capability(device) < (7, 0):
        return False
    try:
        from mots_pretrained.model.deformable_triton import try_kernels

        try_kernels(device)
    except Exception as error:  # of Triton, a compiler or a driver: of any kind
        reason = f"{error}".strip().partition("\n")[0]
        warnings.warn(
            f"Triton's kernels do not run on {device} ({reason:.200}): attention is computed by "
            "torch, more slowly. They need a C compiler such as gcc; MOTS_TRITON=0 leaves them out",
            stacklevel=2,
        )
        return False
    return True


def _must_be_plain() -> bool:
    """Whether a graph is drawn of what is computed, or gradients have to be deterministic."""
    drawn = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return drawn or (torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled())


def _sampled_sum(
    values: Tensor, shapes: list[Shape], locations: Tensor, weights: Tensor, heads: int
) -> Tensor:
    """Draw samples by ``grid_sample`` and sum them level by level; its gradients are quick."""
    grids = rearrange(2 * locations - 1, "b q h l k xyz -> l (b h) q k 1 xyz")
    scales = rearrange(weights, "b q h l k -> l (b h) 1 q k")
    tokens = values.split([d * h * w for d, h, w in shapes], dim=1)
    total = values.new_zeros(())
    for level, (d, h, w) in enumerate(shapes):
        volume = rearrange(
            tokens[level], "b (d h w) (m c) -> (b m) c d h w", m=heads, d=d, h=h, w=w
        )
        samples = F.grid_sample(
            volume, grids[level], mode="bilinear", padding_mode="zeros", align_corners=False
        )  # (B*heads, channels, Q, K, 1)
        total = total + (samples.squeeze(-1) * scales[level]).sum(-1)
    return rearrange(total, "(b m) c q -> b q (m c)", m=heads)


def _gathered_sum(
    values: Tensor, shapes: list[Shape], locations: Tensor, weights: Tensor, heads: int
) -> Tensor:
    """Look up the eight corners of all samples in the tokens as they lie: the CPU's quickest way.

    A token's channels lie side by side, so that each corner is one weighted row of a table, and
    ``embedding_bag`` adds the rows of all levels and points up. Its gradient is slow.
    """
    batch, queries = locations.shape[:2]
    tokens, width = values.shape[1:]
    table = values.reshape(batch * tokens * heads, width // heads)
    counts = [d * h * w for d, h, w in shapes]
    first = torch.tensor([sum(counts[:level]) for level in range(len(shapes))])
    base = (torch.arange(batch) * tokens)[:, None, None, None, None] + first[:, None]
    base = (base * heads + torch.arange(heads)[:, None, None]).int()  # (B, 1, heads, L, 1)
    axes = []
    for axis in range(3):
        size = torch.tensor([shape[2 - axis] for shape in shapes])[:, None].int()
        step = torch.tensor([heads * math.prod(shape[3 - axis :]) for shape in shapes])
        x = locations[..., axis] * size - 0.5
        low = x.floor()
        share = x - low
        axes.append(
            [
                _corner(low.int(), 1 - share, size, step[:, None].int()),
                _corner(low.int() + 1, share, size, step[:, None].int()),
            ]
        )
    total = values.new_zeros(batch * queries * heads, width // heads)
    for z, in_z in axes[2]:
        z, in_z = base + z, weights * in_z
        for y, in_y in axes[1]:
            zy, in_zy = z + y, in_z * in_y
            for x, in_x in axes[0]:
                rows, scales = (zy + x).flatten(3).flatten(0, 2), in_zy * in_x
                total += F.embedding_bag(
                    rows, table, mode="sum", per_sample_weights=scales.view_as(rows)
                )
    return total.view(batch, queries, width)


def _corner(index: Tensor, share: Tensor, size: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows to skip for a voxel index along an axis, and its share; zero share outside."""
    inside = (index >= 0) & (index < size)
    return torch.where(inside, index * step, 0), torch.where(inside, share, 0.0)
