"""What can be said of one original case before it is trained on: labels, grid, HU, anatomy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.check.anatomy import (
    HU_RANGES,
    Reading,
    judge,
    may_be_a_head,
    read_anatomy,
)
from mots_pretrained.check.landmarks import Landmarks, find_landmarks, thinned
from mots_pretrained.data.layouts import CaseFiles
from mots_pretrained.errors import UserError
from mots_pretrained.images.content_hash import content_hash, values_hash
from mots_pretrained.images.reading import count_values, read_channels, read_labels
from mots_pretrained.images.volume import SAME_GRID, Volume
from mots_pretrained.tasks import Task

Picture = Callable[[Volume, NDArray[Any], Mapping[str, int]], bytes]
"""Draws a scan, its labels ``(D, H, W)`` and the value of each category as an image file."""

_PLANE = (60.0, 1000.0)  # mm that a scan's plane measures
_LENGTH = (20.0, 2500.0)  # mm that a scan is long
_TISSUE = (-200.0, 300.0)  # HU of the body's median
_STEP = 2.0  # mm between the voxels whose HU are looked at


@dataclass(frozen=True)
class Finding:
    """Something to tell the user.

    Attributes:
        kind: ``"file"``, ``"grid"``, ``"labels"``, ``"spacing"``, ``"intensity"``, ``"anatomy"``
            or ``"duplicate"``.
        text: What it is, in one sentence.
        case: Identifier of the case; "" for a whole collection.
        collection: Name of the collection; "" for several.
        problem: Whether to mend it before training; otherwise it is worth a look.
        others: Identifiers of further cases that it is about, of any collection.
    """

    kind: str
    text: str
    case: str = ""
    collection: str = ""
    problem: bool = True
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseCheck:
    """What was found in one case.

    Attributes:
        identifier: The case.
        collection: Its collection.
        shape: Voxels along (D, H, W); None where the scan could not be read.
        spacing: Millimetres along (D, H, W).
        range: Smallest and largest HU.
        tissue: Median HU of the body; None where no body stands out.
        voxels: Number of voxels of each category that the collection labels.
        content: The scan's `content_hash`.
        values: Its `values_hash`.
        readings: What the anatomy says about the orientation.
        verdicts: Verdict on each axis, as `anatomy.judge` gives them.
        findings: What is wrong with this case alone.
        picture: An image file; None where none was asked for.
    """

    identifier: str
    collection: str
    shape: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    range: tuple[float, float] | None = None
    tissue: float | None = None
    voxels: Mapping[str, int] = field(default_factory=dict)
    content: str | None = None
    values: str | None = None
    readings: tuple[Reading, ...] = ()
    verdicts: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    picture: bytes | None = None


def check_case(
    case: CaseFiles, task: Task, collection: str, *, picture: Picture | None = None
) -> CaseCheck:
    """Check one labelled case; whatever is wrong with its files becomes a finding.

    Args:
        case: A case with a label map.
        task: The task that its collection supervises.
        collection: The collection's name.
        picture: Draws the case, if asked for.
    """
    found: list[Finding] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            if case.label is None:
                raise UserError(f"{case.name} has no label map")
            volume, labels = read_channels(case.images), read_labels(case.label)
            if volume.array.ndim != 3:
                raise UserError(f"{case.images[0]} has several channels; one is read")
        except (ValueError, OSError) as error:
            finding = Finding("file", str(error), case.name, collection)
            return CaseCheck(case.name, collection, findings=(finding,))
    found += [Finding("file", str(warning.message), problem=False) for warning in caught]
    landmarks = find_landmarks(volume.array, volume.spacing)
    masks, counts, faults = _categories(labels.array, task)
    found += faults + _check_scan(volume, landmarks)
    same_grid = _grid_fault(volume, labels)
    found += [same_grid] if same_grid else _check_intensity(volume, masks)
    silent = same_grid is not None or may_be_a_head(masks, landmarks)
    readings = read_anatomy(masks, labels.spacing, landmarks=None if silent else landmarks)
    drawn = None
    if picture is not None and same_grid is None:
        marks, values = _one_map(masks, volume.shape)
        drawn = picture(volume, marks, values)
    return CaseCheck(
        case.name,
        collection,
        volume.shape,
        volume.spacing,
        (float(volume.array.min()), float(volume.array.max())),
        None if landmarks is None else landmarks.tissue,
        counts,
        content_hash(volume),
        values_hash(volume),
        readings,
        judge(readings),
        tuple(replace(finding, case=case.name, collection=collection) for finding in found),
        drawn,
    )


def _categories(
    labels: NDArray[Any], task: Task
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, int], list[Finding]]:
    """Split a label map into masks; also the voxels of each category, and what is wrong."""
    values = {0, *task.organ_values, *task.tumour_values, *task.background_values}
    counts = count_values(labels)
    found = []
    strange = sorted(value for value in counts if value not in values)
    if strange:
        listed = ", ".join(f"{value:g} ({counts[value]} voxels)" for value in strange[:5])
        text = f"label values {listed} mean nothing in task {task.name}; known are {sorted(values)}"
        found.append(Finding("labels", text))
    members = {task.organ: task.organ_values, task.tumour: task.tumour_values}
    masks = {n: np.isin(labels, wanted) for n, wanted in members.items() if n is not None}
    voxels = {
        n: sum(counts.get(v, 0) for v in wanted) for n, wanted in members.items() if n is not None
    }
    if not any(voxels.values()):
        found.append(Finding("labels", f"the label map is empty: no {' or '.join(voxels)}"))
    elif task.organ is not None and not voxels[task.organ]:
        found.append(Finding("labels", f"the label map has no {task.organ}"))
    return {name: mask for name, mask in masks.items() if voxels[name]}, voxels, found


def _grid_fault(volume: Volume, labels: Volume) -> Finding | None:
    if volume.shape != labels.shape:
        text = f"the label map has {labels.shape} voxels (D, H, W), the scan {volume.shape}"
    elif (apart := volume.apart(labels)) > SAME_GRID:
        text = f"the label map lies up to {apart:.3g} voxels beside the scan by their headers"
    else:
        return None
    return Finding("grid", f"{text}; bring the labels to the scan's grid")


def _check_scan(volume: Volume, landmarks: Landmarks | None) -> list[Finding]:
    """Check size and HU of the scan, whatever is labelled."""
    found = []
    depth, height, width = (n * s for n, s in zip(volume.shape, volume.spacing, strict=True))
    if not (_LENGTH[0] <= depth <= _LENGTH[1]) or not all(
        _PLANE[0] <= side <= _PLANE[1] for side in (height, width)
    ):
        spacing = " x ".join(f"{step:.3g}" for step in volume.spacing)
        text = f"the scan measures {depth:.0f} x {height:.0f} x {width:.0f} mm at {spacing} mm"
        found.append(Finding("spacing", f"{text}: no patient is so; correct the header's spacing"))
    if landmarks is None:
        text = "no body stands out from air: the scan is not in HU, or cut close to the body"
        low, high = volume.array.min(), volume.array.max()
        found.append(Finding("intensity", f"{text} (values {low:g} to {high:g})"))
    elif not _TISSUE[0] <= landmarks.tissue <= _TISSUE[1]:
        text = f"the body has a median of {landmarks.tissue:.0f}: the scan is not in HU"
        found.append(Finding("intensity", text))
    return found


def _check_intensity(volume: Volume, masks: Mapping[str, NDArray[np.bool_]]) -> list[Finding]:
    """Check that the HU beneath every label are its organ's."""
    found = []
    for name, mask in masks.items():
        if name not in HU_RANGES:
            continue
        low, high = HU_RANGES[name]
        inside, _ = thinned(mask, volume.spacing, _STEP)
        scan, _ = thinned(volume.array, volume.spacing, _STEP)
        median = float(np.median(scan[inside] if inside.any() else volume.array[mask]))
        if not low <= median <= high:
            plain = name.replace("_", " ")
            text = f"the {plain} has a median of {median:.0f} HU; expected are {low:g} to {high:g}"
            found.append(Finding("intensity", f"{text}: do label map and scan belong together?"))
    return found


def _one_map(
    masks: Mapping[str, NDArray[np.bool_]], shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Draw the masks into one map, a tumour over its organ."""
    marks = np.zeros(shape, np.uint8)
    values = {name: value for value, name in enumerate(masks, start=1)}
    for name, value in values.items():
        marks[masks[name]] = value
    return marks, values
