"""How far one person's anatomy strays from the mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mots_pretrained.phantom.solids import Table


@dataclass(frozen=True)
class Freedom:
    """How far organs stray from the mean: shifts in millimetres, factors, degrees."""

    rng: np.random.Generator
    strength: float
    lift: float  # with the diaphragm, mm

    def factor(self, spread: float) -> float:
        """A factor around 1 with this spread of its logarithm."""
        return float(np.exp(self.rng.normal(0, spread * self.strength)))

    def at(self, point: ArrayLike, spread: float | NDArray = 5.0, lifted: float = 0.8) -> NDArray:
        """A point moved at random, and up and down with breath."""
        moved = np.asarray(point, dtype=float) + self.rng.normal(0, 1, 3) * spread * self.strength
        moved[0] += lifted * self.lift
        return moved

    def size(self, radii: ArrayLike, spread: float = 0.09) -> NDArray:
        """Radii scaled together and, a little, one by one."""
        common = np.exp(self.rng.normal(0, spread * self.strength))
        own = np.exp(self.rng.normal(0, 0.5 * spread * self.strength, 3))
        return np.asarray(radii, dtype=float) * common * own

    def turn(self, degrees: ArrayLike, spread: float = 8.0) -> NDArray:
        """Angles moved at random."""
        return np.asarray(degrees, dtype=float) + self.rng.normal(0, spread * self.strength, 3)

    def path(self, points: Table, spread: float | NDArray = 4.0, lifted: float = 0.6) -> NDArray:
        """Control points (z, y, x, radius) of a tube, moved together and one by one."""
        p = np.array(points, dtype=float)
        p[:, :3] += self.rng.normal(0, 1, 3) * spread * self.strength
        own = np.minimum(0.6 * np.asarray(spread), 3.5)
        p[:, :3] += self.rng.normal(0, 1, (len(p), 3)) * own * self.strength
        p[:, 0] += lifted * self.lift
        p[:, 3] *= np.exp(self.rng.normal(0, 0.12 * self.strength))
        return p
