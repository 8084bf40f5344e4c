"""Painting solids into image and label map, with partial volume at their edges."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.solids import Distance, Solid, Tubes, capsule
from mots_pretrained.phantom.space import Box, Floats, Grid, Lattice
from mots_pretrained.phantom.tissues import Look


@dataclass
class Painted:
    """Where a solid was drawn: its box of voxels and its distance there.

    ``part`` numbers the capsule of a tube.
    """

    box: Box
    distance: Floats
    part: int = 0


@dataclass
class Canvas:
    """Image and labels in the making.

    Attributes:
        grid: Voxels and where they lie in the patient.
        look: HU and texture of the tissues.
        image: ``(D, H, W)`` HU.
        labels: ``(D, H, W)`` complete labels.
        cavity: Distance from the trunk's inner wall; negative inside (zero until it is known).
        coarse, medium, fine: Smooth random fields that make surfaces uneven and tissues textured.
    """

    grid: Grid
    look: Look
    coarse: Floats
    medium: Floats
    fine: Floats
    image: Floats = field(init=False)
    labels: np.ndarray = field(init=False)
    cavity: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.image = np.full(self.grid.shape, self.look.hu["air"], dtype=np.float32)
        self.labels = np.zeros(self.grid.shape, dtype=np.uint8)
        self.cavity = np.zeros(self.grid.shape, dtype=np.float32)

    def measure(
        self,
        solid: Solid,
        *,
        uneven: tuple[float, float, float] = (0.0, 0.0, 0.0),
        core: float | None = None,
        inside: float | None = None,
        smooth_at: Distance | None = None,
    ) -> Painted | None:
        """A solid's distance on the voxels that it can touch, its surface made uneven.

        Args:
            solid: What to measure.
            uneven: Millimetres of coarse (45), medium (18) and fine (8 mm) unevenness.
            core: Depth in millimetres below which unevenness removes nothing, so that it cannot
                part a slender solid.
            inside: Millimetres to stay within the trunk's inner wall, for what could burst out.
            smooth_at: Distance from a wall on which the solid lies smooth, negative on its side.
        """
        box = self.grid.box(solid.low, solid.high, margin=2 * sum(uneven))
        if box is None:
            return None
        p = self.grid.points(box)
        even = d = solid.distance(p)
        fade = np.float32(1)
        if smooth_at is not None:
            fade = np.clip(smooth_at(p) * np.float32(-1 / 12), 0, 1)
        for amount, noise in zip(uneven, (self.coarse, self.medium, self.fine), strict=True):
            if amount:
                d = d + np.float32(amount) * fade * noise[box]
        if core is not None:
            d = np.minimum(d, even + np.float32(core))
        if inside is not None:
            d = np.maximum(d, self.cavity[box] + np.float32(inside))
        return Painted(box, d)

    def fill(
        self, painted: Painted | None, tissue: str, label: str | None = "", *, shrink: float = 0.0
    ) -> None:
        """Fill what was measured with a tissue.

        Args:
            painted: From :meth:`measure`; None does nothing.
            tissue: Name in the table of tissues.
            label: Name of the label to give, ``None`` for background, ``""`` to keep what is there.
            shrink: Millimetres to draw in the surface by (negative: to put it out).
        """
        if painted is None:
            return
        box, d = painted.box, painted.distance
        if shrink:
            d = d + np.float32(shrink)
        alpha = d * np.float32(-1 / self.grid.voxel_size)
        alpha += np.float32(0.5)
        np.clip(alpha, 0, 1, out=alpha)
        value: Floats | np.float32 = np.float32(self.look.hu[tissue])
        grain = self.look.grain[tissue]
        if grain:
            value = value + np.float32(grain) * self.fine[box]
        self.blend(box, alpha, value)
        if label != "":
            self.labels[box][d < 0] = 0 if label is None else LABEL[label]

    def blend(self, box: Box, alpha: Floats, value: Floats | np.float32) -> None:
        """Lay values over the image with a weight a voxel."""
        target = self.image[box]
        change = value - target
        change *= alpha
        target += change

    def confine(self, painted: Painted, names: tuple[str, ...], *, out: bool = False) -> None:
        """Keep a distance within voxels that bear one of the labels (``out``: bear none)."""
        wanted = np.zeros(len(LABEL) + 1, dtype=bool)
        wanted[[LABEL[name] if name else 0 for name in names]] = True
        allowed = wanted[self.labels[painted.box]] ^ out
        d = painted.distance
        painted.distance = np.where(allowed, d, np.maximum(d, np.float32(0.7)))

    def yields(self, painted: Painted | None, other: Painted | None) -> None:
        """Cut what another solid takes out of a distance."""
        if painted is None or other is None:
            return
        common = tuple(
            slice(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop)))
            for a, b in zip(painted.box, other.box, strict=True)
        )
        own, its = (
            tuple(
                slice(c.start - b.start, c.stop - b.start)
                for c, b in zip(common, one.box, strict=True)
            )
            for one in (painted, other)
        )
        part = painted.distance[own]
        np.maximum(part, -other.distance[its], out=part)

    @staticmethod
    def unite(painted: Painted | None) -> None:
        """Keep a solid's largest piece only."""
        if painted is None:
            return
        pieces, count = ndimage.label(painted.distance < 0)
        if count > 1:
            largest = np.argmax(np.bincount(pieces.ravel())[1:]) + 1
            crumbs = (pieces > 0) & (pieces != largest)
            painted.distance[crumbs] = np.float32(0.7)

    def paint(
        self,
        solid: Solid,
        tissue: str,
        label: str | None = "",
        *,
        uneven: tuple[float, float, float] = (0.0, 0.0, 0.0),
        halo: float = 0.0,
    ) -> Painted | None:
        """Measure and fill; with a ``halo`` of fat around."""
        painted = self.measure(solid, uneven=uneven)
        if halo:
            self.fill(painted, "visceral_fat", None, shrink=-halo)
        self.fill(painted, tissue, label)
        return painted

    def trace(
        self, tubes: Tubes, *, margin: float = 3.5, inside: float | None = None
    ) -> list[Painted]:
        """Measure tubes capsule by capsule, each on its own few voxels."""
        if not len(tubes.start):
            return []
        voxels = self.grid.voxels(np.concatenate([tubes.start, tubes.end]))
        first, last = np.split(voxels, 2)
        reach = np.maximum(tubes.start_radius, tubes.end_radius)[:, None] + margin
        stretch = 1.15 / self.grid.spacing  # the patient's millimetres are not quite the grid's
        boxes = self.grid.boxes(
            np.minimum(first, last), np.maximum(first, last), reach * stretch + 0.5
        )
        starts, ends = tubes.start.astype(np.float32), tubes.end.astype(np.float32)
        traced = [
            Painted(
                box,
                capsule(
                    self.grid.points(box),
                    starts[i],
                    ends[i],
                    float(tubes.start_radius[i]),
                    float(tubes.end_radius[i]),
                ),
                i,
            )
            for i, box in enumerate(boxes)
            if box is not None
        ]
        if inside is not None:
            for painted in traced:
                wall = self.cavity[painted.box] + np.float32(inside)
                np.maximum(painted.distance, wall, out=painted.distance)
        return traced

    def draw(
        self,
        tubes: Tubes,
        tissue: str,
        label: str | None = "",
        *,
        wall: tuple[str, float] | None = None,
        inside: float | None = None,
    ) -> list[Painted]:
        """Trace and fill tubes; a wall's tissue and thickness are drawn around the content."""
        traced = self.trace(tubes, inside=inside)
        if wall is not None:
            for painted in traced:
                self.fill(painted, wall[0], label)
            for painted in traced:
                self.fill(painted, tissue, label, shrink=wall[1])
        else:
            for painted in traced:
                self.fill(painted, tissue, label)
        return traced


def random_fields(rng: np.random.Generator) -> tuple[Lattice, Lattice, Lattice]:
    """The coarse, medium and fine unevenness of one patient."""
    return Lattice(rng, 45.0), Lattice(rng, 18.0), Lattice(rng, 8.0)
