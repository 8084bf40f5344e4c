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

_MIDDLE = np.array([36.0, -70.0, -64.0])


def draw_liver(free: Freedom, body: Body, hilum: NDArray, *neighbours: Solid) -> Solid:
    """Draw the liver around its neighbours, which press into it.

    Args:
        free: Freedom of the person.
        body: Trunk, whose inner wall and diaphragm bound the liver.
        hilum: Where the portal vein enters.
        neighbours: Right kidney and stomach.
    """
    rng, strength = free.rng, free.strength
    scale = free.size((1.0, 1.0, 1.0), 0.06)
    shift = free.at((0, 0, 0), np.array([4.0, 5.0, 5.0]))

    def part(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Solid:
        own = rng.normal(0, 4.0 * strength, 3)
        at = _MIDDLE + (np.array(centre) - _MIDDLE) * scale + shift + own
        return ellipsoid(at, free.size(radii, 0.04) * scale, free.turn((0, 0, 0), 5))

    reach = rng.normal(0, 10 * strength)  # a long right lobe, or a short one
    left = rng.normal(0, 12 * strength)  # the left lobe's
    right = part((28 - 0.5 * reach, -60, -80), (98 + 0.5 * reach, 90, 70))
    lobe = part((54, -120, 12 + 0.5 * left), (50, 38, 62 + 0.5 * left))
    caudate = part((42, -58, -24), (26, 16, 20))
    # Bowel, duodenum and gallbladder press into the underside; spine, aorta and gullet behind.
    bed = part((-70, -78, 32), (112, 86, 112))
    renal = part((-64, -6, -60), (66, 46, 42))
    spine = part((30, -6, 14), (190, 46, 46))
    porta = ellipsoid(hilum + [-8, 2, 8], (10, 10, 22))
    fissure = ellipsoid(
        free.at((6, -128, -22), 4), (30, 32, rng.uniform(2, 5)), free.turn((12, 0, 0), 6)
    )
    lobes = union(right, lobe, caudate, width=22)
    carved = without(lobes, bed, renal, spine, porta, fissure, width=12)
    pressed = without(carved, *(grown(n, rng.uniform(-1.0, 1.5)) for n in neighbours), width=4)
    gap = rng.uniform(1.0, 3.0)
    liver = within(
        pressed,
        lambda p: body.cavity(p) + np.float32(gap),
        lambda p: body.diaphragm(p) + np.float32(2.5),
        width=8,
    )
    high = np.minimum(liver.high, [max(body.right_dome, body.left_dome) + 6, 200, 200])
    return Solid(liver.distance, np.maximum(liver.low, [-190, -220, -180]), high)


def draw_gallbladder(free: Freedom) -> Solid:
    """Draw the gallbladder, its fundus at the liver's lower edge and its neck at the hilum."""
    full = free.factor(0.30)
    path = free.path(
        [
            [-20, -116, -82, 8.5 * full],
            [-14, -104, -74, 11.0 * full],
            [-2, -90, -64, 8 * full],
            [10, -80, -52, 4],
        ],
        np.array([8.0, 15.0, 9.0]),
        0.8,
    )
    return tube_solid(tube(path, 14.0), 6.0)
