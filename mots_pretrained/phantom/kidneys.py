"""Tissues of the kidneys: cortex, pyramids, columns, calyces, renal sinus, pelvis and stones."""

from __future__ import annotations

import numpy as np

from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.organs import Organs


def paint_kidneys(canvas: Canvas, organs: Organs, fat: float, rng: np.random.Generator) -> None:
    """Paint both kidneys.

    Healthy kidneys hold dark parts: pyramids, calyces and a pelvis that no contrast has reached.

    Args:
        canvas: Where to paint.
        organs: The person's kidneys and sinuses.
        fat: Thickness of the fat around a kidney, in millimetres.
        rng: Source of filling and stones.
    """
    for kidney, sinus, label in zip(
        organs.kidneys, organs.sinuses, ("right_kidney", "left_kidney"), strict=True
    ):
        full, reach, cortex = rng.uniform(-1, 7), rng.uniform(0, 8), rng.uniform(4.5, 8)
        swollen, stones = rng.random() < 0.05, int(rng.integers(1, 4)) * (rng.random() < 0.07)
        outer = canvas.measure(kidney, uneven=(1.0, 2.2, 0.6), inside=1.0)
        if outer is None:
            continue
        canvas.fill(outer, "visceral_fat", None, shrink=-fat)
        canvas.fill(outer, "renal_cortex", label)
        d, box = outer.distance, outer.box
        inner = sinus.distance(canvas.grid.points(box)) + 2.0 * canvas.fine[box]
        # Pyramids: medulla under the cortex, parted by columns.
        lobes = canvas.fine[box] + canvas.medium[box] - np.float32(0.3)
        column = np.float32(4.0) * lobes
        canvas.fill(Painted(box, np.maximum(d + np.float32(cortex), column)), "renal_medulla")
        canvas.fill(Painted(box, inner), "visceral_fat", None)
        # Each pyramid's tip lies in a calyx, a cup of urine.
        cups = np.maximum(inner - np.float32(reach), column + np.float32(3.0))
        cups = np.maximum(cups, d + np.float32(cortex + 2))
        canvas.fill(Painted(box, cups), "urine")
        pelvis = inner + np.float32(-4.0 if swollen else 7 - full)
        if not swollen:
            pelvis = np.maximum(pelvis, -column - np.float32(3))
        canvas.fill(Painted(box, np.maximum(pelvis, d + np.float32(2))), "urine", None)
        _paint_stones(canvas, Painted(box, np.minimum(cups, pelvis)), stones, rng)


def _paint_stones(canvas: Canvas, urine: Painted, count: int, rng: np.random.Generator) -> None:
    """Put stones where a kidney holds urine."""
    places = np.argwhere(urine.distance < 0)
    if not len(places) or not count:
        return
    points = canvas.grid.points(urine.box)
    for at in places[rng.integers(0, len(places), count)]:
        square = sum((p - p[tuple(at)]) ** 2 for p in points)
        ball = np.sqrt(square) - np.float32(rng.uniform(1.5, 5))
        canvas.fill(Painted(urine.box, ball), "stone")
