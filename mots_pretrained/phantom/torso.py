"""Procedural torso CTs with complete labels, deterministic by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.phantom.anatomy import Anatomy
from mots_pretrained.phantom.canvas import Canvas
from mots_pretrained.phantom.domains import DOMAINS, Domain
from mots_pretrained.phantom.labels import TORSO_LABELS
from mots_pretrained.phantom.lesions import TUMOURS
from mots_pretrained.phantom.scanner import Scan
from mots_pretrained.phantom.space import Grid
from mots_pretrained.phantom.tissues import PHASES, Look

_SHAPE = (96, 128, 128)
SLABS = 0.4  # share of thin slabs and of odd fields of view, at randomise 1
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Phantom:
    """A procedural CT.

    Attributes:
        image: ``(D, H, W)`` float32 in HU; D from feet to head, H from front to back, W from the
            patient's right to left.
        labels: ``(D, H, W)`` uint8 complete label map; value ``i + 1`` is ``TORSO_LABELS[i]``.
        spacing: Millimetres a voxel, in the same order.
        domain: Name of the task whose collection the scan imitates.
        phase: The contrast phase that it is nearest to.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    spacing: Triple
    domain: str
    phase: str


def torso(
    seed: int,
    *,
    domain: str = "liver",
    shape: tuple[int, int, int] | None = None,
    spacing: Triple | None = None,
    randomise: float = 0.0,
    lesions: Sequence[str] | None = None,
    focus: str | None = None,
    phase: str | None = None,
) -> Phantom:
    """Make a torso CT.

    The same arguments give the same bytes, whatever was made before. Anatomy depends on seed,
    domain, ``randomise`` and ``lesions``: a seed's patient is the same on all grids that show the
    kidneys and reach higher than 10 mm below the first lumbar vertebra. A grid that lies wholly
    below has bowel, bladder, muscles and pelvis of its own; one without kidneys has, in the one
    person in seven who has stones there, other small vessels and deposits. Of an organ that a grid
    cuts into pieces the largest is seen.

    Args:
        seed: Any non-negative integer.
        domain: Task whose collection the scan imitates (phase, range in z, noise, lesions).
        shape: Voxels ``(D, H, W)``. Without it: what ``spacing`` needs to hold the domain's range,
            or 96 x 128 x 128.
        spacing: Millimetres ``(D, H, W)``. Without it: what spreads the domain's range over
            ``shape``. With both given the scan is a window into the patient.
        randomise: 0 to 1; how far appearance and shape leave the plausible, for training that is to
            carry over to real scans (domain randomisation).
        lesions: Tumours that the patient has for certain; the domain's own by default. Others
            come by chance, and cysts.
        focus: Name in :data:`TORSO_LABELS` that a window smaller than the patient is aimed at.
        phase: Contrast phase, one of ``tissues.PHASES``; by default one of the domain's.

    Raises:
        KeyError: If domain, lesion, focus or phase has no such name.
        ValueError: If shape, spacing or ``randomise`` is out of range.

    Example:
        >>> phantom = torso(0, domain="spleen", shape=(24, 32, 32))
        >>> phantom.image.shape, phantom.labels.dtype.name
        ((24, 32, 32), 'uint8')
    """
    habits = _checked(domain, shape, spacing, randomise, lesions, focus, phase)
    entropy = [int(seed), sorted(DOMAINS).index(domain)]
    person_rng, look_rng, view_rng, paint_rng, scan_rng = (
        np.random.default_rng(s) for s in np.random.SeedSequence(entropy).spawn(5)
    )
    wanted = habits.lesions if lesions is None else tuple(lesions)
    anatomy = Anatomy(person_rng, wanted, float(randomise))
    look = Look(look_rng, phase or habits.phases, float(randomise))
    scan = Scan.draw(look_rng, habits.slices, habits.sharpness, float(randomise))
    grid = _view(view_rng, habits, anatomy, shape, spacing, focus, float(randomise))
    canvas = Canvas(grid, look, *(lattice.on_axes(grid.axes) for lattice in anatomy.uneven))
    anatomy.paint(canvas, paint_rng, float(randomise))
    placed: Triple = tuple(grid.spacing.tolist())
    image = scan.take(scan_rng, canvas.image, placed)
    nearest = PHASES[int(np.argmax(look.phase))]
    return Phantom(image, canvas.labels, placed, domain, nearest)


def _checked(
    domain: str,
    shape: tuple[int, int, int] | None,
    spacing: Triple | None,
    randomise: float,
    lesions: Sequence[str] | None,
    focus: str | None,
    phase: str | None,
) -> Domain:
    if domain not in DOMAINS:
        raise UnknownNameError(
            f"unknown phantom domain {domain!r}; there are: {', '.join(DOMAINS)}"
        )
    if shape is not None and (len(shape) != 3 or min(shape) < 8):
        raise UserError(f"a phantom's shape is three integers of at least 8, not {tuple(shape)}")
    if spacing is not None and (len(spacing) != 3 or not min(spacing) > 0):
        raise UserError(f"a phantom's spacing is three positive lengths in mm, not {spacing}")
    if not 0 <= randomise <= 1:
        raise UserError(f"randomise goes from 0 to 1, not {randomise}")
    for name in lesions or ():
        if name not in TUMOURS:
            raise UnknownNameError(f"unknown lesion {name!r}; there are: {', '.join(TUMOURS)}")
    if focus is not None and focus not in TORSO_LABELS:
        raise UnknownNameError(f"unknown focus {focus!r}; there are: {', '.join(TORSO_LABELS)}")
    if phase is not None and phase not in PHASES:
        raise UnknownNameError(f"unknown phase {phase!r}; there are: {', '.join(PHASES)}")
    return DOMAINS[domain]


def _view(
    rng: np.random.Generator,
    habits: Domain,
    anatomy: Anatomy,
    shape: tuple[int, int, int] | None,
    spacing: Triple | None,
    focus: str | None,
    randomise: float,
) -> Grid:
    """Choose the grid: what part of the patient is scanned, and where in the plane it lies."""
    bottom, top = rng.uniform(*habits.bottom), rng.uniform(*habits.top)
    if rng.random() < 0.5 * randomise:
        middle, reach = rng.uniform(-200, 200), rng.uniform(90, 260)
        bottom, top = max(middle - reach, -400), min(middle + reach, 310)
    if shape is None and spacing is not None and rng.random() < SLABS * randomise:
        bottom, top = _slab(rng, bottom, top, spacing[0])
    ends = anatomy.outline(bottom, top)  # of the body, in the scanner's millimetres
    ends[:, 0] = anatomy.heights(bottom), anatomy.heights(top)
    size = ends[1] - ends[0]
    span = np.array([size[0], *[_field_of_view(rng, anatomy, size, randomise)] * 2])
    if shape is None:
        shape = _SHAPE if spacing is None else _fitting(span, spacing)
    if spacing is None:
        spacing = tuple((span / np.asarray(shape)).tolist())
    extent = np.asarray(shape) * np.asarray(spacing)
    centre = ends.mean(axis=0)
    slack = (ends[1] - ends[0] - extent) / 2
    for k in range(3):
        if slack[k] > 0:
            centre[k] += rng.uniform(-slack[k], slack[k])
        elif k:
            centre[k] += rng.uniform(-0.7, 0.7) * min(-slack[k], 30 + 30 * randomise)
    aim = None if focus is None else anatomy.find(focus, rng)
    if aim is not None:
        near = aim + rng.uniform(-0.25, 0.25, 3) * extent
        centre = np.where(slack > 0, np.clip(near, *(ends + np.outer([1, -1], extent / 2))), centre)
    return Grid(shape, spacing, centre, anatomy.pose)


def _field_of_view(
    rng: np.random.Generator, anatomy: Anatomy, size: NDArray, randomise: float
) -> float:
    """Width of the reconstructed field: 1.05 to 1.85 times the trunk's at the kidneys.

    It holds all of the skin, but in some scans under randomisation.
    """
    waist = np.ptp(anatomy.outline(-70, 0), axis=0)[2]
    share = np.clip(np.exp(rng.normal(np.log(1.27), 0.16)), 1.05, 1.95)
    if rng.random() < SLABS * randomise:
        return float(waist * rng.uniform(0.7, 2.2))
    return float(max(share * waist, 1.03 * size[1:].max() + 10))


def _slab(rng: np.random.Generator, bottom: float, top: float, step: float) -> tuple[float, float]:
    """Choose a part of a range in z that only 8 to 39 planes show."""
    height = step * int(rng.integers(8, 40))
    low = rng.uniform(bottom, max(top - height, bottom))
    return low, min(low + height, top)


def _fitting(span: NDArray, spacing: Triple) -> tuple[int, int, int]:
    counts = np.maximum(np.round(span / np.asarray(spacing)).astype(int), 8)
    return tuple(counts.tolist())
