"""Hollow organs: oesophagus, duodenum, small bowel, colon and bladder with what they hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.phantom.body import Person
from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.organs import Organs
from mots_pretrained.phantom.solids import Tubes, ellipsoid, tube


class Bowel:
    """One person's bowel: paths, girth and filling."""

    def __init__(self, free: Freedom, organs: Organs, person: Person) -> None:
        rng = free.rng
        front = (person.belly - 1) * 70
        sag = rng.uniform(-10, 95) * min(free.strength, 1.4)
        wide = float(np.exp(rng.normal(0, 0.2 * free.strength)))
        pole = organs.spleen.low[0]
        self.colon = free.path(
            [
                [-172, -74 - front * 0.4, -70, 25 * wide],
                [-140, -62, -86, 27 * wide],
                [-96, -46, -102, 25 * wide],
                [-60, -44, -106, 24 * wide],
                [-44, -76 - front * 0.3, -96, 23 * wide],
                [-52 - sag * 0.35, -116 - front, -62, 22 * wide],
                [-56 - sag, -130 - front, -8, 22 * wide],
                [-44 - sag * 0.5, -124 - front, 42, 21 * wide],
                [-8, -100 - front * 0.6, 84, 20 * wide],
                [max(pole + 18, 4), -52, 108, 19 * wide],
                [max(pole - 22, -26), -26, 112, 17 * wide],
                [-70, -22, 114, 15 * wide],
                [-130, -48, 100, 15 * wide],
                [-172, -70, 78, 15 * wide],
                [-205, -68, 50, 16 * wide],
                [-188, -64 - front * 0.2, 12, 17 * wide],
                [-214, -28, -14, 16 * wide],
                [-232, 8, -4, 16 * wide],
                [-270, 30, 0, 19 * wide],
                [-315, 22, 0, 17],
                [-345, 12, 0, 11],
            ],
            6.0,
            0.15,
        )
        self.colon_tubes = self._haustra(rng, tube(self.colon, 11.0))
        self.wall = float(rng.uniform(1.8, 3.2))
        kinds = rng.choice(["gas", "faeces", "fluid", "empty"], 6, p=[0.34, 0.36, 0.2, 0.1])
        self.content = np.repeat(kinds, int(np.ceil(len(self.colon_tubes.start) / 6)))
        self.level = self._levels(rng)
        self.duodenum = self._duodenum(rng, organs)
        self.loops = [self._loop(rng, front) for _ in range(int(rng.integers(9, 15)))]
        self.coils = self._coils(rng.spawn(1)[0])

    def _levels(self, rng: np.random.Generator) -> NDArray:
        """Depth (y) of the surface between gas and what lies under it, one a connected stretch."""
        tubes = self.colon_tubes
        levels = np.empty(len(tubes.start))
        for stretch in np.array_split(np.arange(len(levels)), 6):
            front = (tubes.start[stretch, 1] - tubes.start_radius[stretch]).min()
            depth = np.ptp(tubes.start[stretch, 1]) + 2 * tubes.start_radius[stretch].mean()
            levels[stretch] = front + rng.uniform(0.1, 0.7) * depth
        return levels

    @staticmethod
    def _duodenum(rng: np.random.Generator, organs: Organs) -> NDArray:
        """From the pylorus around the head of the pancreas."""
        head = organs.pancreas_path[1, :3]
        pylorus = organs.stomach_path[-1, :3]
        path = np.array(
            [
                [*pylorus, 10],
                [*(head + [18, -4, -18]), 11],
                [*(head + [-4, 4, -24]), 12],
                [*(head + [-34, 4, -18]), 11.5],
                [*(head + [-44, 8, 8]), 11],
                [*(head + [-40, 8, 34]), 10.5],
                [*(head + [-16, -2, 56]), 10],
            ]
        )
        path[1:, :3] += rng.normal(0, 2.5, (6, 3))
        return path

    @staticmethod
    def _haustra(rng: np.random.Generator, tubes: Tubes) -> Tubes:
        """Bulging pouches along the colon."""
        at = np.arange(len(tubes.start) + 1) * 11.0
        pouch = (
            1
            + 0.16 * np.sin(at / 30 * 2 * np.pi + rng.uniform(0, 6))
            + rng.normal(0, 0.06, len(at))
        )
        return Tubes(
            tubes.start, tubes.end, tubes.start_radius * pouch[:-1], tubes.end_radius * pouch[1:]
        )

    @staticmethod
    def _loop(rng: np.random.Generator, front: float) -> NDArray:
        """A run of small bowel, mostly level."""
        low = np.array([-240.0, -124 - 0.8 * front, -88])
        high = np.array([-22.0, -58, 94])
        at, way, radius = rng.uniform(low, high), rng.normal(size=3), rng.uniform(9, 14)
        girth = (0.8 * radius, 1.2 * radius)
        return _walk(rng, at, way, (low, high), girth, count=13, step=24, turn=(0.35, 0.5, 0.6))

    @staticmethod
    def _coils(rng: np.random.Generator) -> list[NDArray]:
        """Tight coils in the flanks, as far back as the kidneys, beside and below these."""
        coils = []
        for _ in range(int(rng.integers(1, 6))):
            side = 1.0 if rng.random() < 0.7 else -1.0
            middle = np.array([rng.uniform(-180, -40), rng.uniform(-92, -14), 0.0])
            middle[2] = side * rng.uniform(44, 100)
            reach = rng.uniform(10, 30, 3)
            at, way = middle + rng.uniform(-0.5, 0.5, 3) * reach, rng.normal(size=3)
            radius, count = rng.uniform(10, 18), int(rng.integers(4, 11))
            room, girth = (middle - reach, middle + reach), (0.85 * radius, 1.15 * radius)
            coils.append(
                _walk(rng, at, way, room, girth, count=count, step=18, turn=(0.7, 0.7, 0.7))
            )
        return coils

    def paint_loops(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Small bowel, pressed flat against the front wall and by its own coils."""
        for path in self.loops:
            wall = rng.uniform(1.8, 3.5)
            gas = rng.random() < np.clip((-75 - path[:, 1].mean()) / 60, 0.05, 0.6)
            level = float(path[:, 1].min() + rng.uniform(-4, 10))
            self._paint_small_bowel(canvas, path, wall, level=level if gas else None)

    def paint_coils(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Coils in the flanks: collapsed, so that walls touch, or filled; some of them with gas."""
        for path in self.coils:
            wall = rng.uniform(1.8, 3.5)
            collapsed, gas = rng.random() < 0.45, rng.random() < 0.2
            level = float(path[:, 1].min()) if gas else None
            self._paint_small_bowel(canvas, path, None if collapsed else wall, level=level)

    def _paint_small_bowel(
        self, canvas: Canvas, path: NDArray, wall: float | None, *, level: float | None
    ) -> None:
        """Paint a run of it: all wall without a wall's thickness, with gas above a level (y)."""
        traced = canvas.trace(tube(path, 13.0), inside=2.0)
        for painted in traced:
            squeeze = np.float32(2.5) * canvas.medium[painted.box]
            painted.distance = painted.distance + squeeze
            canvas.fill(painted, "bowel_wall", "small_bowel")
        if wall is None:
            return
        for painted in traced:
            canvas.fill(painted, "bowel_fluid", shrink=wall)
        if level is not None:
            for painted in traced:
                self._gas(canvas, painted, wall, level)

    def paint_duodenum(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Duodenum around the head of the pancreas."""
        traced = canvas.draw(
            tube(self.duodenum, 10.0), "bowel_fluid", "duodenum", wall=("bowel_wall", 2.8)
        )
        if rng.random() < 0.4 and traced:
            bulb = self.duodenum[1]
            self._gas(canvas, traced[len(traced) // 4], 3.0, float(bulb[1]))

    @staticmethod
    def _gas(canvas: Canvas, painted: Painted, wall: float, level: float) -> None:
        """Gas in front of a depth (y), within the wall."""
        y = canvas.grid.y[painted.box]
        inside = painted.distance + np.float32(wall)
        canvas.fill(Painted(painted.box, np.maximum(inside, y - np.float32(level))), "bowel_gas")

    def paint_colon(self, canvas: Canvas) -> None:
        """Colon wall, faeces, fluid and gas."""
        kept = canvas.trace(self.colon_tubes, inside=2.0)
        for painted in kept:
            squeeze = np.float32(2.0) * canvas.medium[painted.box]
            painted.distance = painted.distance + squeeze
        for painted in kept:
            canvas.fill(painted, "visceral_fat", None, shrink=-1.2)
        for painted in kept:
            canvas.fill(painted, "bowel_wall", "colon")
        for painted in kept:
            content = self.content[painted.part]
            if content == "empty":
                canvas.fill(painted, "faeces", shrink=self.wall + 5)
                continue
            tissue = "bowel_fluid" if content == "fluid" else "faeces"
            canvas.fill(painted, tissue, shrink=self.wall)
            box = painted.box
            if content == "faeces":  # gas bubbles in it
                bubbles = np.float32(3) * (np.float32(1.1) - canvas.fine[box])
                d = np.maximum(painted.distance + np.float32(self.wall + 1), bubbles)
                canvas.fill(Painted(box, d), "bowel_gas")
            elif content == "gas":
                self._gas(canvas, painted, self.wall, float(self.level[painted.part]))


def _walk(
    rng: np.random.Generator,
    at: NDArray,
    way: NDArray,
    room: tuple[NDArray, NDArray],
    girth: tuple[float, float],
    *,
    count: int,
    step: float,
    turn: tuple[float, float, float],
) -> NDArray:
    """Control points (z, y, x, radius) of a walk that turns back at the walls of its room.

    Args:
        rng: Source of turns and girth.
        at: Where it begins.
        way: Where it heads first.
        room: Lowest and highest points.
        girth: Least and largest radius.
        count: Points.
        step: Millimetres from one to the next.
        turn: How much the way changes at each, by axis.
    """
    low, high = room
    points = []
    for _ in range(count):
        points.append([*at, rng.uniform(*girth)])
        way = way / np.linalg.norm(way) + rng.normal(0, turn)
        way *= step / np.linalg.norm(way)
        way[(at + way < low) | (at + way > high)] *= -1
        at = np.clip(at + way, low, high)
    return np.array(points)


def paint_gullet(canvas: Canvas, path: NDArray, rng: np.random.Generator) -> None:
    """Oesophagus: mostly wall, sometimes with a little air."""
    tubes = tube(path, 14.0)
    canvas.draw(tubes, "oesophagus_wall", "esophagus")
    if rng.random() < 0.35:
        start = int(rng.integers(0, max(len(tubes.start) - 6, 1)))
        some = Tubes(*(getattr(tubes, n)[start : start + 5] for n in Tubes.__annotations__))
        thin = Tubes(some.start, some.end, some.start_radius * 0.4, some.end_radius * 0.4)
        canvas.draw(thin, "bowel_gas")


def paint_pelvic_organs(canvas: Canvas, free: Freedom, person: Person) -> None:
    """Bladder, with prostate or uterus."""
    full = float(np.exp(free.rng.normal(0, 0.32 * free.strength)))
    height = 34 * full
    where = free.at((-276 + height, -44, 0), 4, 0.0)
    if person.female:
        uterus = ellipsoid(
            free.at((-236, -12, 0), 5, 0.0),
            free.size((24, 26, 30), 0.14),
            free.turn((0, 0, 20), 12),
        )
        canvas.paint(uterus, "pelvic_organ", uneven=(1.0, 2.0, 0.5), halo=2.0)
    else:
        prostate = ellipsoid(free.at((-288, -24, 0), 3, 0.0), free.size((20, 18, 24), 0.14))
        canvas.paint(prostate, "pelvic_organ", uneven=(0.0, 1.0, 0.5), halo=2.0)
    bladder = ellipsoid(where, free.size(np.array([34, 32, 40]) * full, 0.06))
    painted = canvas.measure(bladder, uneven=(2.0, 1.5, 0.0), inside=3.0)
    canvas.fill(painted, "visceral_fat", None, shrink=-2.0)
    canvas.fill(painted, "bladder_wall", "bladder")
    canvas.fill(painted, "urine", shrink=3.0)
