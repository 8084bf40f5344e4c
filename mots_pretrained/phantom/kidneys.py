"""Kidneys, their sinus, cortex, pyramids and collecting system, and the adrenal glands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mots_pretrained.phantom.body import Body
from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.solids import Solid, Tubes, ellipsoid, rotation, tube, without
from mots_pretrained.phantom.space import columns

NAMES = ("right_kidney", "left_kidney")
_CENTRE = {-1.0: (-40.0, -20.0, -70.0), 1.0: (-36.0, -20.0, 66.0)}
# Degrees about (z, y, x): the lateral edge to the back, the upper pole to back and midline.
_TURN = {-1.0: (-43.0, 5.0, -25.0), 1.0: (27.0, 5.0, -21.0)}


@dataclass(frozen=True)
class Kidneys:
    """Both kidneys as solids; pairs are (right, left).

    Attributes:
        parenchyma: Outlines, the sinus taken out.
        sinuses: Renal sinus and pelvis.
        present: False for a kidney that this person lacks.
    """

    parenchyma: tuple[Solid, Solid]
    sinuses: tuple[Solid, Solid]
    present: tuple[bool, bool] = (True, True)

    def here(self) -> list[int]:
        """Indices of the kidneys that this person has."""
        return [side for side in (0, 1) if self.present[side]]


def draw_kidneys(free: Freedom, body: Body, bulk: float, left_lift: float) -> Kidneys:
    """Draw both kidneys; size, place and tilt of the two hang together.

    Args:
        free: Freedom of the person.
        body: Trunk; the kidneys lie before its back wall.
        bulk: Factor of the size of this person's organs.
        left_lift: How far what lies on the left stands higher, in millimetres.
    """
    rng, strength = free.rng, free.strength
    shared = rng.normal(0, [14.0, 10.5, 0.0]) * strength
    shared_turn = rng.normal(0, [6.0, 0.0, 8.0]) * strength
    bulk *= free.factor(0.055)
    pairs = []
    for sign in (-1.0, 1.0):
        centre = free.at(_CENTRE[sign], np.array([9.5, 3.5, 5.0]), 0.3) + shared
        centre[0] += left_lift if sign > 0 else 0.0
        centre[2] += sign * 60 * (bulk - 1)
        depth = body.cavity(columns(centre[None]))[0]
        centre[1] -= max(0.0, float(depth) + 27.0 * bulk)
        radii = free.size((55.5, 22.5, 33.5) if sign < 0 else (57.0, 23.0, 33.0), 0.03) * bulk
        slender = free.factor(0.055)
        radii *= np.array([1.0, slender, 1 / slender])
        turn = rotation(free.turn(_TURN[sign], 7.0) + shared_turn * [sign, 0, 1])
        pairs.append(_kidney(free, sign, centre, radii, turn))
    outlines, sinuses = zip(*pairs, strict=True)
    lost = rng.random()
    return Kidneys(outlines, sinuses, (lost > 0.01, not 0.01 < lost < 0.02))


def _kidney(
    free: Freedom, sign: float, centre: NDArray, radii: NDArray, turn: NDArray
) -> tuple[Solid, Solid]:
    """Outline and sinus: the hilum lies at the edge that looks to the front and the spine."""
    hilum = turn.T @ np.array([0.0, 0.0, -sign])
    depth = free.rng.uniform(0.45, 0.72)
    size = free.factor(0.16) * (1.06 if sign > 0 else 1.0)
    sinus = ellipsoid(
        centre + hilum * radii[2] * depth,
        radii * np.array([0.52, 0.50, 0.54]) * size,
        turn,
    )
    lip = ellipsoid(centre + hilum * radii[2] * 1.12, radii * np.array([0.40, 0.62, 0.42]), turn)
    return without(ellipsoid(centre, radii, turn), lip, width=8), sinus


def draw_adrenals(free: Freedom) -> tuple[Tubes, Tubes]:
    """Draw the (right, left) adrenal gland as thin limbs."""

    def limbs(body: ArrayLike, ends: list[ArrayLike], radius: float) -> Tubes:
        start = np.asarray(body, dtype=float)
        parts = []
        for end in ends:
            stop = np.asarray(end, dtype=float)
            middle = (start + stop) / 2 + free.rng.normal(0, 1.0, 3)
            parts.append(
                tube([[*start, radius], [*middle, radius * 0.95], [*stop, radius * 0.7]], 9.0)
            )
        return Tubes(
            *(np.concatenate([getattr(p, n) for p in parts]) for n in Tubes.__annotations__)
        )

    thick = free.factor(0.15)
    glands = []
    for body, ends, radius in (
        ((32, -38, -38), [(12, -16, -40), (10, -24, -52)], 4.3),
        ((24, -46, 38), [(4, -24, 34), (2, -32, 52), (32, -36, 34)], 4.4),
    ):
        shift = free.at((0, 0, 0), 3, 0.5)
        glands.append(limbs(body + shift, [end + shift for end in ends], radius * thick))
    return glands[0], glands[1]


def paint_renal_fat(canvas: Canvas, kidneys: Kidneys, thick: float) -> None:
    """Perirenal fat; what lies against a kidney is painted over it."""
    for side in kidneys.here():
        canvas.fill(canvas.measure(kidneys.parenchyma[side]), "visceral_fat", None, shrink=-thick)


def paint_kidneys(canvas: Canvas, kidneys: Kidneys, rng: np.random.Generator) -> None:
    """Paint both kidneys.

    Healthy kidneys hold dark parts: pyramids, calyces and a pelvis that no contrast has reached.

    Args:
        canvas: Where to paint.
        kidneys: The person's.
        rng: Source of filling and stones.
    """
    for side in kidneys.here():
        sinus = kidneys.sinuses[side]
        full, reach, cortex = rng.uniform(-1, 7), rng.uniform(0, 8), rng.uniform(4.5, 8)
        swollen, stones = rng.random() < 0.05, int(rng.integers(1, 4)) * (rng.random() < 0.07)
        outer = canvas.measure(kidneys.parenchyma[side], uneven=(0.8, 2.0, 0.9))
        if outer is None:
            continue
        canvas.fill(outer, "renal_cortex", NAMES[side])
        d, box = outer.distance, outer.box
        inner = sinus.distance(canvas.grid.points(box)) + 2.0 * canvas.fine[box]
        hollow = Painted(box, inner)
        canvas.confine(hollow, ("", NAMES[side]))  # not in what lies before the hilum
        inner = hollow.distance
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
        canvas.fill(Painted(box, pelvis), "urine", None)
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
