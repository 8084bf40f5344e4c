"""Volume positional encoding and reference points (Eqs. 7 and 8)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from mots_pretrained.errors import UserError

Shape = tuple[int, int, int]


def position_code(
    shape: Shape,
    width: int,
    *,
    code: Literal["equation", "published"] = "equation",
    device: torch.device | str | None = None,
) -> Tensor:
    """Return E_pos as a map, the codes of the three axes concatenated in the array's axis order.

    Args:
        shape: Size (D, H, W) of the level.
        width: d; a third of it codes each axis, in pairs of sine and cosine.
        code: ``"equation"``: positions 0 .. n-1 and one frequency a pair, as Eq. 7 reads.
            ``"published"``: positions scaled to (0, 2 pi] and frequency 10000^(3 floor(i/3)/(d/3))
            for component i, sine where i is even, in single precision.
        device: Where the code is made.

    Returns:
        ``(width, D, H, W)``, float64 for ``"equation"`` and float32 for ``"published"``.

    Raises:
        ValueError: If ``width`` does not divide by 6.
    """
    if width % 6:
        raise UserError(f"width must be divisible by 6 (three axes, sine and cosine), not {width}")
    third = width // 3
    axes = [_axis_code(size, third, code, device) for size in shape]
    parts = [
        axis.view(third, *(size if i == j else 1 for j, size in enumerate(shape))).expand(
            -1, *shape
        )
        for i, axis in enumerate(axes)
    ]
    return torch.cat(parts)


def _axis_code(
    size: int,
    width: int,
    code: Literal["equation", "published"],
    device: torch.device | str | None,
) -> Tensor:
    """Return the code of one axis, ``(width, size)``."""
    dtype = torch.float64 if code == "equation" else torch.float32
    index = torch.arange(width, dtype=dtype, device=device)
    if code == "equation":
        position = torch.arange(size, dtype=dtype, device=device)
        exponent = 2 * (index // 2) / width
    else:
        position = torch.arange(1, size + 1, dtype=dtype, device=device) / (size + 1e-6)
        position = position * (2 * math.pi)
        exponent = 3 * (index // 3) / width
    angle = position[None, :] / (10000.0**exponent)[:, None]
    return torch.where((index % 2 == 0)[:, None], angle.sin(), angle.cos())


def reference_points(
    shapes: list[Shape],
    *,
    order: Literal["correct", "published"] = "correct",
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the normalised centre of every voxel of every level, p of Eq. 11.

    Args:
        shapes: Sizes (D, H, W) of the levels.
        order: ``"correct"`` stacks (w, h, d), the order in which sampling reads its three
            coordinates. ``"published"`` stacks (d, w, h) although sampling reads (w, h, d), so a
            query at (d, h, w) looks around depth h, height w and width d; weights trained so
            need it so.
        device: Where the points are made.

    Returns:
        ``(tokens, 3)`` float32 in (0, 1), levels in the order given.
    """
    levels = []
    for shape in shapes:
        centres = [
            (torch.arange(size, dtype=torch.float32, device=device) + 0.5) / size for size in shape
        ]
        d, h, w = torch.meshgrid(*centres, indexing="ij")
        stacked = (w, h, d) if order == "correct" else (d, w, h)
        levels.append(torch.stack(stacked, dim=-1).flatten(0, 2))
    return torch.cat(levels)
