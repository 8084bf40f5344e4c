"""The liver, fitted under the diaphragm and against the wall, and the gallbladder in its bed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.phantom.body import Body
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.solids import (
    Solid,
    ellipsoid,
    grown,
    tube,
    tube_solid,
    union,
    within,
    without,
)
from mots_pretrained.phantom.space import columns

_DOWN = np.array([-0.75, 0.1, 0.65])  # from the liver's underside into the bowel
_MIDDLE = np.array([36.0, -70.0, -64.0])


def draw_liver(
    free: Freedom, body: Body, bulk: float, hilum: NDArray, kidney: Solid, stomach: Solid
) -> Solid:
    """Draw the liver around its neighbours, which press into it.

    Args:
        free: Freedom of the person.
        body: Trunk, whose inner wall and diaphragm bound the liver.
        bulk: Factor of the size of this person's organs.
        hilum: Where the portal vein enters.
        kidney: The right one.
        stomach: The stomach.
    """
    rng, strength = free.rng, free.strength
    scale = bulk * np.exp(rng.normal(0, [0.05, 0.05, 0.06]) * strength)
    shift = free.at((0, 0, 0), np.array([4.0, 5.0, 5.0]))

    def part(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Solid:
        own = rng.normal(0, 4.0 * strength, 3)
        at = _MIDDLE + (np.array(centre) - _MIDDLE) * scale + shift + own
        return ellipsoid(at, free.size(radii, 0.06) * scale, free.turn((0, 0, 0), 5))

    reach = rng.normal(0, 13 * strength) + 35 * (rng.random() < 0.05)  # of the right lobe
    left = float(np.clip(rng.normal(-10, 19 * strength), -55, 60))  # the left lobe's
    right = part((27 - 0.5 * reach, -62, -82), (105 + 0.5 * reach, 96, 70))
    lobe = part((42 + rng.normal(0, 11), -122, 12 + 0.5 * left), (62, 42, 56 + 0.6 * left))
    middle = part((58, -88, -18), (42, 46, 50))
    # Bowel, duodenum and gallbladder press into the underside; spine, aorta and gullet behind.
    bed = part((-131, -64, 50), (180, 112, 165))
    spine = part((30, -6, 14), (190, 46, 46))
    porta = ellipsoid(hilum + [-8, 2, 8], (10, 10, 22))
    fissure = ellipsoid(
        free.at((6, -128, -22), 4), (30, 32, rng.uniform(1, 3)), free.turn((12, 0, 0), 6)
    )
    lobes = union(right, lobe, middle, width=40)
    carved = without(lobes, bed, spine, porta, fissure, width=12)
    pressed = without(
        carved, grown(kidney, rng.uniform(2, 6)), grown(stomach, rng.uniform(-9, -4)), width=4
    )
    gap = rng.uniform(1.0, 3.0)
    liver = within(
        pressed,
        lambda p: body.cavity(p) + np.float32(gap),
        lambda p: body.diaphragm(p) + np.float32(2.5),
        width=8,
    )
    high = np.minimum(liver.high, [max(body.right_dome, body.left_dome) + 6, 200, 200])
    return Solid(liver.distance, np.maximum(liver.low, [-190, -220, -180]), high)


def draw_gallbladder(free: Freedom, liver: Solid) -> Solid:
    """Draw the gallbladder, half sunk into the liver's underside, its neck towards the hilum."""
    full = free.factor(0.30)
    path = free.path(
        [
            [-22, -118, -88, 8.5 * full],
            [-16, -106, -80, 11.0 * full],
            [-4, -92, -69, 8 * full],
            [8, -82, -56, 4],
        ],
        np.array([7.0, 15.0, 9.0]),
        0.8,
    )
    sunk = free.rng.normal(-0.05, 0.35)
    for _ in range(3):
        depth = liver.distance(columns(path[:3, :3])).mean() + sunk * path[1, 3]
        path[:, :3] += np.clip(-depth, -15, 25) * _DOWN
    return tube_solid(tube(path, 14.0), 6.0)
