"""A mean patient on a grid without bends and tissues without texture, to paint single organs on."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike

from mots_pretrained.phantom.body import Body, Person
from mots_pretrained.phantom.canvas import Canvas
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.organs import Organs, draw_organs
from mots_pretrained.phantom.space import Grid, Lattice, Pose
from mots_pretrained.phantom.tissues import Look

MEAN = Person(fat=17.0, belly=1.0, chest=1.0, breath=0.0, female=False, muscle=1.0, squareness=2.5)


def still(seed: int = 0) -> Freedom:
    """Freedom of a person who strays in nothing from the mean."""
    return Freedom(np.random.default_rng(seed), 0.0, 0.0)


@functools.cache
def mean_body() -> Body:
    """The mean person's trunk; not to be changed."""
    return Body(np.random.default_rng(0), MEAN)


@functools.cache
def mean_organs() -> Organs:
    """The mean person's organs of the upper abdomen; not to be changed."""
    return draw_organs(still(1), mean_body())


@functools.cache
def _straight() -> Pose:
    lattice = Lattice(np.random.default_rng(0), 120.0)
    return Pose(np.eye(3), (lattice, lattice, lattice), (0.0, 0.0, 0.0))


def canvas(low: ArrayLike, high: ArrayLike, step: float) -> Canvas:
    """A canvas between two corners (z, y, x) of the patient, in millimetres, all within the trunk.

    The first voxel's centre lies half a step from the low corner; surfaces are even.
    """
    ends = np.array([low, high], dtype=float)
    depth, height, width = np.round(np.ptp(ends, axis=0) / step).astype(int).tolist()
    shape = (depth, height, width)
    look = Look(np.random.default_rng(0), "portal", 0.0)
    look.grain = dict.fromkeys(look.grain, 0.0)
    flat = np.zeros(shape, np.float32)
    made = Canvas(Grid(shape, (step, step, step), ends.mean(axis=0), _straight()), look,
                  flat, flat.copy(), flat.copy())  # fmt: skip
    made.cavity.fill(-1000)
    return made


def labelled(of: Canvas, name: str) -> np.ndarray:
    """Where a canvas bears a label, as points ``(n, 3)`` (z, y, x) in the patient."""
    where = of.labels == LABEL[name]
    return np.stack([of.grid.z[where], of.grid.y[where], of.grid.x[where]], axis=1)


def voxel(of: Canvas, point: ArrayLike) -> tuple[int, ...]:
    """The voxel that holds a point of the patient."""
    at = np.rint(of.grid.voxels(np.array([point], dtype=float)))[0]
    return tuple(at.astype(int).tolist())
