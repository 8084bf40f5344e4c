"""Muscles of back and loins, and the gluteal muscles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.skeleton import Spine
from mots_pretrained.phantom.solids import ellipsoid, tube

# The erector of the spine on one side: height, distance from the midline, half-width, distance
# behind the vertebral bodies' centre, half-depth.
_ERECTOR = np.array(
    [
        [-230, 20, 14, 78, 7],
        [-190, 28, 24, 66, 13],
        [-150, 37, 34, 51, 18],
        [-100, 41, 37, 52, 19],
        [-40, 41, 38, 48, 18],
        [0, 40, 37, 46, 17],
        [60, 36, 33, 43, 15],
        [120, 33, 30, 41, 13],
        [220, 29, 25, 44, 11],
        [320, 24, 20, 66, 10],
    ],
    dtype=float,
)
# Muscles of the loin on one side: control points (z, y, x, radius) and the gap of fat around.
_LOIN: tuple[tuple[NDArray[np.float64], float], ...] = tuple(
    (np.array(points, dtype=float), gap)
    for gap, points in (
        (1.0, [[10, 20, 56, 6], [-50, 17, 72, 9], [-115, 10, 86, 12]]),  # quadratus
        (1.0, [[-140, -18, 88, 9], [-195, -35, 88, 15], [-250, -55, 98, 14]]),  # iliacus
        (
            1.5,  # psoas
            [
                [18, -14, 25, 5],
                [-30, -18, 35, 11],
                [-75, -25, 45, 17],
                [-110, -32, 52, 21],
                [-150, -42, 64, 23],
                [-210, -58, 80, 20],
                [-262, -62, 96, 18],
                [-320, -30, 112, 14],
            ],
        ),
    )
)


def paint_muscles(canvas: Canvas, spine: Spine, rng: np.random.Generator, strength: float) -> None:
    """Erector of the spine as a broad mass a side, quadratus, iliacus and psoas."""
    _paint_erector(canvas, spine, rng, strength)
    for sign in (-1.0, 1.0):
        for points, gap in _LOIN:
            path = points * [1.0, 1.0, sign, strength]
            path[:, 1:3] += rng.normal(0, 2, 2)
            traced = canvas.trace(tube(path, 28.0))
            for painted in traced:
                canvas.fill(painted, "visceral_fat", shrink=-gap)
            for painted in traced:
                canvas.fill(painted, "muscle", "muscle")


def _paint_erector(canvas: Canvas, spine: Spine, rng: np.random.Generator, strength: float) -> None:
    marbling = rng.uniform(0.0, 2.5)
    heights = np.arange(_ERECTOR[0, 0], _ERECTOR[-1, 0] + 1)
    away, wide, behind, deep = (
        np.interp(heights, _ERECTOR[:, 0], column).astype(np.float32)
        for column in _ERECTOR[:, 1:].T
    )
    middle = np.array([spine.at(z) for z in heights], dtype=np.float32)
    low = np.array([heights[0], middle[:, 0].min(), -90.0])
    high = np.array([heights[-1], middle[:, 0].max() + 100, 90.0])
    box = canvas.grid.box(low, high)
    if box is None:
        return
    z, y, x = canvas.grid.points(box)
    row = np.clip(z - np.float32(heights[0]), 0, len(heights) - 1).astype(np.int32)
    half = deep[row] * np.float32(0.5 + 0.5 * strength)
    u = np.abs(x - middle[row, 1]) - away[row]
    v = y - middle[row, 0] - behind[row]
    # A bean: blunt at the spine, thinner to the side, where it bends forward.
    v += u * np.float32(0.10) + (u / wide[row]) ** 2 * np.float32(3)
    d = ((u / wide[row]) ** 4 + (v / half) ** 4) ** np.float32(0.25) - 1
    d = np.maximum(d * half, np.maximum(z - np.float32(318), np.float32(-228) - z))
    d += np.float32(0.8) * canvas.medium[box]
    painted = Painted(box, d)
    canvas.fill(painted, "visceral_fat", shrink=-1.5)
    canvas.fill(painted, "lean_muscle", "muscle")
    # Fat between its strands and between its two columns.
    seam = np.abs(u + np.float32(6)) - np.float32(0.3 + 0.4 * marbling)
    seam = np.maximum(np.maximum(seam, d + np.float32(1)), np.float32(2) - canvas.fine[box] * 3)
    canvas.fill(Painted(box, seam), "visceral_fat")


def paint_buttocks(canvas: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Gluteal muscles, between the hip bone and the fat under the skin."""
    for sign in (-1.0, 1.0):
        for centre, radii, turn in (
            ((-225, 44, 68), (80, 28, 60), 28.0),
            ((-185, 0, 122), (66, 44, 15), 20.0),
            ((-290, -70, 118), (60, 30, 38), 0.0),
        ):
            solid = ellipsoid(
                (centre[0], centre[1] + rng.normal(0, 2), sign * centre[2]),
                np.array(radii) * strength,
                (sign * turn, 0, 0),
            )
            painted = canvas.measure(solid, uneven=(0.0, 2.0, 1.0))
            canvas.fill(painted, "visceral_fat", shrink=-2.0)
            canvas.fill(painted, "lean_muscle", "muscle")
