"""Two crops of one scan that share a part of it, each changed on its own (BYOL-3D, Sec. 4.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mots_pretrained.data.augment import Augmentation, change_appearance
from mots_pretrained.data.case import Case
from mots_pretrained.data.patches import Pad, draw_start, extract
from mots_pretrained.data.stream import PatchStream
from mots_pretrained.model.encoder import STRIDE
from mots_pretrained.shapes import Size

APPEARANCE = Augmentation(
    noise=(0.5, 0.2),
    blur=(0.5, (0.5, 1.0)),
    brightness=(0.5, (0.7, 1.3)),
    shift=(0.5, 0.1),
    contrast=(0.5, (0.65, 1.5)),
    low_resolution=(0.25, (0.5, 1.0)),
    gamma=(0.5, (0.7, 1.5)),
    channels=1.0,
)
"""How a view's appearance is changed: more often than for segmentation, since telling two views
apart by it is what must not help. Nothing is mirrored: left and right are part of what a place is,
and nothing is turned or zoomed: cells of the two views have to lie on one another."""


@dataclass(frozen=True)
class Views:
    """Pairs of overlapping crops.

    Attributes:
        images: ``(B, 2, C, D, H, W)`` float, scaled as the model's contract says.
        shift: ``(B, 3)`` int64, by how many cells of the encoder's coarsest map the second crop
            begins after the first, along (D, H, W).
    """

    images: Tensor
    shift: Tensor

    def to(self, device: torch.device | str) -> Views:
        """Return them on another device; the shifts, which index, stay where they are."""
        return Views(self.images.to(device, non_blocking=True), self.shift)


@dataclass(frozen=True)
class ViewStream(PatchStream):
    """Pairs of crops without end, of the same cases and as resumable as training patches."""

    def draw(self, case: Case, rng: np.random.Generator) -> tuple[Any, ...]:
        """Cut two crops: images ``(2, C, *patch)`` float32 and the shift between them in cells."""
        return draw_views(case, self.sampling.patch, rng, pad=self.sampling.pad)

    def sample(self, *arrays: Any) -> Views:
        """Make what ``draw`` returned a batch of one."""
        images, shift = arrays
        return Views(torch.from_numpy(images)[None], torch.tensor([shift]))

    def joined(self, samples: list[Any]) -> Views:
        """Make batches of one a batch."""
        return Views(
            torch.cat([one.images for one in samples]), torch.cat([one.shift for one in samples])
        )


def draw_views(
    case: Case,
    patch: Size,
    rng: np.random.Generator,
    *,
    pad: Pad = "edge",
    appearance: Augmentation | None = APPEARANCE,
) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    """Cut two crops that share at least one cell along each axis, and most of them on average.

    Args:
        case: The scan; its targets are not looked at.
        patch: Voxels along (D, H, W), whole cells of 16, 32, 32.
        rng: Where the chance comes from.
        pad: Image outside the scan.
        appearance: How each crop is changed; None leaves it.

    Returns:
        ``(2, C, *patch)`` float32, and by how many cells the second begins after the first: along
        an axis of n cells up to n // 2, less where the scan ends before.
    """
    first = draw_start(case, patch, rng, foreground=0.0)
    shift = []
    for start, extent, size, cell in zip(first, patch, case.shape, STRIDE, strict=True):
        reach = extent // cell // 2
        low = max(-reach, -(max(0, start) // cell))
        high = min(reach, max(0, size - extent - start) // cell)
        shift.append(int(rng.integers(low, high + 1)))
    depth, height, width = (a + s * c for a, s, c in zip(first, shift, STRIDE, strict=True))
    crops = [
        extract(case, begin, patch, pad=pad)[0].astype(np.float32)
        for begin in (first, (depth, height, width))
    ]
    if appearance is not None:
        crops = [change_appearance(crop, appearance, rng) for crop in crops]
    return np.stack(crops), (shift[0], shift[1], shift[2])
