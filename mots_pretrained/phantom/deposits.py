"""Dense small things that are no tumour: gallstones, stents of bile duct and ureter, clips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.phantom.canvas import Canvas
from mots_pretrained.phantom.organs import Organs
from mots_pretrained.phantom.solids import Tubes, points_inside, tube

# How often a patient has each.
_GALLSTONES, _BILE_STENT, _URETER_STENT, _CLIPS = 0.1, 0.04, 0.03, 0.07


def paint_deposits(canvas: Canvas, organs: Organs, rng: np.random.Generator) -> None:
    """Paint what a patient has of them; no label changes.

    Args:
        canvas: Where to paint.
        organs: The patient's organs.
        rng: Source.
    """
    chance = rng.random(4)
    if chance[0] < _GALLSTONES and organs.gallbladder is not None:
        places = points_inside(rng, organs.gallbladder, int(rng.integers(1, 8)), 3.0)
        _dots(canvas, places, rng.uniform(1.5, 5.5), str(rng.choice(["calcium", "stone"])))
    if chance[1] < _BILE_STENT:
        head = organs.pancreas_path[0, :3]
        way = np.array([organs.hilum, (organs.hilum + head) / 2 + [0, 6, -6], head])
        _wire(canvas, way, rng.uniform(1.5, 4.0))
    here = organs.kidneys.here()
    if chance[2] < _URETER_STENT and here:
        side = here[int(rng.integers(len(here)))]
        sinus = organs.kidneys.sinuses[side]
        start, sign = (sinus.low + sinus.high) / 2, (-1.0, 1.0)[side]
        _wire(canvas, np.array([start, [-150, -56, sign * 46], [-240, -20, sign * 34]]), 1.5)
    if chance[3] < _CLIPS:
        near = organs.hilum + rng.normal(0, 18, (int(rng.integers(2, 7)), 3))
        _dots(canvas, near, 1.3, "metal")


def _dots(canvas: Canvas, places: NDArray, radius: float, tissue: str) -> None:
    sizes = np.full(len(places), radius)
    canvas.draw(Tubes(places, places + [0.5, 0.5, 0.5], sizes, sizes), tissue)


def _wire(canvas: Canvas, way: NDArray, radius: float) -> None:
    canvas.draw(tube(np.c_[way, np.full(len(way), radius)], 12.0), "stent")
