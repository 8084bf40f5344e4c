"""Solids as signed distances in millimetres (negative inside), and how they join."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mots_pretrained.phantom.space import Floats, Points, columns

Distance = Callable[[Points], Floats]
Table = Sequence[Sequence[float]] | NDArray[np.floating]


@dataclass(frozen=True)
class Solid:
    """A signed distance and the box (patient's millimetres) that holds the solid."""

    distance: Distance
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Tubes:
    """Capsules with linearly changing radius: ``(n, 3)`` starts and ends, ``(n,)`` radii."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    start_radius: NDArray[np.float64]
    end_radius: NDArray[np.float64]


def rotation(angles: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrix of three angles in degrees about the (z, y, x) axes."""
    matrix = np.eye(3)
    for k, angle in enumerate(np.deg2rad(np.asarray(angles, dtype=float))):
        i, j = [n for n in range(3) if n != k]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def frame(long: ArrayLike, short: ArrayLike) -> NDArray[np.float64]:
    """Matrix to a solid's axes: the long, the middle, and the short one, as near as can be."""
    first = np.asarray(long, dtype=float) / np.linalg.norm(long)
    last = np.asarray(short, dtype=float)
    last = last - (last @ first) * first
    last /= np.linalg.norm(last)
    return np.stack([first, np.cross(last, first), last])


def ellipsoid(centre: ArrayLike, radii: ArrayLike, angles: ArrayLike | None = None) -> Solid:
    """An ellipsoid at (z, y, x) with its radii, turned by degrees about the axes or by a matrix."""
    c = np.asarray(centre, dtype=np.float32)
    r = np.asarray(radii, dtype=np.float32)
    turn = None if angles is None else np.asarray(angles, dtype=float)
    if turn is not None:
        turn = (turn if turn.shape == (3, 3) else rotation(turn)).astype(np.float32)
    tiny = np.float32(1e-5)

    def distance(p: Points) -> Floats:
        q = [p[k] - c[k] for k in range(3)]
        if turn is not None:
            q = [turn[k, 0] * q[0] + turn[k, 1] * q[1] + turn[k, 2] * q[2] for k in range(3)]
        square = [(q[k] * (1 / r[k])) ** 2 for k in range(3)]
        k1 = np.sqrt(square[0] + square[1] + square[2])
        k2 = np.sqrt(square[0] / r[0] ** 2 + square[1] / r[1] ** 2 + square[2] / r[2] ** 2)
        # At the very centre both vanish; their ratio there is about the least radius.
        return (k1 - 1) * (k1 + tiny) / (k2 + tiny / r.min())

    reach = r.astype(float) if turn is None else np.sqrt((turn.T.astype(float) ** 2) @ r**2)
    centre64 = c.astype(float)
    return Solid(distance, centre64 - reach, centre64 + reach)


def smooth_min(a: NDArray, b: NDArray, width: float) -> NDArray:
    """The lesser of two distances with the edge rounded over ``width`` millimetres."""
    blend = np.maximum(np.float32(width) - np.abs(a - b), 0)
    return np.minimum(a, b) - blend * blend * np.float32(0.25 / width)


def union(*solids: Solid, width: float = 10.0) -> Solid:
    """Several solids grown together."""

    def distance(p: Points) -> Floats:
        d = solids[0].distance(p)
        for solid in solids[1:]:
            d = smooth_min(d, solid.distance(p), width)
        return d

    return Solid(
        distance,
        np.min([s.low for s in solids], axis=0),
        np.max([s.high for s in solids], axis=0),
    )


def grown(solid: Solid, by: float) -> Solid:
    """A solid with its surface put out by millimetres."""
    amount = np.float32(by)
    return Solid(lambda p: solid.distance(p) - amount, solid.low - by, solid.high + by)


def without(solid: Solid, *others: Solid, width: float = 6.0) -> Solid:
    """A solid with dents where others lie."""

    def distance(p: Points) -> Floats:
        d = solid.distance(p)
        for other in others:
            d = -smooth_min(-d, other.distance(p), width)
        return d

    return Solid(distance, solid.low, solid.high)


def within(solid: Solid, *limits: Distance, width: float = 6.0) -> Solid:
    """A solid cut off where any of the limits' distances is positive."""

    def distance(p: Points) -> Floats:
        d = solid.distance(p)
        for limit in limits:
            d = -smooth_min(-d, -limit(p), width)
        return d

    return Solid(distance, solid.low, solid.high)


def capsule(p: Points, a: Floats, b: Floats, ra: float, rb: float) -> Floats:
    """Distance from a capsule between two points with radii of its own at either end."""
    axis = b - a
    length = float(axis @ axis) + 1e-6
    q = [p[k] - a[k] for k in range(3)]
    t = q[0] * (axis[0] / length) + q[1] * (axis[1] / length) + q[2] * (axis[2] / length)
    np.clip(t, 0, 1, out=t)
    r = [q[k] - t * axis[k] for k in range(3)]
    d = np.sqrt(r[0] ** 2 + r[1] ** 2 + r[2] ** 2)
    d -= t * np.float32(rb - ra)
    d -= np.float32(ra)
    return d


def tube_solid(tubes: Tubes, width: float = 6.0) -> Solid:
    """Tubes as one solid, for short ones: every point looks at every capsule."""

    def distance(p: Points) -> Floats:
        parts = zip(
            tubes.start.astype(np.float32),
            tubes.end.astype(np.float32),
            tubes.start_radius.tolist(),
            tubes.end_radius.tolist(),
            strict=True,
        )
        d = capsule(p, *next(parts))
        for part in parts:
            d = smooth_min(d, capsule(p, *part), width)
        return d

    radius = np.maximum(tubes.start_radius, tubes.end_radius)[:, None]
    both = np.concatenate([tubes.start - radius, tubes.end - radius])
    tops = np.concatenate([tubes.start + radius, tubes.end + radius])
    return Solid(distance, both.min(axis=0), tops.max(axis=0))


def spline_points(points: Table, step: float) -> NDArray[np.float64]:
    """Points a ``step`` apart on a smooth curve through ``(n, m)`` control points.

    Only the first three columns measure length; further ones (radii) ride along.
    """
    p = np.asarray(points, dtype=float)
    lengths = np.linalg.norm(np.diff(p[:, :3], axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(int(np.ceil(at[-1] / step)), 2)
    wanted = np.linspace(0, at[-1], count + 1)
    # Tangents as in Catmull and Rom's curve, for points unevenly apart.
    step_before, step_after = lengths[:-1, None], lengths[1:, None]
    rise = np.diff(p, axis=0) / lengths[:, None]
    inner = (rise[:-1] * step_after + rise[1:] * step_before) / (step_before + step_after)
    slope = np.concatenate([rise[:1], inner, rise[-1:]])
    i = np.clip(np.searchsorted(at, wanted, side="right") - 1, 0, len(at) - 2)
    h = (at[i + 1] - at[i])[:, None]
    t = (wanted - at[i])[:, None] / h
    return (
        (2 * t**3 - 3 * t**2 + 1) * p[i]
        + (t**3 - 2 * t**2 + t) * h * slope[i]
        + (-2 * t**3 + 3 * t**2) * p[i + 1]
        + (t**3 - t**2) * h * slope[i + 1]
    )


def tube(points: Table, step: float = 12.0) -> Tubes:
    """A smooth tube through ``(n, 4)`` control points (z, y, x, radius)."""
    path = spline_points(points, step)
    return Tubes(path[:-1, :3], path[1:, :3], path[:-1, 3], path[1:, 3])


def points_inside(
    rng: np.random.Generator, solid: Solid, count: int, depth: float
) -> NDArray[np.float64]:
    """Up to ``count`` random points deeper than ``depth`` millimetres in a solid."""
    points = rng.uniform(solid.low, solid.high, (count * 6, 3))
    return points[solid.distance(columns(points)) < -depth][:count]
