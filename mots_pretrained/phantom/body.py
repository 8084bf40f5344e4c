"""The trunk as shells around an axis: skin, fat, muscle wall, ribs and the cavity within."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.couch import paint_couch
from mots_pretrained.phantom.solids import smooth_min, tube
from mots_pretrained.phantom.space import EXTENT_HIGH, EXTENT_LOW, Box, Floats, Points, spline_basis

AXIS_Y = -50.0  # the shells' axis lies 5 cm before the first lumbar vertebra
_ANGLES, _STEP_Z = 512, 2.0
_Z = np.arange(EXTENT_LOW[0], EXTENT_HIGH[0] + _STEP_Z, _STEP_Z)
# Zero at the back, positive on the patient's left, +-pi in front.
_THETA = (np.arange(_ANGLES) + 0.5) / _ANGLES * 2 * np.pi - np.pi

_LOWEST_RIB = -110.0

# Height, then half-width, front and back depth of the cavity, and the wall's side, front, back.
_PROFILE = np.array(
    [
        # z, side, front, back, wall at the side, in front, behind
        [-460, 95, 66, 66, 60, 40, 50],
        [-330, 112, 76, 72, 45, 28, 50],
        [-250, 118, 80, 76, 36, 15, 48],
        [-170, 122, 72, 70, 22, 10, 38],
        [-100, 126, 70, 67, 13, 10, 25],
        [-40, 130, 74, 69, 11, 10, 19],
        [0, 135, 91, 77, 10, 10, 18],
        [50, 138, 105, 86, 11, 10, 18],
        [100, 136, 100, 92, 12, 12, 20],
        [150, 134, 91, 96, 20, 18, 25],
        [200, 118, 77, 92, 36, 24, 31],
        [240, 95, 58, 76, 60, 28, 40],
        [280, 55, 34, 50, 95, 34, 50],
        [310, 34, 24, 36, 70, 34, 46],
        [360, 30, 22, 34, 40, 28, 40],
    ],
    dtype=float,
)


@dataclass(frozen=True)
class Person:
    """What makes one trunk unlike another; lengths in millimetres.

    Attributes:
        fat: Thickness of the fat under the skin.
        belly: Factor of the cavity's depth in front (visceral fat).
        chest: Factor of the chest's depth in front.
        breath: How far the diaphragm and what hangs on it stand higher than at rest.
        female: Whether breasts and a uterus are drawn.
        muscle: Factor of the muscle wall.
        squareness: Exponent of the outline; 2 is an ellipse.
    """

    fat: float
    belly: float
    chest: float
    breath: float
    female: bool
    muscle: float
    squareness: float

    @staticmethod
    def draw(rng: np.random.Generator, randomise: float) -> Person:
        """A random person; more freedom with ``randomise``."""
        wide = 1 + 0.6 * randomise
        return Person(
            fat=float(np.clip(np.exp(rng.normal(np.log(17), 0.5 * wide)), 3, 45)),
            belly=float(np.clip(rng.normal(1.05, 0.13 * wide), 0.75, 1.55)),
            chest=float(np.clip(rng.normal(0.99, 0.13 * wide), 0.7, 1.4)),
            breath=float(np.clip(rng.normal(0, 14 * wide), -45, 40)),
            female=bool(rng.random() < 0.5),
            muscle=float(np.clip(rng.normal(1, 0.15 * wide), 0.55, 1.5)),
            squareness=float(rng.uniform(2.2, 2.8)),
        )


class Body:
    """One trunk's shells, ribs and diaphragm, as distances of points and on a canvas."""

    def __init__(self, rng: np.random.Generator, person: Person) -> None:
        self.person = person
        columns = [np.interp(_Z, _PROFILE[:, 0], c) for c in _PROFILE[:, 1:].T]
        columns = [ndimage.gaussian_filter1d(c, 8, mode="nearest") for c in columns]
        side, front, back, wall_side, wall_front, wall_back = columns
        below = 1 / (1 + np.exp((_Z - 30) / 25))  # the belly bulges, the chest does not
        front = front * (1 + (person.belly - 1) * below * np.clip((_Z + 330) / 120, 0.3, 1))
        front = front * (1 + (person.chest - 1) * np.clip((_Z + 100) / 120, 0, 1))
        side = side * (1 + 0.4 * (person.belly - 1) * below)
        ripple = _ripple(rng, 3.0, 50.0)
        self._cavity = _radius(side, front, back, person.squareness) + ripple
        wall = _around(wall_side, wall_front, wall_back) * person.muscle
        wall *= 1 + 0.12 * _ripple(rng, 1.0, 40.0)
        groove = np.exp(-((np.abs(_THETA) - np.pi) ** 2) / 0.05**2)  # linea alba
        wall -= np.clip(0.5 * wall * groove * below[:, None], 0, None)
        furrow = np.exp(-(_THETA**2) / 0.12**2) * 12  # the spine's furrow
        self._muscle = self._cavity + np.maximum(wall, 4) - furrow
        self._skin = self._muscle + self._fat(rng, below)
        self._cavity_flat, self._muscle_flat, self._skin_flat = (
            table.astype(np.float32).ravel() for table in (self._cavity, self._muscle, self._skin)
        )
        self._ribs, self._cartilage = _rib_cage(rng)
        self.right_dome = 108 + person.breath + rng.normal(0, 4)
        self.left_dome = 96 + person.breath + rng.normal(0, 6)
        self._dome = self._draw_dome()

    def _fat(self, rng: np.random.Generator, below: NDArray) -> NDArray:
        person = self.person
        angle = np.abs(_THETA)
        cheeks = np.exp(-((angle - 0.35) ** 2) / 0.3**2)
        hips = np.clip((-_Z - 60) / 120, 0, 1)[:, None]
        apron = 1.25 * np.clip(-np.cos(angle), 0, 1) ** 0.7 * below[:, None]
        share = 0.62 + 0.25 * np.sin(angle) + 0.25 * np.clip(-np.cos(angle), 0, 1) + apron
        share = share * (0.85 + 0.1 * below[:, None] + 0.35 * hips)
        fat = person.fat * share + min(0.18 * person.fat, 4.0) * _ripple(rng, 1.0, 60.0)
        fat = fat + hips * cheeks * (12 + 0.8 * person.fat)  # buttocks
        if person.female:
            height = np.exp(-((_Z - rng.normal(140, 8)) ** 2) / 45**2)[:, None]
            breast = np.exp(-((angle - rng.uniform(2.2, 2.4)) ** 2) / 0.33**2)
            fat = fat + rng.uniform(15, 40) * (0.5 + person.fat / 40) * height * breast
        navel = np.exp(-((_Z + 100) ** 2) / 9**2)[:, None]
        fat = fat * (1 - 0.6 * navel * np.exp(-((angle - np.pi) ** 2) / 0.08**2))
        return np.maximum(fat, 1.5)

    def place(self, canvas: Canvas) -> None:
        """Work out where every voxel lies among the shells."""
        self._radius, self._index = _polar((canvas.grid.z, canvas.grid.y, canvas.grid.x))
        canvas.cavity = self._radius - self._cavity_flat[self._index]

    def cavity(self, p: Points) -> Floats:
        """Distance from the inner wall of the trunk; negative inside."""
        radius, index = _polar(p)
        return radius - self._cavity_flat[index]

    def diaphragm(self, p: Points) -> Floats:
        """Height above the diaphragm; negative in the abdomen."""
        z, y, x = p
        row = np.clip((y - np.float32(EXTENT_LOW[1])) * np.float32(0.5), 0, len(self._dome) - 1)
        column = (x - np.float32(EXTENT_LOW[2])) * np.float32(0.5)
        column = np.clip(column, 0, self._dome.shape[1] - 1)
        index = row.astype(np.int32) * np.int32(self._dome.shape[1]) + column.astype(np.int32)
        height = z - self._dome.ravel()[index]
        height *= np.float32(0.8)  # the domes slope: nearer than straight up
        return height

    def lining(self, p: Points) -> Floats:
        """Distance from inner wall and diaphragm; negative in the abdomen."""
        return np.maximum(self.cavity(p), self.diaphragm(p))

    def _draw_dome(self) -> Floats:
        """Height of the diaphragm over (back, left), every 2 mm: two domes and the tendon."""
        y = np.arange(EXTENT_LOW[1] + 1, EXTENT_HIGH[1], 2.0)[:, None]
        x = np.arange(EXTENT_LOW[2] + 1, EXTENT_HIGH[2], 2.0)
        # The domes' tops lie a quarter from the front: steep to the front, a long slope behind.
        away = y + 108
        front = np.clip(-away / 50, 0, None) ** 2 * 17
        behind = np.clip(away / 150, 0, None)
        right = self.right_dome - ((x + 72) / 70) ** 2 * 54 - front - behind**1.7 * 58
        left = self.left_dome - ((x - 74) / 70) ** 2 * 48 - front - behind**3 * 58
        tendon = self.left_dome - 4 - (x / 65) ** 2 * 28 - ((y + 100) / 90) ** 2 * 40
        domes = smooth_min(-right, -left, 20.0)
        return -smooth_min(domes, -tendon, 30.0).astype(np.float32)

    def paint(self, canvas: Canvas) -> None:
        """Skin, fat, muscle wall and the cavity's fat."""
        everywhere: Box = (slice(None),) * 3
        for table, tissue, label, shrink in (
            (self._skin_flat, "skin", "", 0.0),
            (self._skin_flat, "fat", "", 2.2),
            (self._muscle_flat, "muscle", "muscle", 0.0),
            (self._cavity_flat, "visceral_fat", None, 0.0),
        ):
            d = self._radius - table[self._index]
            canvas.fill(Painted(everywhere, d), tissue, label, shrink=shrink)

    def paint_ribs(self, canvas: Canvas) -> None:
        """Ribs and their cartilage as bands in the wall."""
        near = np.flatnonzero((canvas.grid.z > -95).any(axis=(1, 2)))
        if not len(near):
            return
        box = (slice(near[0], near[-1] + 1), slice(None), slice(None))
        index = self._index[box]
        shell = np.abs(canvas.cavity[box] - np.float32(5.5)) - np.float32(4.2)
        for table, tissue, core in (
            (self._ribs, "cortical_bone", "spongiosa"),
            (self._cartilage, "cartilage", None),
        ):
            d = np.maximum(table[index], shell)
            painted = Painted(box, d)
            canvas.fill(painted, tissue, "bone" if core else "")
            if core:
                canvas.fill(painted, core, shrink=2.2)

    def outline(self, bottom: float, top: float) -> tuple[NDArray, NDArray]:
        """Low and high (y, x) ends of the skin between two heights."""
        skin = self._skin[(bottom <= _Z) & (top >= _Z)]
        y, x = AXIS_Y + skin * np.cos(_THETA), skin * np.sin(_THETA)
        return np.array([y.min(), x.min()]), np.array([y.max(), x.max()])

    def paint_surroundings(
        self, canvas: Canvas, rng: np.random.Generator, randomise: float
    ) -> None:
        """A couch under the patient, and arms beside the trunk, sometimes."""
        back = float(self.outline(-250, 200)[1][0])
        paint_couch(canvas, back, rng)
        if rng.random() < 0.06 + 0.2 * randomise:
            out = float(self._skin[(_Z > -100) & (_Z < 120)].max())
            for sign in (-1, 1):
                x, y = sign * (out + rng.uniform(48, 70)), rng.uniform(-70, 20)
                path = np.array([[330, y, x * 0.92], [60, y, x], [-430, y - 30, x * 0.95]])
                for radius, tissue in ((44, "fat"), (36, "muscle"), (11, "cortical_bone")):
                    canvas.draw(tube(np.c_[path, np.full(3, radius)], 60.0), tissue)


def _polar(p: Points) -> tuple[Floats, NDArray[np.int32]]:
    z, y, x = p
    back = y - np.float32(AXIS_Y)
    radius = np.sqrt(back * back + x * x)
    turn = np.arctan2(x, back)
    turn += np.float32(np.pi)
    turn *= np.float32(_ANGLES / (2 * np.pi) * 0.999999)
    row = (z - np.float32(EXTENT_LOW[0])) * np.float32(1 / _STEP_Z)
    np.clip(row, 0, len(_Z) - 1, out=row)
    index = row.astype(np.int32) * np.int32(_ANGLES) + turn.astype(np.int32)
    return radius, index


def _around(side: NDArray, front: NDArray, back: NDArray) -> NDArray:
    """A thickness a height, blended around the trunk."""
    depth = np.cos(_THETA)
    share = depth**2
    ends = np.where(depth > 0, back[:, None], front[:, None])
    return (1 - share) * side[:, None] + share * ends


def _radius(side: NDArray, front: NDArray, back: NDArray, power: float) -> NDArray:
    """Radius of a superellipse a height, its front and back of different depth."""
    ends = np.abs(np.cos(_THETA)) ** power
    sides = np.abs(np.sin(_THETA)) ** power
    total = sides * (side**-power)[:, None] + ends * np.where(
        np.cos(_THETA) > 0, (back**-power)[:, None], (front**-power)[:, None]
    )
    return total.astype(np.float32) ** np.float32(-1 / power)


def _ripple(rng: np.random.Generator, amount: float, length: float) -> NDArray:
    """Smooth random waves over height and angle."""
    heights = np.arange(_Z[0] - 2 * length, _Z[-1] + 2 * length, length)
    noise = rng.standard_normal((len(heights), 14))
    noise = np.concatenate([noise, noise[:, :3]], axis=1)  # it closes around the trunk
    rows = (_Z - heights[0]) / length
    columns = (np.arange(_ANGLES) + 0.5) / _ANGLES * 14
    waves = spline_basis(rows, len(heights)) @ noise @ spline_basis(columns, 17).T
    return amount * 2.1 * waves


def _rib_cage(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Distance from the nearest rib and cartilage, as tables over height and angle."""
    half = _ANGLES // 2  # one side is drawn and mirrored
    turn = np.abs(_THETA[:half]) / np.pi
    first = int(np.searchsorted(_Z, _LOWEST_RIB))
    z = _Z[first:, None].astype(np.float32)
    drop = rng.uniform(100, 135)
    bone = np.full((len(_Z) - first, half), 99.0, dtype=np.float32)
    soft = bone.copy()
    for number in range(1, 13):
        head = 268 - (number - 1) * 23.0 - (0, 0, 0, 0, 0, 0, 0, 2, 5, 9, 14, 20)[number - 1]
        end = {11: 0.55, 12: 0.36}.get(number, 0.70 + 0.02 * rng.uniform(-1, 1))
        fall = drop * np.interp(number, [1, 4, 8, 12], [0.35, 0.8, 1.1, 0.8])
        line = head + 6 - fall * np.clip(turn / 0.72, 0, 1) ** 1.15
        climb = np.interp(number, [1, 3, 6, 10], [0, 12, 60, 105])
        line = line + climb * np.clip((turn - 0.72) / 0.28, 0, 1) ** 0.85
        tilt = 1 / np.sqrt(1 + (np.gradient(line, _THETA[:half]) / 135) ** 2)
        d = np.abs(z - line.astype(np.float32)) * tilt.astype(np.float32) - np.float32(4.6)
        beyond = (np.maximum(turn - end, 0.085 - turn) * np.pi * 130).astype(np.float32)
        bone = np.minimum(bone, np.maximum(d, beyond))
        if number <= 10:
            reach = {8: 0.95, 9: 0.9, 10: 0.84}.get(number, 1.0)
            ends = np.maximum(-beyond, ((turn - reach) * np.pi * 130).astype(np.float32))
            soft = np.minimum(soft, np.maximum(d, ends))
    # The sternum closes the cage in front.
    across = np.abs(1 - turn) * np.pi * 110
    plate = np.maximum(across - np.where(z > 225, 24, 15), np.abs(z - 178) - 72)
    bone = np.minimum(bone, plate.astype(np.float32))
    tables = []
    for side in (bone, soft):
        table = np.full((len(_Z), _ANGLES), 99.0, dtype=np.float32)
        table[first:, :half], table[first:, half:] = side, side[:, ::-1]
        tables.append(table.ravel())
    return tables[0], tables[1]
