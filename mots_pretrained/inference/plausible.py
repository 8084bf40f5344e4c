"""Is a prediction plausible? What speaks against it is told, and nothing is corrected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.check.anatomy import HU_RANGES, TRUNK, judge, may_be_a_head, read_anatomy
from mots_pretrained.check.landmarks import Landmarks, find_landmarks, thinned
from mots_pretrained.config import ModelConfig
from mots_pretrained.images.hounsfield import why_not_hounsfield
from mots_pretrained.inference.measures import Measures
from mots_pretrained.inference.prediction import Prediction

Kind = Literal["intensity", "spacing", "orientation", "missing", "cut", "volume"]

_STEP = 3.0  # mm between the voxels that anatomy is read from
_WIDE, _DEEP = (220.0, 650.0), (120.0, 500.0)  # mm: trunks of adults, arms and couch included
_PLAIN = 2.0  # strength from which the scan's own spine or lungs decide
_TISSUE = (-200.0, 300.0)  # HU of a body's median


@dataclass(frozen=True)
class Doubt:
    """Something that speaks against a prediction.

    Attributes:
        kind: ``"intensity"``: no CT numbers in HU, or not those of an organ; ``"spacing"``: no
            body is of that size; ``"orientation"``: organs lie as in a flipped scan;
            ``"missing"``: an organ was not found; ``"cut"``: a category reaches the scan's border;
            ``"volume"``: larger or smaller than in training.
        text: What it is, in one sentence.
        category: Which category it is about; "" for the scan.
    """

    kind: Kind
    text: str
    category: str = ""


def find_doubts(
    prediction: Prediction, config: ModelConfig, measured: Mapping[str, Measures]
) -> tuple[Doubt, ...]:
    """Look for what speaks against a prediction.

    Args:
        prediction: What was found.
        config: The network's configuration: its kind of images, its organs, what training saw.
        measured: Measures of every category.
    """
    doubts: list[Doubt] = []
    if config.preprocessing.intensity == "ct":
        volume = prediction.volume
        scan = volume.array[0] if volume.array.ndim == 4 else volume.array
        landmarks = find_landmarks(scan, volume.spacing)
        reason = why_not_hounsfield(scan)
        if reason:
            doubts.append(Doubt("intensity", f"the scan is no CT in Hounsfield units: {reason}"))
        else:
            doubts += _of_the_body(landmarks, prediction)
            doubts += _of_the_values(measured)
            doubts += _of_the_orientation(prediction, landmarks)
    organs = [task.organ for task in config.tasks]
    organs += [seen.category for seen in config.seen_volumes if not seen.without]
    for name, found in measured.items():
        plain = name.replace("_", " ")
        if not found.volume_ml:
            if name in organs:
                text = f"no {plain} was found: it lies outside of the scan, is gone, or was missed"
                doubts.append(Doubt("missing", text, name))
        elif found.border:
            sides = ", ".join(found.border)
            text = f"the {plain} reaches the scan's border ({sides}): what lies beyond is not seen"
            doubts.append(Doubt("cut", text, name))
    doubts += _of_the_volumes(config, measured)
    return tuple(doubts)


def _of_the_body(landmarks: Landmarks | None, prediction: Prediction) -> Iterator[Doubt]:
    if landmarks is None:
        text = "no body stands out from air: the scan is cut close to it, or is no CT of a body"
        yield Doubt("intensity", text)
        return
    if not _TISSUE[0] <= landmarks.tissue <= _TISSUE[1]:
        text = f"the body has a median of {landmarks.tissue:.0f}: the scan is no CT in HU"
        yield Doubt("intensity", text)
    if TRUNK.isdisjoint(prediction.names):  # it may be a head or a limb
        return
    deep, wide = landmarks.size
    for size, limits, word in ((wide, _WIDE, "wide"), (deep, _DEEP, "deep")):
        if size is not None and not limits[0] <= size <= limits[1]:
            spacing = " x ".join(f"{step:.3g}" for step in prediction.spacing)
            yield Doubt(
                "spacing",
                f"the body is {size / 10:.1f} cm {word}, adults are {limits[0] / 10:.0f} to "
                f"{limits[1] / 10:.0f} cm: is the spacing of {spacing} mm (D, H, W) right?",
            )


def _of_the_values(measured: Mapping[str, Measures]) -> Iterator[Doubt]:
    for name, found in measured.items():
        if name in HU_RANGES and found.median is not None:
            low, high = HU_RANGES[name]
            if not low <= found.median <= high:
                plain = name.replace("_", " ")
                usual = f"{low:g} to {high:g} is usual"
                text = f"the median of the {plain} is {found.median:.0f} HU; {usual}"
                yield Doubt("intensity", text, name)


def _of_the_orientation(prediction: Prediction, landmarks: Landmarks | None) -> Iterator[Doubt]:
    """Read off the scan and the organs found how it lies; see `check.anatomy`.

    Of a flipped scan a network may find organs where they ought to be, or none. So the scan's own
    spine and lungs decide where they are far from their place; in a head they are none.
    """
    if may_be_a_head(prediction.names, landmarks):
        return
    labels, step = thinned(prediction.labels, prediction.spacing, _STEP)
    spacing = float(step[0]), float(step[1]), float(step[2])
    organs: dict[str, NDArray[Any]] = {
        name: np.isin(labels, values) for name, values in prediction.label_values.items()
    }
    readings = read_anatomy(organs, spacing, landmarks=landmarks)
    own = read_anatomy({}, spacing, landmarks=landmarks)
    plain = judge(reading for reading in own if abs(reading.strength) >= _PLAIN)
    for axis, verdict in judge(readings).items():
        if (verdict if plain[axis] == "untold" else plain[axis]) == "flipped":
            seen = ", ".join(r.text for r in readings if r.axis == axis and r.strength <= -1)
            text = f"the scan looks flipped {axis} ({seen}); check its header's orientation"
            yield Doubt("orientation", text)


def _of_the_volumes(config: ModelConfig, measured: Mapping[str, Measures]) -> Iterator[Doubt]:
    for seen in config.seen_volumes:
        found = measured.get(seen.category)
        if found is None or not found.volume_ml:
            continue
        small = found.volume_ml < seen.low_ml and not found.border
        if small or found.volume_ml > seen.high_ml:
            yield Doubt(
                "volume",
                f"the {seen.category.replace('_', ' ')} measures {found.volume_ml:,.1f} ml; in "
                f"{seen.scans} training scans it measured {seen.low_ml:,.1f} to "
                f"{seen.high_ml:,.1f} ml",
                seen.category,
            )
