"""Lungs with their vessels and fissures, mediastinum, heart and diaphragm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.phantom.body import Body
from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.solids import Solid, ellipsoid, points_inside, tube, union, within
from mots_pretrained.phantom.space import Box, Floats, Points
from mots_pretrained.phantom.vessels import Vessels, grow_tree

_MIDLINE = np.array(
    [
        [0, 34],
        [60, 36],
        [110, 38],
        [160, 34],
        [200, 30],
        [235, 26],
        [270, 30],
        [300, 60],
        [360, 90],
    ],
    dtype=float,
)


class Thorax:
    """One person's lungs and heart."""

    def __init__(self, free: Freedom, body: Body) -> None:
        self.body = body
        self.width = float(np.exp(free.rng.normal(0, 0.12 * free.strength)))
        self.heart_at = free.at((128 + 0.4 * free.lift, -92, 14), 5, 0.3)
        self.heart_size = float(np.exp(free.rng.normal(0, 0.10 * free.strength)))
        self.heart_turn = free.turn((0, 0, 0), 7)
        self.phase = np.float32(free.rng.uniform(0, 6.28))
        self.middle = float(free.rng.normal(0, 4))
        self.posterior = float(free.rng.uniform(0, 60))  # dependent density, HU
        z = np.arange(-460.0, 361.0)
        self._half = np.interp(z, _MIDLINE[:, 0], _MIDLINE[:, 1]).astype(np.float32) * self.width
        self.solid = Solid(self._lungs, np.array([-20.0, -170, -150]), np.array([278.0, 70, 150]))

    def _lungs(self, p: Points) -> Floats:
        return self._cut(p, self.body.cavity(p), self.body.diaphragm(p))

    def _cut(self, p: Points, cavity: Floats, height: Floats) -> Floats:
        z, y, x = p
        row = np.clip(z + np.float32(460), 0, 820).astype(np.int32)
        # Wide before the spine, narrow behind the sternum, open beside the vertebrae.
        taper = 1 - np.float32(0.55) * np.clip((-95 - y) / 45, 0, 1)
        taper = taper - np.float32(0.25) * np.clip((y + 20) / 40, 0, 1)
        bulge = np.float32(4) * np.sin(y * np.float32(1 / 14) + self.phase + z * np.float32(1 / 40))
        middle = self._half[row] * taper + bulge - np.abs(x - np.float32(self.middle))
        d = np.maximum(cavity + np.float32(2.5), middle)
        d = np.maximum(d, np.float32(1.5) - height)
        return np.maximum(d, z - np.float32(272))

    def paint_lungs(self, canvas: Canvas) -> None:
        """Diaphragm, then lung tissue with its fissures above it."""
        grid = canvas.grid
        rows = np.flatnonzero((grid.z > -45).any(axis=(1, 2)))
        if not len(rows):
            return
        box: Box = (slice(rows[0], rows[-1] + 1), slice(None), slice(None))
        p = grid.points(box)
        cavity = canvas.cavity[box]
        height = self.body.diaphragm(p)
        sheet = np.maximum(np.abs(height) - np.float32(1.8), cavity)
        canvas.fill(Painted(box, sheet), "muscle", "muscle")
        above = np.maximum(-height, cavity)
        canvas.fill(Painted(box, above), "visceral_fat", None)
        lungs = Painted(box, self._cut(p, cavity, height))
        canvas.fill(lungs, "lung", "lung")
        inside = lungs.distance < 0
        dense = np.float32(self.posterior) * np.clip((p[1] + 60) * np.float32(1 / 100), -0.5, 1)
        canvas.image[box] += np.where(inside, dense + 18 * canvas.medium[box], 0)
        z, y, x = p
        oblique = np.abs((z - 150) * np.float32(0.72) + (y + 45) * np.float32(0.70)) - np.float32(
            0.8
        )
        minor = np.maximum(np.abs(z - 165) - np.float32(0.8), np.maximum(y + 45, x))
        crack = np.minimum(oblique, minor) + np.float32(1.2) * canvas.coarse[box]
        canvas.fill(Painted(box, np.maximum(crack, lungs.distance)), "fissure")

    def paint_vessels(self, canvas: Canvas, rng: np.random.Generator, count: int) -> None:
        """Pulmonary vessels and the large airways."""
        if not (canvas.grid.z[..., ::8, ::8] > -10).any():
            return
        goals = points_inside(rng, self.solid, count, 5.0)
        for sign in (-1.0, 1.0):
            side = goals[np.sign(goals[:, 2]) == sign]
            hilum = np.array([[160.0, -50, sign * 24], [158, -46, sign * 46]])
            tree = grow_tree(rng, hilum, side, 1.05, 7.0)
            for painted in canvas.trace(tree):
                canvas.fill(painted, "lung_vessel", "")
            root = np.array([[176.0, -44, 0], [166, -42, sign * 22], [152, -38, sign * 42]])
            airway = grow_tree(rng, root, side[:4], 1.6, 6.0)
            canvas.draw(airway, "bronchus", "", wall=("lymph", 1.3))
        trachea = [[330, -62, 0, 8.5], [280, -56, -1, 8.5], [220, -50, -2, 8.5], [176, -44, 0, 9.5]]
        canvas.draw(tube(trachea, 24.0), "bronchus", "", wall=("lymph", 1.4))

    def paint_heart(self, canvas: Canvas, vessels: Vessels) -> None:
        """Heart with its chambers, and the great vessels at its base."""
        c, s, turn = self.heart_at, self.heart_size, self.heart_turn

        def part(offset: tuple[float, float, float], radii: tuple[float, float, float]) -> Solid:
            return ellipsoid(c + np.array(offset) * s, np.array(radii) * s, turn + [18, 22, -12])

        limit = self.body.diaphragm
        whole = within(
            union(part((0, 0, 0), (52, 44, 58)), part((18, 12, -30), (44, 38, 34)), width=20),
            lambda p: np.float32(1.0) - limit(p),
            lambda p: self.body.cavity(p) + np.float32(4),
            width=6,
        )
        muscle = canvas.measure(whole, uneven=(2.0, 2.0, 0.5))
        canvas.fill(muscle, "visceral_fat", "heart", shrink=-4.0)
        canvas.fill(muscle, "myocardium", "heart")
        if muscle is not None:
            for chamber in (
                part((-10, 4, 26), (28, 22, 32)),  # left ventricle
                part((-6, -26, -6), (34, 18, 36)),  # right ventricle
                part((12, 6, -44), (36, 28, 22)),  # right atrium
                part((34, 34, 2), (22, 18, 34)),  # left atrium
            ):
                inner = within(chamber, whole.distance, width=4)
                d = inner.distance(canvas.grid.points(muscle.box))
                canvas.fill(
                    Painted(muscle.box, d + 1.5 * canvas.medium[muscle.box]), "heart_chamber"
                )
        for path, tissue in (
            (
                [
                    [300, -80, -42, 8],
                    [235, -78, -40, 9.5],
                    [165, -76, -38, 10],
                    [140, -76, -40, 12],
                ],
                "vein",
            ),
            ([[138, -104, 14, 14], [168, -92, 18, 14], [182, -70, 20, 12]], "heart_chamber"),
            ([[182, -70, 20, 12], [174, -52, -12, 10], [164, -48, -38, 8]], "heart_chamber"),
            ([[182, -70, 20, 11], [176, -46, 36, 9]], "heart_chamber"),
            ([[226, -66, -14, 6], [262, -72, -36, 5], [330, -70, -40, 4]], "artery"),
            ([[228, -56, 0, 5], [268, -64, 14, 4], [330, -68, 36, 4]], "artery"),
        ):
            canvas.draw(tube(np.array(path, dtype=float), 16.0), tissue)
        nodes = np.array([[185.0, -60, -22], [200, -58, -18], [172, -40, 4], [192, -62, 26]])
        for node in nodes:
            canvas.draw(tube([[*node, 4], [*(node + [4, 2, 3]), 3]], 6.0), "lymph")

    def gullet(self, free: Freedom, junction: NDArray) -> NDArray:
        """Control points of the oesophagus, from the neck to the stomach."""
        points = free.path(
            [
                [330, -44, 4, 7],
                [270, -36, 3, 7],
                [200, -30, -2, 7],
                [140, -30, 2, 8],
                [96, -38, 10, 8],
            ],
            2.0,
            0.0,
        )
        return np.vstack([points, [*(junction + [6, -6, -14]), 8], [*junction, 9]])
