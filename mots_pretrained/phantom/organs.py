"""The solid organs of the abdomen, each a solid drawn with a freedom of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mots_pretrained.phantom.body import Body
from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.solids import (
    Solid,
    Tubes,
    ellipsoid,
    tube,
    tube_solid,
    union,
    within,
    without,
)


@dataclass
class Organs:
    """One person's solid organs, before they are painted.

    Attributes:
        liver, spleen, stomach, pancreas, gallbladder: Solids; the gallbladder may be missing.
        kidneys: (right, left) parenchyma.
        sinuses: (right, left) renal sinus and pelvis.
        adrenals: (right, left).
        hilum: Where the portal vein enters the liver.
        pancreas_path: Control points from head to tail.
    """

    liver: Solid
    spleen: Solid
    stomach: Solid
    stomach_path: NDArray
    stomach_fill: float
    pancreas: Solid
    pancreas_path: NDArray
    gallbladder: Solid | None
    kidneys: tuple[Solid, Solid]
    sinuses: tuple[Solid, Solid]
    adrenals: tuple[Tubes, Tubes]
    hilum: NDArray


def draw_organs(free: Freedom, body: Body) -> Organs:
    """Draw one person's organs."""
    stomach_path, stomach = _stomach(free)
    head_to_tail, pancreas = _pancreas(free)
    hilum = free.at((26, -76, -44), 3.0)
    kidneys, sinuses = zip(*(_kidney(free, sign) for sign in (-1.0, 1.0)), strict=True)
    has_gallbladder = free.rng.random() > 0.12
    return Organs(
        liver=_liver(free, body, hilum),
        spleen=_spleen(free, body),
        stomach=stomach,
        stomach_path=stomach_path,
        stomach_fill=float(free.rng.uniform(-0.9, 0.9)),
        pancreas=pancreas,
        pancreas_path=head_to_tail,
        gallbladder=_gallbladder(free) if has_gallbladder else None,
        kidneys=kidneys,
        sinuses=sinuses,
        adrenals=_adrenals(free),
        hilum=hilum,
    )


def _liver(free: Freedom, body: Body, hilum: NDArray) -> Solid:
    rng = free.rng
    reach = rng.normal(0, 14 * free.strength)  # a Riedel lobe, or none
    right = ellipsoid(
        free.at((12 - 0.3 * reach, -58, -78)),
        free.size((92 + 0.6 * reach, 86, 70)),
        free.turn((0, -10, 4), 5),
    )
    left = ellipsoid(
        free.at((48, -104, 0 + rng.normal(0, 8))),
        free.size((36, 44, 76 + rng.normal(0, 12 * free.strength)), 0.14),
        free.turn((6, -18, 14), 6),
    )
    caudate = ellipsoid(free.at((42, -52, -26), 2), free.size((22, 14, 16)))
    # Stomach, duodenum, colon and right kidney press into the underside.
    bed = ellipsoid(
        free.at((-48, -62, 6), 4), free.size((82, 66, 62), 0.06), free.turn((0, 24, 0), 5)
    )
    gullet = ellipsoid(free.at((58, -48, 26), 3), free.size((60, 36, 32), 0.06))
    kidney = ellipsoid(free.at((-38, 6, -60), 3), free.size((60, 38, 40), 0.06))
    porta = ellipsoid(hilum + [-6, 4, 10], (10, 12, 24))
    fissure = ellipsoid(
        free.at((14, -122, -26), 4), (34, 42, rng.uniform(2, 5)), free.turn((12, 0, 0), 6)
    )
    lobes = union(right, left, caudate, width=22)
    carved = without(lobes, bed, gullet, kidney, porta, fissure, width=9)
    gap = rng.uniform(1.0, 4.0)
    liver = within(
        carved,
        lambda p: body.cavity(p) + np.float32(gap),
        lambda p: body.diaphragm(p) + np.float32(2.5),
        width=8,
    )
    high = np.minimum(liver.high, [max(body.right_dome, body.left_dome) + 6, 200, 200])
    return Solid(liver.distance, np.maximum(liver.low, [-170, -200, -160]), high)


def _spleen(free: Freedom, body: Body) -> Solid:
    size = float(np.exp(free.rng.normal(0, 0.17 * free.strength)))
    centre = free.at((28, -16, 106), 5)
    outer = ellipsoid(
        centre, free.size(np.array([54, 50, 40]) * size, 0.06), free.turn((24, 16, -20))
    )
    inner = ellipsoid(
        centre + np.array([-6, -28, -38]) * size,
        free.size(np.array([58, 46, 34]) * size, 0.06),
        free.turn((24, 16, -20)),
    )
    return within(
        without(outer, inner, width=7),
        lambda p: body.cavity(p) + np.float32(3.0),
        lambda p: body.diaphragm(p) + np.float32(3.0),
        width=6,
    )


def _kidney(free: Freedom, sign: float) -> tuple[Solid, Solid]:
    middle = (-16, -2, -66) if sign < 0 else (2, -2, 64)
    centre = free.at(middle, 6, 0.5)
    radii = free.size((55, 26, 29), 0.08)
    angles = free.turn((sign * -32, sign * 14, 8), 7)
    outer = ellipsoid(centre, radii, angles)
    turn = np.deg2rad(angles[0])
    # The hilum looks to the front and to the spine.
    inward = np.array([0, -abs(np.sin(turn)), -sign * np.cos(turn)])
    sinus = ellipsoid(
        centre + inward * radii[2] * 0.52,
        np.array([radii[0] * 0.42, radii[1] * 0.40, radii[2] * 0.62])
        * np.exp(free.rng.normal(0, 0.12)),
        angles,
    )
    return outer, sinus


def _stomach(free: Freedom) -> tuple[NDArray, Solid]:
    full = float(np.exp(free.rng.normal(-0.02, 0.22 * free.strength)))
    path = free.path(
        [
            [64, -24, 56, 17 * full],
            [52, -36, 60, 27 * full],
            [24, -70, 60, 25 * full],
            [-6, -98, 44, 21 * full],
            [-20, -108, 18, 17 * full],
            [-14, -100, -8, 14 * full],
            [-8, -88, -26, 11],
        ],
        6.0,
        0.7,
    )
    return path, tube_solid(tube(path, 24.0), 8.0)


def _pancreas(free: Freedom) -> tuple[NDArray, Solid]:
    size = float(np.exp(free.rng.normal(0, 0.16 * free.strength)))
    path = free.path(
        [
            [-38, -66, -30, 12.5 * size],
            [-20, -72, -26, 16 * size],
            [-6, -80, -6, 11.5 * size],
            [6, -78, 18, 12 * size],
            [14, -64, 42, 12.5 * size],
            [24, -44, 64, 12.5 * size],
            [30, -28, 80, 8.5 * size],
        ],
        4.0,
    )
    spread = np.exp(free.rng.normal(0, 0.10 * free.strength, len(path)))
    path[:, 3] *= spread
    tilt = free.rng.normal(0, 0.12 * free.strength)
    path[:, 0] += tilt * path[:, 2]
    uncinate = ellipsoid(path[0, :3] + [-4, 4, 12], (11 * size, 8 * size, 15 * size))
    return path, union(tube_solid(tube(path, 14.0), 6.0), uncinate, width=8)


def _gallbladder(free: Freedom) -> Solid:
    full = float(np.exp(free.rng.normal(0, 0.22 * free.strength)))
    path = free.path(
        [
            [-28, -112, -76, 11 * full],
            [-14, -102, -70, 13.5 * full],
            [0, -88, -62, 9.5 * full],
            [12, -78, -54, 4],
        ],
        6.0,
        0.7,
    )
    return tube_solid(tube(path, 14.0), 6.0)


def _adrenals(free: Freedom) -> tuple[Tubes, Tubes]:
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

    thick = float(np.exp(free.rng.normal(0, 0.15)))
    shift = free.at((0, 0, 0), 3, 0.5)
    right = limbs(
        np.array([36, -40, -36]) + shift,
        [np.array([16, -16, -38]) + shift, np.array([14, -24, -50]) + shift],
        4.3 * thick,
    )
    shift = free.at((0, 0, 0), 3, 0.5)
    left = limbs(
        np.array([26, -48, 36]) + shift,
        [
            np.array([6, -26, 32]) + shift,
            np.array([4, -34, 50]) + shift,
            np.array([34, -38, 32]) + shift,
        ],
        4.4 * thick,
    )
    return right, left


def paint_stomach(canvas: Canvas, organs: Organs, wall: float) -> None:
    """Stomach wall, food and fluid, and the gas above them (the patient lies on the back)."""
    painted = canvas.measure(organs.stomach, uneven=(2.0, 2.0, 1.0), inside=2.0)
    if painted is None:
        return
    canvas.fill(painted, "stomach_wall", "stomach")
    inside = painted.distance + np.float32(wall)
    canvas.fill(Painted(painted.box, inside), "stomach_fluid")
    path = organs.stomach_path
    level = float(np.mean(path[1:5, 1]) + organs.stomach_fill * np.max(path[:, 3]))
    y = canvas.grid.y[painted.box]
    gas = np.maximum(inside, y - np.float32(level))
    canvas.fill(Painted(painted.box, gas), "bowel_gas")
