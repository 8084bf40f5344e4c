"""What a label map leaves out of a body: skin, fat, muscle, perhaps lungs, bowel and spine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from mots_pretrained.phantom.space import Floats
from mots_pretrained.phantom.tissues import Look

_STEP = 5.0  # millimetres of the grid on which body and lungs are worked out
Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


def paint_unlabelled(
    labels: NDArray[np.integer],
    names: Mapping[int, str],
    spacing: Spacing,
    look: Look,
    fields: tuple[Floats, Floats, Floats],
    rng: np.random.Generator,
) -> Floats:
    """Return an image of the body around and between labelled structures, in HU.

    Args:
        labels: ``(D, H, W)`` values.
        names: Name of each value.
        spacing: Millimetres ``(D, H, W)``.
        look: HU of the tissues.
        fields: Smooth random fields of 25, 18 and 8 mm on the grid.
        rng: Source of the thickness of muscle and fat.
    """
    coarse, medium, fine = fields
    known = " ".join(names.values()).lower()
    stride = [max(1, round(_STEP / s)) for s in spacing]
    small = labels[tuple(slice(None, None, n) for n in stride)]
    step = (spacing[0] * stride[0], spacing[1] * stride[1], spacing[2] * stride[2])
    bones = _has(known, ("vertebra", "bone", "rib"))
    if bones:
        trunk = _hull(small > 0, step)
    else:  # organs alone: one outline, of all slices, holds the trunk
        spine, back = _spine(small, names, step)
        whole = ((small > 0) | spine | back).any(axis=0)
        trunk = _hull(np.broadcast_to(whole, small.shape), step)
    inward = ndimage.distance_transform_edt(np.pad(trunk, 1), sampling=step)[1:-1, 1:-1, 1:-1]
    outward = ndimage.distance_transform_edt(~trunk, sampling=step)
    depth = _on_grid(inward - outward, labels.shape)
    muscle, fat = rng.uniform(8, 14), float(np.clip(np.exp(rng.normal(2.8, 0.4)), 6, 40))
    muscle_out = 4.0 if bones else muscle

    def of(name: str) -> Floats:
        return np.float32(look.hu[name]) + np.float32(look.grain[name]) * fine

    image = np.full(labels.shape, look.hu["air"], np.float32)
    for limit, tissue in (
        (-muscle_out - fat, "skin"),
        (2.0 - muscle_out - fat, "fat"),
        (-muscle_out, "muscle"),
        (8.0 if bones else 0.0, "visceral_fat"),
    ):
        np.copyto(image, of(tissue), where=depth > limit)
    inside = depth > (8.0 if bones else 0.0)
    # Vessels of the mesentery: lines where the zeros of two smooth fields meet.
    np.copyto(image, of("vein"), where=inside & (coarse**2 + medium**2 < 0.01))
    if not _has(known, ("colon", "bowel")):
        np.copyto(image, of("bowel_wall"), where=inside & (coarse > 0.5))
        np.copyto(image, of("bowel_fluid"), where=inside & (coarse > 0.75))
        np.copyto(image, of("bowel_gas"), where=inside & (coarse > 0.75) & (medium > 0.9))
    if not _has(known, ("lung",)):
        lungs = _on_grid(_lungs(small, names, step, trunk).astype(np.float32) - 0.5, labels.shape)
        np.copyto(image, of("lung"), where=inside & (lungs > 0))
    if not bones:
        inner = ndimage.distance_transform_edt(spine, sampling=step)
        for mask, limit, tissue in (
            (back, 0.5, "lean_muscle"),
            (spine, 0.5, "cortical_bone"),
            (inner, 5.0, "spongiosa"),
        ):
            np.copyto(image, of(tissue), where=_on_grid(mask, labels.shape) > limit)
    return image


def _has(known: str, words: tuple[str, ...]) -> bool:
    return any(word in known for word in words)


def _of(labels: NDArray, names: Mapping[int, str], *words: str) -> Mask:
    """Voxels of the structures whose names hold one of the words."""
    wanted = [value for value, name in names.items() if _has(name.lower(), words)]
    return np.isin(labels, wanted)


def _on_grid(small: NDArray, shape: tuple[int, ...]) -> Floats:
    """Bring what was worked out on the small grid to the map's own, linearly."""
    result = small.astype(np.float32)
    for axis, wanted in enumerate(shape):
        have = result.shape[axis]
        at = np.clip(np.arange(wanted) * (have / wanted), 0, have - 1)
        low = np.minimum(at.astype(int), max(have - 2, 0))
        share = (at - low).astype(np.float32)
        share = share.reshape([-1 if k == axis else 1 for k in range(3)])
        high = np.take(result, np.minimum(low + 1, have - 1), axis)
        result = np.take(result, low, axis) * (1 - share) + high * share
    return result


def _hull(inside: Mask, step: Spacing) -> Mask:
    """Convex hull of each slice, smoothed along the body; an empty slice has its neighbour's."""
    hull = np.zeros(inside.shape, np.float32)
    rows, columns = np.indices(inside.shape[1:]).reshape(2, -1)
    found = []
    for z, plane in enumerate(inside):
        points = np.argwhere(plane)
        if len(points) < 4 or np.ptp(points, axis=0).min() < 2:
            continue
        equations = spatial.ConvexHull(points).equations
        values = equations[:, :2] @ np.stack([rows, columns]) + equations[:, 2:]
        hull[z] = (values.max(axis=0) <= 0).reshape(plane.shape)
        found.append(z)
    if not found:
        return inside
    near = np.array(found)[np.abs(np.subtract.outer(range(len(hull)), found)).argmin(axis=1)]
    width = (15.0 / step[0], 8.0 / step[1], 8.0 / step[2])
    return ndimage.gaussian_filter(hull[near], width, mode="nearest") > 0.4


def _spine(labels: NDArray, names: Mapping[int, str], step: Spacing) -> tuple[Mask, Mask]:
    """Spine and back muscles behind the aorta, midway between kidneys where there are any."""
    aorta = _of(labels, names, "aorta")
    levels = np.flatnonzero(aorta.any(axis=(1, 2)))
    spine, muscles = np.zeros((2, *labels.shape), bool)
    if not len(levels):
        return spine, muscles
    places = np.array([np.argwhere(aorta[z]).mean(axis=0) for z in levels])
    kidneys = np.argwhere(_of(labels, names, "kidney"))[:, 2]
    middle = (kidneys.min() + kidneys.max()) / 2 if len(kidneys) else places[:, 1].mean()
    rows, columns = np.indices(labels.shape[1:])
    side = np.abs(columns - middle) * step[2]
    for z in range(len(labels)):
        behind = rows * step[1] - np.interp(z, levels, places[:, 0]) * step[1] - 33
        process = (side < 4) & (np.abs(behind - 34) < 18)
        spine[z] = ((behind / 18) ** 2 + (side / 23) ** 2 < 1) | process
        muscles[z] = ((behind - 32) / 18) ** 2 + ((side - 30) / 27) ** 2 < 1
    return spine, muscles


def _lungs(labels: NDArray, names: Mapping[int, str], step: Spacing, trunk: Mask) -> Mask:
    """Lungs above liver, spleen and stomach, on either side of the middle."""
    below = _of(labels, names, "liver", "spleen", "stomach")
    levels = np.arange(len(labels))[:, None, None]
    top = np.where(below, levels, -1).max(axis=0).astype(np.float32)
    if top.max() < 0:
        return np.zeros(labels.shape, bool)
    away, (rows, columns) = ndimage.distance_transform_edt(
        top < 0, sampling=step[1:], return_indices=True
    )
    top = top[rows, columns] - 1.2 * away / step[0]  # the diaphragm slopes to the wall
    top = ndimage.gaussian_filter(top, 8.0 / step[1])
    where = np.argwhere(trunk)
    middle = where[:, 2].mean()
    side = np.abs(np.arange(labels.shape[2]) - middle) * step[2]
    return (levels > top + 4.0 / step[0]) & (side > 30) & trunk
