"""A case of noise with two boxes in it, of no size that blocks divide."""

from __future__ import annotations

import numpy as np

from mots_pretrained.data.case import Case


def noise_case(
    seed: int = 0,
    shape: tuple[int, int, int] = (20, 37, 41),
    name: str = "volume-3",
    scale: float = 1.0,
) -> Case:
    """A case of one channel with an organ and a tumour."""
    rng = np.random.default_rng(seed)
    image = (rng.uniform(-1, 1, (1, *shape)) * scale).astype(np.float32)
    target = np.zeros((2, *shape), np.uint8)
    target[0, 3:9, 4:20, 5:30] = 1
    target[1, 5:6, 6:9, 7:8] = 1
    return Case(image, target, (True, True), (0,), name)
