"""Procedural brain MRs with a glioma: four skull-stripped channels, BraTS's labels (4.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.phantom.scanner import blur
from mots_pretrained.phantom.solids import Solid, ellipsoid, smooth_min, tube, tube_solid, union
from mots_pretrained.phantom.space import Box, Floats, Lattice, Points
from mots_pretrained.tasks import BRATS_MODALITIES

GRADES: tuple[str, ...] = ("HGG", "LGG")
"""High-grade gliomas enhance around a necrotic core; low-grade ones hardly do."""

NECROSIS, OEDEMA, ENHANCING = 1, 2, 4
"""BraTS's label values: necrotic or non-enhancing core, oedema, enhancing tumour."""

_SHAPE = (155, 240, 240)
_EXTENT = np.array([155.0, 240.0, 240.0])  # what BraTS's grid covers, in mm
_REACH = ((-90.0, 76.0), (-96.0, 96.0), (-84.0, 84.0))  # what a brain can fill of it

# Signal of each tissue in t1, t1ce, t2 and flair, before a case's own scale.
_SIGNAL: dict[str, tuple[float, float, float, float]] = {
    "csf": (75, 90, 720, 55),
    "grey": (232, 285, 400, 222),
    "white": (305, 345, 305, 188),
    "deep_grey": (258, 305, 345, 205),
    "vessel": (260, 520, 190, 150),
    "oedema": (228, 300, 520, 330),
    "core": (185, 235, 560, 285),
    "enhancing": (245, 520, 470, 305),
    "necrosis": (150, 205, 640, 215),
}


@dataclass(frozen=True)
class BrainPhantom:
    """A procedural brain MR.

    Attributes:
        images: ``(4, D, H, W)`` float32, channels in the order of ``BRATS_MODALITIES``; zero
            outside the brain. D runs from feet to head, H from front to back, W from the patient's
            right to left.
        labels: ``(D, H, W)`` uint8: 1 necrotic or non-enhancing core, 2 oedema, 4 enhancing.
        spacing: Millimetres a voxel.
        grade: ``"HGG"`` or ``"LGG"``.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    grade: str


def brain(
    seed: int,
    *,
    grade: str | None = None,
    shape: tuple[int, int, int] = _SHAPE,
) -> BrainPhantom:
    """Make a four-channel brain MR with a glioma; the same arguments give the same bytes.

    Args:
        seed: Any non-negative integer.
        grade: ``"HGG"`` or ``"LGG"``; by chance (73 % high, as in BraTS 2018) without it.
        shape: Voxels ``(D, H, W)`` over BraTS's field of 155 x 240 x 240 mm.

    Raises:
        KeyError: If the grade is neither.
        ValueError: If the shape is too small.

    Example:
        >>> phantom = brain(0, shape=(31, 48, 48))
        >>> phantom.images.shape
        (4, 31, 48, 48)
    """
    if len(shape) != 3 or min(shape) < 16:
        raise UserError(f"a brain's shape is three integers of at least 16, not {tuple(shape)}")
    if grade is not None and grade not in GRADES:
        raise UnknownNameError(f"unknown grade {grade!r}; there are: {', '.join(GRADES)}")
    form_rng, tumour_rng, scan_rng = (
        np.random.default_rng(s) for s in np.random.SeedSequence([int(seed), 2018]).spawn(3)
    )
    drawn = "HGG" if tumour_rng.random() < 210 / 285 else "LGG"
    grade = grade or drawn
    head = _Head(form_rng, shape)
    tissue = head.tissues()
    labels = np.zeros(shape, dtype=np.uint8)
    images = np.zeros((len(BRATS_MODALITIES), *shape), dtype=np.float32)
    labels[head.place] = _grow_tumour(tumour_rng, head, tissue, grade)
    images[:, *head.place] = _scan(scan_rng, head, tissue, labels[head.place])
    return BrainPhantom(images, labels, head.spacing, grade)


class _Head:
    """A brain's form on its grid: signed distances in millimetres around the brain's middle."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> None:
        self.rng = rng
        step = _EXTENT / np.array(shape)
        self.spacing: tuple[float, float, float] = tuple(step.tolist())
        # BraTS's grid: the brain's middle lies a little above the grid's.
        middle = np.array([76.0, 130.0, 118.0]) + rng.normal(0, 1.0, 3)
        size = np.exp(rng.normal(0, 0.035, 3))
        axes = [((np.arange(n) + 0.5) * s - m) / k
                for n, s, m, k in zip(shape, step, middle, size, strict=True)]  # fmt: skip
        # Only the brain's own box is worked on.
        inside = [
            np.flatnonzero((a > low) & (a < high))
            for a, (low, high) in zip(axes, _REACH, strict=True)
        ]
        self.place: Box = tuple(slice(i[0], i[-1] + 1) for i in inside)  # type: ignore[assignment]
        axes = [axis[part] for axis, part in zip(axes, self.place, strict=True)]
        self.axes, self.shape = axes, tuple(len(axis) for axis in axes)
        flat = [axis.astype(np.float32) for axis in axes]
        self.points: Points = (flat[0][:, None, None], flat[1][:, None], flat[2])
        self.coarse, self.folds, self.fine = (
            Lattice(rng, size).on_axes(axes) for size in (40.0, 9.5, 6.0)
        )
        self.depth = self._depth()

    def box(self, solid: Solid, margin: float = 4.0) -> tuple[Box, Points]:
        """The voxels that a solid can touch, and their coordinates."""
        ends = []
        for k, axis in enumerate(self.axes):
            first = int(np.searchsorted(axis, solid.low[k] - margin))
            ends.append(slice(first, int(np.searchsorted(axis, solid.high[k] + margin))))
        z, y, x = self.points
        box: Box = (ends[0], ends[1], ends[2])
        return box, (z[box[0]], y[box[1]], x[box[2]])

    def _depth(self) -> Floats:
        """Depth under the surface of cerebrum, cerebellum and stem; negative outside."""
        cerebrum = union(
            ellipsoid((4, 0, -31), (60, 84, 40)),
            ellipsoid((4, 0, 31), (60, 84, 40)),
            ellipsoid((-28, -8, -48), (24, 42, 22)),
            ellipsoid((-28, -8, 48), (24, 42, 22)),
            width=14,
        )
        z, y, x = self.points
        # Flat underneath: the skull's base rises to the front and over the cerebellum.
        lobe = np.clip((np.abs(x) - 18) / 16, 0, 1) * np.clip((y + 48) / 16, 0, 1)
        base = np.float32(-33) - 19 * lobe + np.maximum(-y - 25, 0) * np.float32(0.2) - z
        outside = -smooth_min(-cerebrum.distance(self.points), -base, 8.0)
        hind = union(
            ellipsoid((-42, 44, -22), (24, 30, 30)),
            ellipsoid((-42, 44, 22), (24, 30, 30)),
            tube_solid(tube([[-18, 10, 0, 14], [-40, 14, 0, 14], [-72, 24, 0, 9]], 20.0)),
            width=6,
        )
        self.hind = hind.distance(self.points) + np.float32(1.0) * self.coarse
        gap = np.float32(1.2)
        outside = np.maximum(outside, gap - (self.hind + np.float32(2)))
        outside += np.float32(1.5) * self.coarse + np.float32(0.8) * self.fine
        return -np.minimum(outside, self.hind)

    def tissues(self) -> dict[str, Floats]:
        """Share of csf, grey, white and deep grey matter a voxel; together one in the brain."""
        z, y, x = self.points
        middle = np.abs(x) + 6 * np.maximum(-(z + 0 * y) - 5, 0)  # the fissure between the halves
        sheet = np.abs(self.folds) * np.float32(6.5)
        # Sulci are sheets that reach some way in from the surface.
        reach = np.float32(15) + np.float32(4) * self.coarse
        sulcus = np.maximum(sheet, (self.depth - reach) * np.float32(0.9))
        sulcus = np.minimum(sulcus, middle)
        behind = self.hind < 0
        folia = np.abs(np.sin((z + y * 0.4) * np.float32(0.75) + self.folds)) * np.float32(4.0)
        sulcus = np.where(behind, np.maximum(folia + 1, self.depth - 9), sulcus)
        stem = behind & (np.abs(x) < 13) & (y < 30)
        near = np.where(stem, self.depth + 3, np.minimum(self.depth, sulcus))
        inside = np.clip(self.depth * np.float32(1.0) + np.float32(0.5), 0, 1)
        thick = np.float32(3.6)
        csf = np.clip(np.float32(1.0) - near, 0, 1)
        white = np.clip((near - thick) * np.float32(0.8) + np.float32(0.5), 0, 1)
        grey = np.clip(1 - csf - white, 0, 1)
        deep = np.zeros(self.shape, dtype=np.float32)
        share = {"csf": csf, "grey": grey, "white": white, "deep_grey": deep}
        for solid, name in self._deep():
            box, p = self.box(solid)
            d = solid.distance(p) + np.float32(0.8) * self.coarse[box]
            part = np.clip(np.float32(0.5) - d, 0, 1)
            for other, field in share.items():
                field[box] *= 1 - part
                if other == name:
                    field[box] += part
        for field in share.values():
            field *= inside
        share["inside"] = inside
        return share

    def _deep(self) -> list[tuple[Solid, str]]:
        wide = float(np.exp(self.rng.normal(0, 0.3)))
        shapes: list[tuple[Solid, str]] = []
        for side in (-1.0, 1.0):
            shapes += [
                (ellipsoid((2, 8, side * 12), (11, 16, 9)), "deep_grey"),  # thalamus
                (ellipsoid((4, -14, side * 26), (11, 17, 6)), "deep_grey"),  # putamen
                (ellipsoid((10, -24, side * 12), (9, 12, 6)), "deep_grey"),  # caudate
            ]
            horn = [
                [6, -34, side * 10, 3.4 * wide],
                [18, -12, side * 9, 4.2 * wide],
                [20, 14, side * 13, 4.8 * wide],
                [8, 34, side * 24, 6.0 * wide],
                [-12, 22, side * 33, 3.2 * wide],
                [-20, 2, side * 34, 2.2 * wide],
            ]
            path = np.array(horn) + np.c_[self.rng.normal(0, 1, (6, 3)), np.zeros(6)]
            shapes.append((tube_solid(tube(path, 16.0), 4.0), "csf"))
        shapes.append((ellipsoid((0, 4, 0), (9, 13, 1.6 * wide)), "csf"))
        shapes.append((ellipsoid((-36, 30, 0), (9, 5, 5)), "csf"))
        return shapes


def _grow_tumour(
    rng: np.random.Generator, head: _Head, tissue: dict[str, Floats], grade: str
) -> NDArray[np.uint8]:
    """Core, enhancing rim and oedema that spreads along white matter."""
    high = grade == "HGG"
    radius = float(np.clip(np.exp(rng.normal(np.log(19 if high else 21), 0.3)), 8, 36))
    side = rng.choice([-1.0, 1.0])
    centre = np.array([rng.uniform(-8, 34), rng.uniform(-48, 45), side * rng.uniform(16, 42)])
    stretch = np.exp(rng.normal(0, 0.18, 3))
    solid = ellipsoid(centre, radius * stretch, rng.uniform(-90, 90, 3))
    box, p = head.box(solid, 45.0)
    rough = 0.10 * radius * head.coarse[box] + 0.09 * radius * head.folds[box]
    d = solid.distance(p) + rough.astype(np.float32) + np.float32(0.6) * head.fine[box]
    reach = float(rng.uniform(7, 24) if high else rng.uniform(3, 14))
    # Oedema follows white matter and stops at the cortex.
    barrier = reach * (0.35 + 0.75 * tissue["white"][box]) + 4 * head.folds[box]
    labels = np.zeros(head.shape, dtype=np.uint8)
    view = labels[box]
    view[d < np.maximum(barrier, 0)] = OEDEMA
    view[d < 0] = NECROSIS
    if high:
        rim = rng.uniform(0.16, 0.4) * radius
        wavy = rim * (1 + 0.5 * head.folds[box] + 0.3 * head.fine[box])
        view[(d < 0) & (d > -wavy)] = ENHANCING
    else:
        spots = (d < -2) & (head.folds[box] > rng.uniform(1.0, 2.4))
        view[spots] = ENHANCING
    labels[head.depth < 1.0] = 0
    ventricle = (tissue["csf"] > 0.5) & (labels == OEDEMA)
    labels[ventricle] = 0
    return labels


def _scan(
    rng: np.random.Generator,
    head: _Head,
    tissue: dict[str, Floats],
    labels: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """The four channels: contrast, bias field, blur and noise; zero outside the brain."""
    inside = tissue["inside"]
    lesions = {
        "oedema": labels == OEDEMA,
        "necrosis": labels == NECROSIS,
        "enhancing": labels == ENHANCING,
    }
    if not lesions["enhancing"].any() or lesions["enhancing"].sum() < lesions["necrosis"].sum() / 8:
        lesions["core"] = lesions.pop("necrosis")  # a low-grade core is tumour, not dead tissue
    soft = {
        name: blur(mask.astype(np.float32), 0.6 / np.array(head.spacing))
        for name, mask in lesions.items()
    }
    healthy = np.float32(1) - sum(soft.values())
    strength = {name: float(rng.uniform(0.7, 1.15)) for name in soft}
    images = np.zeros((len(BRATS_MODALITIES), *head.shape), dtype=np.float32)
    for channel in range(len(BRATS_MODALITIES)):
        scale = float(np.exp(rng.normal(0, 0.35)))
        own = {name: value[channel] * rng.normal(1, 0.04) for name, value in _SIGNAL.items()}
        image = np.zeros(head.shape, dtype=np.float32)
        for name in ("csf", "grey", "white", "deep_grey"):
            image += np.float32(own[name]) * tissue[name]
        image *= healthy
        for name, share in soft.items():
            value = own["white"] + strength[name] * (own[name] - own["white"])
            texture = np.float32(value) * (1 + np.float32(0.06) * head.fine)
            image += share * texture
        image = blur(image, rng.uniform(0.4, 0.9) / np.array(head.spacing))
        bias = 1 + 0.05 * rng.normal() * head.coarse
        for axis in range(3):
            ramp = np.linspace(-1, 1, head.shape[axis], dtype=np.float32)
            bias = bias + 0.06 * rng.normal() * ramp.reshape(
                [-1 if k == axis else 1 for k in range(3)]
            )
        image = image * bias.astype(np.float32)
        noise = rng.standard_normal(head.shape, dtype=np.float32)
        image += noise * np.float32(rng.uniform(0.012, 0.035) * own["white"])
        image *= np.float32(scale)
        images[channel] = np.where(inside > 0.5, np.maximum(image, 1), 0)
    return images
