"""Spine and pelvis."""

from __future__ import annotations

import numpy as np

from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.solids import Solid, ellipsoid, tube, tube_solid, within
from mots_pretrained.phantom.space import Floats, Points

# Height, depth and half-width of the vertebral bodies, from the sacrum to the neck.
_SPINE = np.array(
    [
        [-175, -6, 24],
        [-155, -10, 25],
        [-129, -22, 25],
        [-98, -29, 25],
        [-68, -28, 24],
        [-34, -22, 23],
        [0, -19, 22],
        [32, -16, 21],
        [62, -11, 19],
        [90, -7, 18],
        [140, -1, 16],
        [190, 1, 15],
        [240, -6, 14],
        [300, -42, 13],
        [360, -60, 13],
    ],
    dtype=float,
)
# Heights of the discs, from L5-S1 upwards.
_DISCS = np.array(
    [-146, -113.5, -83, -51, -17, 16, 47, 76, 103, 128, 152, 176, 199, 222, 245, 267, 286, 304, 321]
)


class Spine:
    """One person's spine: where its bodies, discs and processes are."""

    def __init__(self, rng: np.random.Generator, randomise: float) -> None:
        self.lordosis = rng.normal(1, 0.3)
        self.curve = rng.normal(0, 3 + 5 * randomise), rng.uniform(0, 2 * np.pi)
        self.disc = rng.uniform(3.0, 5.0)
        self.girth = rng.normal(1, 0.07)
        z = np.arange(-460.0, 361.0)
        self._z0 = z[0]
        self._y = np.interp(z, _SPINE[:, 0], -12 + (_SPINE[:, 1] + 12) * self.lordosis)
        self._x = self.curve[0] * np.sin(z / 90 + self.curve[1])
        half = np.interp(z, _SPINE[:, 0], _SPINE[:, 2]) * self.girth
        gap = np.abs(z[:, None] - _DISCS).min(axis=1)
        self._gap = gap
        # Waisted between the end plates.
        self._half = half * (1 - 0.10 * np.clip((gap - 4) / 10, 0, 1))
        self._level = 1 - np.clip((gap - self.disc) / 8, 0, 1)

    def at(self, z: float) -> tuple[float, float]:
        """(y, x) of the vertebral bodies' centre at a height."""
        i = int(np.clip(z - self._z0, 0, len(self._y) - 1))
        return float(self._y[i]), float(self._x[i])

    def paint(self, canvas: Canvas) -> None:
        """Bodies, discs, canal and processes."""
        box = canvas.grid.box(np.array([-172.0, -75, -62]), np.array([360.0, 75, 62]))
        if box is None:
            return
        z, y, x = canvas.grid.points(box)
        row = np.clip(z - np.float32(self._z0), 0, len(self._y) - 1).astype(np.int32)
        u = x - self._x.astype(np.float32)[row]
        v = y - self._y.astype(np.float32)[row]
        half = self._half.astype(np.float32)[row]
        gap = self._gap.astype(np.float32)[row]
        end = np.float32(-172) - z  # the sacrum goes on below
        d = np.sqrt((u / half) ** 2 + (v / (half * np.float32(0.74))) ** 2) - 1
        body = np.maximum(d * half * np.float32(0.85), end)
        arch, canal = self._processes(u, v, half, gap)
        fill = canvas.fill
        fill(Painted(box, np.maximum(arch, end)), "cortical_bone", "bone")
        fill(Painted(box, np.maximum(arch, end)), "spongiosa", shrink=2.8)
        fill(Painted(box, body), "cortical_bone", "bone")
        plate = np.maximum(body + np.float32(1.8), np.float32(self.disc + 1.5) - gap)
        fill(Painted(box, plate), "spongiosa")
        fill(Painted(box, np.maximum(body, gap - np.float32(self.disc))), "disc", "bone")
        fill(Painted(box, canal), "visceral_fat", None)
        fill(Painted(box, canal), "cord", shrink=2.0)

    def _processes(self, u: Floats, v: Floats, half: Floats, gap: Floats) -> tuple[Floats, Floats]:
        back = v - half * np.float32(0.74) - np.float32(8.0)  # from the canal's centre
        side = np.abs(u)
        ring = np.sqrt((u * np.float32(0.85)) ** 2 + back**2)
        canal = ring - np.float32(9.0)
        level = np.clip(np.float32(9.0) - gap, -30, 9)  # negative beside the middle of a body
        arch = np.maximum(np.abs(ring - np.float32(12.5)) - np.float32(3.4), level - np.float32(3))
        spinous = np.maximum(
            np.maximum(side - np.float32(3.6), np.abs(back - np.float32(23)) - np.float32(12)),
            level,
        )
        drop = np.abs(back - np.float32(2) - side * np.float32(0.22))
        transverse = np.maximum(np.maximum(drop, np.float32(12) - gap) - np.float32(3.8), side - 40)
        joint = np.sqrt((side - np.float32(17)) ** 2 + (back - np.float32(5)) ** 2) - np.float32(7)
        d = np.minimum(np.minimum(arch, spinous), np.minimum(transverse, joint))
        return np.maximum(d, -canal), canal


def paint_pelvis(canvas: Canvas, rng: np.random.Generator) -> None:
    """Sacrum, hip bones and thigh bones."""
    flare = rng.uniform(0.9, 1.12)
    for sign in (-1.0, 1.0):
        for solid, core in _hip(sign, flare):
            painted = canvas.measure(solid, uneven=(0.5, 1.0, 0.0))
            canvas.fill(painted, "cortical_bone", "bone")
            canvas.fill(painted, "spongiosa", shrink=core)
    sacrum = canvas.measure(_sacrum(), uneven=(0.0, 1.5, 0.8))
    canvas.fill(sacrum, "cortical_bone", "bone")
    canvas.fill(sacrum, "spongiosa", shrink=2.4)


def _sacrum() -> Solid:
    def distance(p: Points) -> Floats:
        z, y, x = p
        t = np.clip((np.float32(-138) - z) * np.float32(1 / 140), 0, 1)
        middle = np.float32(6) + np.float32(62) * t * (np.float32(1.75) - t)
        half = np.float32(58) * (1 - t) ** np.float32(0.75) + np.float32(9)
        thick = np.float32(20) - np.float32(13) * t
        d = np.maximum(np.abs(x) - half, np.abs(y - middle - (x / 60) ** 2 * 10) - thick)
        d = np.maximum(d, np.abs(z + np.float32(210)) - np.float32(72))
        holes = np.sqrt((np.abs(x) - 24) ** 2 + ((z + 138) % 30 - 15) ** 2) - np.float32(5)
        return np.maximum(d, -holes)

    return Solid(distance, np.array([-285.0, -25, -70]), np.array([-135.0, 95, 70]))


def _hip(sign: float, flare: float) -> list[tuple[Solid, float]]:
    def wing(p: Points) -> Floats:
        z, y, x = p
        side = x * np.float32(sign)
        along = (y - np.float32(-15)) * np.float32(-0.83) + (side - np.float32(82)) * np.float32(
            0.55
        )
        height = z + np.float32(165)
        bow = np.float32(82 * flare) - (y + 15) * np.float32(0.62) + height * np.float32(0.22)
        bow = bow + (along * np.float32(1 / 70)) ** 2 * np.float32(-10)
        sheet = np.abs(side - bow) * np.float32(0.8) - np.float32(5.5)
        rim = np.sqrt((along * np.float32(1 / 76)) ** 2 + (height * np.float32(1 / 62)) ** 2) - 1
        crest = np.float32(3.5) * np.clip(rim * 5 + 1, 0, 1)
        return np.maximum(sheet - crest, rim * np.float32(64))

    ends = sorted((0.0, sign * 160))
    sheet = Solid(wing, np.array([-235.0, -100, ends[0]]), np.array([-95.0, 70, ends[1]]))

    def limb(*points: tuple[float, float, float, float]) -> Solid:
        path = np.array(points, dtype=float)
        path[:, 2] *= sign
        return tube_solid(tube(path, 30.0), 8.0)

    socket = within(
        ellipsoid((-262, -28, sign * 88), (36, 36, 36)),
        lambda p: (p[2] * np.float32(sign)) - np.float32(92),
        lambda p: (
            np.float32(28.5)
            - np.sqrt((p[0] + 262) ** 2 + (p[1] + 28) ** 2 + (p[2] - np.float32(sign * 94)) ** 2)
        ),
        width=2.0,
    )
    return [
        (sheet, 2.6),
        (limb((-172, 42, 46, 13), (-215, 18, 70, 12), (-240, -5, 84, 16)), 3.0),
        (socket, 2.6),
        (limb((-255, -62, 70, 10), (-276, -80, 38, 8), (-288, -82, 9, 12)), 2.6),
        (limb((-280, 2, 78, 15), (-312, 14, 68, 14), (-328, 8, 62, 15)), 2.8),
        (limb((-326, 0, 58, 8), (-312, -50, 30, 7), (-298, -76, 10, 9)), 2.4),
        (ellipsoid((-262, -28, sign * 94), (23.5, 23.5, 23.5)), 1.6),
        (limb((-262, -28, 96, 15), (-278, -8, 122, 18)), 2.6),
        (limb((-270, 0, 130, 18), (-310, -8, 126, 18), (-440, -25, 118, 14)), 4.0),
    ]
