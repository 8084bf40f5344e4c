"""The organs of the upper abdomen, each a solid drawn with a freedom of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.phantom.body import Body
from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.kidneys import Kidneys, draw_adrenals, draw_kidneys
from mots_pretrained.phantom.liver import draw_gallbladder, draw_liver
from mots_pretrained.phantom.solids import (
    Solid,
    Tubes,
    ellipsoid,
    frame,
    grown,
    rotation,
    tube,
    tube_solid,
    union,
    within,
    without,
)
from mots_pretrained.phantom.space import columns


@dataclass
class Organs:
    """One person's organs of the upper abdomen, before they are painted.

    Attributes:
        liver, spleen, stomach, pancreas, gallbladder: Solids; the gallbladder may be missing.
        accessory: Accessory spleens.
        kidneys: Kidneys with their sinuses.
        adrenals: (right, left).
        hilum: Where the portal vein enters the liver.
        stomach_path: Control points from fundus to pylorus.
        stomach_fill: Where the gas ends, from front (-1) to back (1).
        pancreas_path: Control points from head to tail.
    """

    liver: Solid
    spleen: Solid
    accessory: tuple[Solid, ...]
    stomach: Solid
    stomach_path: NDArray
    stomach_fill: float
    pancreas: Solid
    pancreas_path: NDArray
    gallbladder: Solid | None
    kidneys: Kidneys
    adrenals: tuple[Tubes, Tubes]
    hilum: NDArray


def draw_organs(free: Freedom, body: Body) -> Organs:
    """Draw one person's organs; what lies on the left rises and sinks together."""
    rng = free.rng
    left_lift = float(rng.normal(0, 12 * free.strength))
    forward = float(rng.normal(0, 16 * free.strength))
    bulk = free.factor(0.055)
    kidneys = draw_kidneys(free, body, bulk, left_lift)
    stomach_path, stomach = _stomach(free, forward)
    left_kidney = kidneys.parenchyma[1]
    head_to_tail, pancreas = _pancreas(free, 0.6 * left_lift, 0.5 * forward, stomach, left_kidney)
    hilum = free.at((18, -78, -36), 3.0)
    spleen = _spleen(free, body, left_lift, left_kidney, stomach)
    liver = draw_liver(free, body, bulk, hilum, kidneys.parenchyma[0], stomach)
    return Organs(
        liver=liver,
        spleen=spleen,
        accessory=_accessory(free, spleen),
        stomach=stomach,
        stomach_path=stomach_path,
        stomach_fill=float(rng.uniform(-0.9, 0.5)),
        pancreas=pancreas,
        pancreas_path=head_to_tail,
        gallbladder=draw_gallbladder(free, liver) if rng.random() > 0.12 else None,
        kidneys=kidneys,
        adrenals=draw_adrenals(free),
        hilum=hilum,
    )


def _spleen(free: Freedom, body: Body, lift: float, kidney: Solid, stomach: Solid) -> Solid:
    """A thick bean along the tenth rib: upper end behind at the midline, lower end in front."""
    size = free.factor(0.15)
    centre = free.at((49, -8, 103), np.array([5.0, 12.0, 5.0])) + [lift, 0, 0]
    tight = float(body.cavity(columns(centre[None]))[0]) + 32 * size
    centre += max(0.0, tight) * np.array([0.0, -0.5, -0.8])
    turn = frame((1.0, 0.65, -0.95), (0.0, 0.45, 0.9)) @ rotation(free.turn((0, 0, 0), 9))
    bean = ellipsoid(centre, free.size((74, 47, 43), 0.07) * size, turn)
    bean = _with_tongue(bean, centre, size, free.rng.spawn(1)[0])
    inward = -turn[2]
    hollow = ellipsoid(centre + inward * 51 * size, np.array([60, 50, 26]) * size, turn)
    gap = free.rng.uniform(0.5, 3.0)
    return within(
        without(bean, hollow, grown(kidney, gap), grown(stomach, gap), width=6),
        lambda p: body.cavity(p) + np.float32(3.0),
        lambda p: body.diaphragm(p) + np.float32(3.0),
        width=6,
    )


def _with_tongue(bean: Solid, centre: NDArray, size: float, rng: np.random.Generator) -> Solid:
    """A spleen whose lower end runs down between kidney and side wall, in two people of five."""
    if rng.random() > 0.4:
        return bean
    down = np.array([-rng.uniform(34, 62), -rng.uniform(0, 26), rng.uniform(-2, 10)]) * size
    radii = np.array([rng.uniform(36, 52), rng.uniform(20, 34), rng.uniform(9, 16)]) * size
    turn = frame((1.0, rng.uniform(-0.1, 0.5), -0.15), (0.15, 0.3, 1.0))
    return union(bean, ellipsoid(centre + down, radii, turn), width=14)


def _accessory(free: Freedom, spleen: Solid) -> tuple[Solid, ...]:
    """Accessory spleens beside the hilum, in one person of eight."""
    if free.rng.random() > 0.12:
        return ()
    gate = spleen.low * [0.5, 0.6, 0.8] + spleen.high * [0.5, 0.4, 0.2]
    count = int(free.rng.integers(1, 3))
    return tuple(
        ellipsoid(gate + free.rng.normal(0, 9, 3), free.rng.uniform(4, 9, 3)) for _ in range(count)
    )


def _stomach(free: Freedom, forward: float) -> tuple[NDArray, Solid]:
    full = free.factor(0.21)
    path = free.path(
        [
            [66, -40, 50, 23 * full],
            [58, -54, 58, 28 * full],
            [36, -84, 60, 28 * full],
            [8, -108, 46, 25 * full],
            [-10, -116, 16, 21 * full],
            [-8, -110, -10, 16 * full],
            [-2, -100, -30, 12],
        ],
        np.array([5.0, 5.0, 8.0]),
        0.7,
    )
    middle = path[:, :3].mean(axis=0) + [0.0, forward, 0.0]
    stretch = free.size((1.0, 1.05, 1.02), 0.09)
    path[:, :3] = middle + (path[:, :3] - path[:, :3].mean(axis=0)) * stretch
    return path, tube_solid(tube(path, 24.0), 8.0)


def _pancreas(
    free: Freedom, tail_lift: float, forward: float, stomach: Solid, kidney: Solid
) -> tuple[NDArray, Solid]:
    """A bent and lobulated tube between the stomach and the left kidney."""
    size = free.factor(0.09)
    path = free.path(
        [
            [-38, -68, -26, 10 * size],
            [-18, -76, -28, 13 * size],
            [-2, -88, -10, 9.5 * size],
            [8, -86, 12, 9 * size],
            [10, -74, 34, 10 * size],
            [18, -54, 58, 10.5 * size],
            [30, -34, 82, 8.5 * size],
        ],
        5.0,
    )
    path[:, 3] *= np.exp(free.rng.normal(0, 0.10 * free.strength, len(path)))
    path[:, 0] += tail_lift * np.linspace(0, 1.4, len(path))
    path[:, 0] += free.rng.normal(-0.05, 0.18 * free.strength) * path[:, 2]
    path[:, 1] += free.rng.normal(0, 0.16 * free.strength) * (path[:, 2] - 20)
    bow = free.rng.normal(0, 12 * free.strength)
    path[:, :2] += bow * np.array([0.5, -1.0]) * np.sin(np.linspace(0, np.pi, len(path)))[:, None]
    path[:, 1] += forward
    for _ in range(2):
        room = stomach.distance(columns(path[:, :3]))
        path[:, 1] += np.clip(path[:, 3] + 2 - room, 0, 10)
        room = kidney.distance(columns(path[:, :3]))
        path[:, 1] -= np.clip(path[:, 3] + 2 - room, 0, 14)
    before = np.abs(path[:, 2] - 8) < 24  # the aorta
    path[before, 1] = np.minimum(path[before, 1], -62 - path[before, 3])
    uncinate = ellipsoid(path[0, :3] + [-2, 0, 9], (12 * size, 7 * size, 12 * size))
    return path, union(tube_solid(tube(path, 14.0), 5.0), uncinate, width=6)


def paint_spleen(canvas: Canvas, organs: Organs, body: Body, halo: float) -> None:
    """Spleen and accessory spleens."""
    for solid in (organs.spleen, *organs.accessory):
        painted = canvas.measure(solid, uneven=(1.2, 1.8, 0.8), smooth_at=body.lining)
        canvas.fill(painted, "visceral_fat", None, shrink=-halo)
        canvas.fill(painted, "spleen", "spleen")


def paint_gallbladder(canvas: Canvas, gallbladder: Solid | None) -> None:
    """Wall and bile."""
    if gallbladder is None:
        return
    painted = canvas.measure(gallbladder, uneven=(4.0, 5.0, 1.4), core=3.5, inside=3.0)
    canvas.fill(painted, "gallbladder_wall", "gallbladder")
    canvas.fill(painted, "bile", shrink=1.6)


def measure_stomach(canvas: Canvas, organs: Organs) -> Painted | None:
    """Measure the stomach, before what yields to it is painted."""
    painted = canvas.measure(organs.stomach, uneven=(4.0, 3.0, 0.8), core=7.0, inside=2.0)
    canvas.unite(painted)
    return painted


def paint_stomach(canvas: Canvas, organs: Organs, painted: Painted | None, wall: float) -> None:
    """Stomach wall, food and fluid, and the gas above them (the patient lies on the back)."""
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
