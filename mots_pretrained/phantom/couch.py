"""What lies around a patient on the scanner's table: the couch and its mattress."""

from __future__ import annotations

import numpy as np

from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.space import Box


def paint_couch(canvas: Canvas, back: float, rng: np.random.Generator) -> None:
    """Paint a couch of one or two thin curved shells around foam, often with a mattress on it.

    Args:
        canvas: Where to paint.
        back: The patient's furthest point behind, in the patient's millimetres.
        rng: Source of the couch's form.
    """
    grid = canvas.grid
    gap = float(np.clip(np.exp(rng.normal(np.log(23), 0.5)), 4, 65))
    thick, shell = float(rng.uniform(12, 70)), float(rng.uniform(1.5, 3.5))
    curve, half, middle = rng.uniform(0, 9e-4), rng.uniform(190, 270), rng.normal(0, 15)
    mattress, single = rng.random() < 0.5, rng.random() < 0.35
    rows = np.flatnonzero((grid.y > back - 70).any(axis=(0, 2)))
    box: Box = (slice(None), slice(rows[0] if len(rows) else 0, None), slice(None))
    across = grid.x[box] - np.float32(middle)
    side = np.abs(across) - np.float32(half)
    depth = grid.y[box] - np.float32(back + gap) + np.float32(curve) * across**2
    if mattress:
        cover = np.abs(depth + np.float32(gap / 2 - 1)) - np.float32(gap / 2 - 1)
        canvas.fill(Painted(box, np.maximum(cover, side + 25)), "mattress")
    table = np.maximum(np.abs(depth - np.float32(thick / 2)) - np.float32(thick / 2), side)
    if not single:
        canvas.fill(Painted(box, table), "couch")
        canvas.fill(Painted(box, table), "couch_core", shrink=shell)
    else:
        sheet = np.maximum(np.abs(depth) - np.float32(shell / 2), side)
        canvas.fill(Painted(box, sheet), "couch")
