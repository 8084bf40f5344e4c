"""Tumours of every task, and the cysts and nodes that look like them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.phantom.bowel import Bowel
from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.organs import Organs
from mots_pretrained.phantom.solids import Solid, Tubes, ellipsoid, points_inside
from mots_pretrained.phantom.thorax import Thorax

TUMOURS: tuple[str, ...] = (
    "liver_tumour",
    "kidney_tumour",
    "hepatic_vessel_tumour",
    "pancreas_tumour",
    "colon_tumour",
    "lung_tumour",
)
"""The tumours that a phantom can be asked for."""

# Number of lesions (lowest, highest), median radius, spread of its logarithm, limits, all in mm.
_SIZES: dict[str, tuple[tuple[int, int], float, float, tuple[float, float]]] = {
    "liver_tumour": ((1, 6), 12, 0.55, (4, 48)),
    "hepatic_vessel_tumour": ((1, 4), 15, 0.5, (6, 48)),
    "kidney_tumour": ((1, 1), 21, 0.42, (8, 42)),
    "pancreas_tumour": ((1, 1), 14, 0.35, (6, 30)),
    "colon_tumour": ((1, 1), 11, 0.3, (7, 20)),
    "lung_tumour": ((1, 2), 13, 0.5, (5, 42)),
    "liver_cyst": ((1, 4), 7, 0.5, (3, 30)),
    "kidney_cyst": ((1, 3), 9, 0.5, (4, 32)),
}
_OFF_TASK = 0.04  # how often a case has lesions that its collection doesn't label
_BARRIER = ("bone", "muscle", "aorta", "inferior_vena_cava", "liver", "spleen", "bladder")
_CYSTS = {"liver_cyst": 0.22, "kidney_cyst": 0.4}


@dataclass(frozen=True)
class Lesion:
    """One lesion: its kind, where it is, how large, and the seed of its inner looks."""

    kind: str
    centre: NDArray[np.float64]
    radius: float
    character: tuple[float, float, float]


def draw_lesions(
    rng: np.random.Generator,
    wanted: tuple[str, ...],
    organs: Organs,
    bowel: Bowel,
    thorax: Thorax,
) -> list[Lesion]:
    """Draw a person's lesions: those wanted, by chance others, and cysts."""
    kinds = list(wanted)
    settled = {*wanted, "hepatic_vessel_tumour"}
    if "hepatic_vessel_tumour" in wanted:  # the liver has its tumours then
        settled.add("liver_tumour")
    others = [k for k in TUMOURS if k not in settled]
    kinds += [k for k in others if rng.random() < _OFF_TASK]
    kinds += [k for k, chance in _CYSTS.items() if rng.random() < chance]
    lesions = []
    for kind in kinds:
        (fewest, most), median, spread, limits = _SIZES[kind]
        number = min(int(rng.integers(fewest, most + 1)), int(rng.integers(fewest, most + 1)))
        for _ in range(number):
            radius = float(np.clip(median * np.exp(rng.normal(0, spread)), *limits))
            centre = _place(rng, kind, radius, organs, bowel, thorax)
            if centre is not None:
                character = tuple(rng.random(3).tolist())
                lesions.append(Lesion(kind, centre, radius, character))
    return lesions


def _place(
    rng: np.random.Generator,
    kind: str,
    radius: float,
    organs: Organs,
    bowel: Bowel,
    thorax: Thorax,
) -> NDArray | None:
    if kind.startswith(("liver", "hepatic")):
        return _point_in(rng, organs.liver, min(0.5 * radius, 12))
    if kind.startswith("kidney"):
        kidney = organs.kidneys.parenchyma[int(rng.choice(organs.kidneys.here()))]
        centre = _point_in(rng, kidney, 4.0)
        if centre is None:
            return None
        # Exophytic: pushed out from the middle, so that the larger ones bulge into the fat.
        middle = (kidney.low + kidney.high) / 2
        way = centre - middle
        return centre + way / (np.linalg.norm(way) + 1e-6) * radius * rng.uniform(0.2, 0.7)
    if kind.startswith("pancreas"):
        path = organs.pancreas_path
        at = rng.uniform(0, len(path) - 1.01)
        i = int(at)
        centre = path[i, :3] + (at - i) * (path[i + 1, :3] - path[i, :3])
        return centre + rng.normal(0, 0.2 * radius, 3)
    if kind.startswith("colon"):
        i = int(rng.integers(0, len(bowel.colon_tubes.start) - 4))
        return bowel.colon_tubes.start[i]
    return _point_in(rng, thorax.solid, float(rng.choice([1.0, 0.6 * radius])))


def _point_in(rng: np.random.Generator, solid: Solid, depth: float) -> NDArray | None:
    """A random point at least so deep in a solid; less deep if it must be."""
    for least in (depth, 0.5 * depth, 0.0):
        points = points_inside(rng, solid, 40, least)
        if len(points):
            return points[0]
    return None


def paint_lesions(canvas: Canvas, lesions: list[Lesion], bowel: Bowel) -> None:
    """Paint lesions, the cysts first."""
    for lesion in sorted(lesions, key=lambda one: one.kind in TUMOURS):
        if lesion.kind == "colon_tumour":
            _paint_colon(canvas, lesion, bowel)
        else:
            _paint_round(canvas, lesion)


def _paint_round(canvas: Canvas, lesion: Lesion) -> None:
    a, b, c = lesion.character
    stretch = np.array([1 + 0.25 * (a - 0.5), 1 + 0.25 * (b - 0.5), 1 + 0.25 * (c - 0.5)])
    solid = ellipsoid(lesion.centre, lesion.radius * stretch, (90 * a, 90 * b, 90 * c))
    r = lesion.radius
    is_cyst = lesion.kind.endswith("cyst")
    rough = 0.1 if is_cyst else 1.0
    painted = canvas.measure(
        solid, uneven=(0.03 * r * rough, 0.13 * r * rough, min(0.08 * r, 1.6) * rough)
    )
    if painted is None:
        return
    _confine(canvas, painted, lesion.kind)
    if is_cyst:
        # Some cysts of the kidney are dense, as tumours are, and take no contrast.
        dense = lesion.kind == "kidney_cyst" and a < 0.12
        canvas.fill(painted, "dense_cyst" if dense else "cyst", lesion.kind)
        return
    if lesion.kind == "lung_tumour":
        # Spicules: the surface follows the fine field outwards.
        spikes = np.maximum(canvas.fine[painted.box], 0) * np.float32(2.0 + 3.0 * a)
        painted.distance = painted.distance - spikes
    tissue = lesion.kind
    if lesion.kind.startswith(("liver", "hepatic")):
        tissue = "liver_tumour_bright" if a < 0.18 else "liver_tumour"
    _infiltrate(canvas, painted, tissue, lesion)
    if tissue == "liver_tumour" and b < 0.35:
        canvas.fill(painted, "liver_tumour_rim")
        canvas.fill(painted, "liver_tumour", shrink=max(2.0, 0.18 * r))
    if r > 12 and c < 0.55:  # necrosis in the middle of the larger ones
        core = (
            painted.distance
            + np.float32(0.45 * r)
            + np.float32(0.12 * r) * canvas.medium[painted.box]
        )
        canvas.fill(Painted(painted.box, core), "necrosis")


def _infiltrate(canvas: Canvas, painted: Painted, tissue: str, lesion: Lesion) -> None:
    """Fill with an edge that is sharp in some and washed out in others."""
    canvas.fill(painted, tissue, lesion.kind)
    if lesion.kind in ("liver_tumour", "hepatic_vessel_tumour", "pancreas_tumour"):
        blur = 1.0 + 4.0 * lesion.character[2]
        alpha = np.clip(0.35 - painted.distance / blur, 0, 0.35)
        canvas.blend(painted.box, alpha, np.float32(canvas.look.hu[tissue]))


def _confine(canvas: Canvas, painted: Painted, kind: str) -> None:
    """Keep a lesion in the organ that it grows from."""
    if kind.startswith(("liver", "hepatic")):
        canvas.confine(painted, ("liver", "hepatic_vessel", "liver_cyst"))
    elif kind == "lung_tumour":
        # A tumour may touch pleura and mediastinum, but not grow through ribs.
        canvas.confine(painted, ("", "lung", "heart", "lung_tumour"))
    else:
        canvas.confine(painted, _BARRIER, out=True)


def _paint_colon(canvas: Canvas, lesion: Lesion, bowel: Bowel) -> None:
    """A thickened stretch of colon wall, often eccentric, with a narrowed lumen."""
    tubes = bowel.colon_tubes
    start = int(np.argmin(np.linalg.norm(tubes.start - lesion.centre, axis=1)))
    a, b, c = lesion.character
    stop = min(start + 3 + int(3 * a), len(tubes.start))
    some = Tubes(*(getattr(tubes, n)[start:stop].copy() for n in Tubes.__annotations__))
    thick = lesion.radius
    outer = Tubes(
        some.start,
        some.end,
        np.maximum(some.start_radius * 0.9, thick) + 0.15 * thick,
        np.maximum(some.end_radius * 0.9, thick) + 0.15 * thick,
    )
    rough = np.float32(1.6)
    for painted in canvas.trace(outer, margin=6.0):
        painted.distance = painted.distance + rough * canvas.fine[painted.box]
        canvas.confine(painted, _BARRIER, out=True)
        canvas.fill(painted, "colon_tumour", "colon_tumour")
    # What is left of the lumen, off centre; open on the far side when the tumour is a plaque.
    shift = np.array([0.0, np.cos(6.28 * b), np.sin(6.28 * b)]) * thick * 0.55
    radius = np.maximum(some.start_radius - thick * 0.9, 2.0 + 3 * c)
    lumen = Tubes(some.start + shift, some.end + shift, radius, radius)
    for painted in canvas.trace(lumen):
        canvas.fill(painted, "bowel_gas" if c < 0.4 else "bowel_fluid", "colon")
