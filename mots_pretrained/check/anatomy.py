"""Is a scan upright? Read off where its labelled organs lie to each other and in the body.

Each axis is told by readings of its own: the liver lies right of the spleen, the kidneys lie in the
back half, the upper poles of the kidneys lean together, the lungs are up. Where no reading bears on
an axis (kidneys alone do not tell left from right), nothing is said about it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.check.landmarks import Landmarks, thinned

Verdict = Literal["upright", "flipped", "unclear", "untold"]

AXES: tuple[str, ...] = ("head-foot", "front-back", "left-right")
"""The axes (D, H, W) by what lies at their ends."""

HU_RANGES: dict[str, tuple[float, float]] = {
    "liver": (-30, 250),
    "liver_tumour": (-60, 250),
    "kidney": (0, 400),
    "kidney_tumour": (-80, 350),
    "hepatic_vessel": (0, 400),
    "hepatic_vessel_tumour": (-60, 250),
    "pancreas": (-60, 250),
    "pancreas_tumour": (-60, 250),
    "colon_tumour": (-80, 250),
    "lung_tumour": (-750, 250),
    "spleen": (0, 300),
}
"""Between which CT numbers the median of an organ or tumour lies, from native to arterial phase."""

_STEP = 3.0  # mm between the voxels that are looked at
_FEWEST = 30  # of them make an organ

# What lies before what along (D, H, W), and what it is to lie so. Far apart in every patient.
_ORDERS: tuple[tuple[int, str, str, str], ...] = (
    (0, "kidney", "liver", "below"),
    (0, "kidney", "lung", "below"),
    (0, "liver", "lung", "below"),
    (0, "bladder", "liver", "below"),
    (0, "bladder", "kidney", "below"),
    (0, "bladder", "spleen", "below"),
    (1, "liver", "kidney", "in front of"),
    (1, "pancreas", "kidney", "in front of"),
    (1, "stomach", "kidney", "in front of"),
    (2, "liver", "spleen", "right of"),
    (2, "liver", "stomach", "right of"),
    (2, "gallbladder", "spleen", "right of"),
    (2, "right_kidney", "left_kidney", "right of"),
    (2, "inferior_vena_cava", "aorta", "right of"),
)
# What lies on which side of the body's middle: -1 towards the axis's start, 1 towards its end.
_SIDES: tuple[tuple[int, str, int, str], ...] = (
    (1, "kidney", 1, "behind"),
    (1, "spleen", 1, "behind"),
    (2, "liver", -1, "right of"),
    (2, "hepatic_vessel", -1, "right of"),
    (2, "spleen", 1, "left of"),
)
TRUNK = frozenset({*HU_RANGES, *(name for order in _ORDERS for name in order[1:3])})
"""Organs and tumours that lie in the trunk."""

_HEAD = 260.0  # mm: heads and limbs are narrower
_OTHER_SIDE = {
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
    "right of": "left of",
    "left of": "right of",
}
_FAR = 10.0  # mm by which such an order must hold to count
_JOINED = 0.02  # share of the voxels near the middle, above which there are not two kidneys
_LEANING = 2.0  # mm by which the kidneys' upper halves are nearer to each other
_LUNGS = 0.12  # of the scan's length above its middle; in a scan of the chest they fill it


@dataclass(frozen=True)
class Reading:
    """One thing read off the anatomy.

    Attributes:
        axis: Which of `AXES` it bears on.
        text: What was seen, with the measure.
        strength: 1 and more speaks for upright, -1 and less for flipped, between is no evidence.
    """

    axis: str
    text: str
    strength: float


def may_be_a_head(names: Collection[str], landmarks: Landmarks | None) -> bool:
    """Whether a scan may be of a head or a limb, whose bone and air lie as in no trunk.

    Args:
        names: Categories that are labelled or predicted; one of the trunk's speaks for a trunk.
        landmarks: Of the scan.
    """
    wide = None if landmarks is None else landmarks.size[1]
    return TRUNK.isdisjoint(names) and wide is not None and wide < _HEAD


def read_anatomy(
    organs: Mapping[str, NDArray[Any]],
    spacing: tuple[float, float, float],
    *,
    landmarks: Landmarks | None = None,
) -> tuple[Reading, ...]:
    """Read off what organs and the scan itself say about the orientation.

    Args:
        organs: ``(D, H, W)`` masks in canonical orientation, by names such as ``"liver"``,
            ``"left_kidney"`` or ``"kidney"``; names that tell nothing are passed over.
        spacing: Millimetres along (D, H, W).
        landmarks: Landmarks of the scan; without, the grid's middle stands for the body's.

    Returns:
        The readings, axis by axis.
    """
    points = dict(_points(organs, spacing))
    centres = {name: where.mean(axis=0) for name, where in points.items()}
    readings = [*_orders(centres)]
    if landmarks is not None:
        middle = landmarks.middle
        readings += _scan_readings(landmarks)
    elif organs:
        shape = next(iter(organs.values())).shape
        middle = ((shape[1] - 1) / 2 * spacing[1], (shape[2] - 1) / 2 * spacing[2])
    readings += _sides(centres, middle) if centres else []
    if "kidney" in points:
        readings += _leaning(points["kidney"])
    return tuple(sorted(readings, key=lambda reading: AXES.index(reading.axis)))


def judge(readings: Iterable[Reading]) -> dict[str, Verdict]:
    """Say of each axis whether it is upright: what most readings say.

    Returns:
        By axis ``"upright"``, ``"flipped"``, ``"unclear"`` where the readings contradict each
        other or are weak, or ``"untold"`` where there are none.
    """
    verdicts: dict[str, Verdict] = {}
    listed = tuple(readings)
    for axis in AXES:
        strengths = [reading.strength for reading in listed if reading.axis == axis]
        votes = sum(s >= 1 for s in strengths) - sum(s <= -1 for s in strengths)
        if not strengths:
            verdicts[axis] = "untold"
        else:
            verdicts[axis] = "upright" if votes > 0 else "flipped" if votes < 0 else "unclear"
    return verdicts


def _points(
    organs: Mapping[str, NDArray[Any]], spacing: tuple[float, float, float]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the places of every organ's voxels in mm; one or two kidneys also as "kidney"."""
    kidneys = []
    for name, mask in organs.items():
        thin, step = thinned(mask, spacing, _STEP)
        where = np.argwhere(thin) * step
        if name in ("kidney", "right_kidney", "left_kidney"):
            kidneys.append(where)
        if name != "kidney" and len(where) >= _FEWEST:
            yield name, where
    if sum(map(len, kidneys)) >= _FEWEST:
        yield "kidney", np.concatenate(kidneys)


def _orders(centres: Mapping[str, NDArray[np.float64]]) -> Iterator[Reading]:
    for axis, first, second, words in _ORDERS:
        if first in centres and second in centres:
            far = float(centres[second][axis] - centres[first][axis])
            text = f"the {_plain(first)} lies {_far(far, words)} the {_plain(second)}"
            yield Reading(AXES[axis], text, far / _FAR)


def _sides(
    centres: Mapping[str, NDArray[np.float64]], middle: tuple[float, float]
) -> Iterator[Reading]:
    for axis, name, side, words in _SIDES:
        if name in centres:
            far = float(centres[name][axis] - middle[axis - 1]) * side
            text = f"the {_plain(name)} lies {_far(far, words)} the body's middle"
            yield Reading(AXES[axis], text, far / _FAR)


def _scan_readings(landmarks: Landmarks) -> Iterator[Reading]:
    if landmarks.spine is not None:
        text = f"the spine lies {_far(landmarks.spine, 'behind')} the body's middle"
        yield Reading(AXES[1], text, landmarks.spine / _FAR)
    if landmarks.lungs is not None:
        share = f"{abs(100 * landmarks.lungs):.0f} % of the scan's length"
        text = f"the lungs lie {share} {'above' if landmarks.lungs >= 0 else 'below'} its middle"
        yield Reading(AXES[0], text, landmarks.lungs / _LUNGS)


def _leaning(points: NDArray[np.float64]) -> Iterator[Reading]:
    """The psoas spreads the kidneys' lower halves apart: read where there are two kidneys."""
    middle = (points[:, 2].min() + points[:, 2].max()) / 2
    right, left = points[points[:, 2] < middle], points[points[:, 2] >= middle]
    between = np.mean(np.abs(points[:, 2] - middle) < _FAR)
    if min(len(right), len(left)) < max(_FEWEST, 0.2 * len(points)) or between > _JOINED:
        return
    nearer = []
    for kidney in (right, left):
        height = np.median(kidney[:, 0])
        upper, lower = kidney[kidney[:, 0] > height], kidney[kidney[:, 0] < height]
        if not len(upper) or not len(lower):
            return
        sideways = np.abs(lower[:, 2] - middle).mean() - np.abs(upper[:, 2] - middle).mean()
        nearer.append(float(sideways))
    lean = sum(nearer) / 2
    how = "nearer to" if lean >= 0 else "farther from"
    text = f"the kidneys' upper halves are {abs(lean):.0f} mm {how} the middle than the lower"
    yield Reading(AXES[0], text, lean / _LEANING)


def _far(distance: float, words: str) -> str:
    """Say a distance, and to which side it is."""
    return f"{abs(distance):.0f} mm {words if distance >= 0 else _OTHER_SIDE[words]}"


def _plain(name: str) -> str:
    return name.replace("_", " ")
