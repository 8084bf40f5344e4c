import numpy as np
import pytest

from mots_pretrained.phantom import solids


def _at(*points):
    return tuple(np.array(points, dtype=np.float32).T)


def test_ellipsoid_is_zero_on_its_surface_and_exact_for_a_sphere():
    egg = solids.ellipsoid((1, 2, 3), (4, 5, 6))
    surface = _at((5, 2, 3), (1, 7, 3), (1, 2, 9), (1, 2, -3))
    np.testing.assert_allclose(egg.distance(surface), 0, atol=1e-5)
    ball = solids.ellipsoid((0, 0, 0), (3, 3, 3))
    np.testing.assert_allclose(ball.distance(_at((5, 0, 0), (0, 1, 0))), [2, -2], atol=1e-4)


def test_turned_ellipsoid_stays_in_its_bounds():
    egg = solids.ellipsoid((0, 0, 0), (10, 3, 2), (30, 40, 50))
    points = np.random.default_rng(0).uniform(-12, 12, (4000, 3))
    inside = points[egg.distance(_at(*points)) < 0]
    assert len(inside) > 20
    assert (inside >= egg.low).all()
    assert (inside <= egg.high).all()
    assert (egg.high < 12).all()


def test_capsule_by_hand():
    start, end = np.float32([0, 0, 0]), np.float32([10, 0, 0])
    p = _at((5, 3, 0), (12, 0, 0), (-1, 0, 0), (10, 0, 4))
    # Radius 1 at the start, 3 at the end; 2 in the middle.
    np.testing.assert_allclose(
        solids.capsule(p, start, end, 1.0, 3.0), [1.0, -1.0, 0.0, 1.0], atol=1e-5
    )


def test_joining_and_cutting():
    left = solids.ellipsoid((0, 0, -3), (2, 2, 2))
    right = solids.ellipsoid((0, 0, 3), (2, 2, 2))
    both = solids.union(left, right, width=0.5)
    np.testing.assert_allclose(both.distance(_at((0, 0, -3), (0, 0, 3))), [-2, -2], atol=1e-4)
    assert both.low[2] == pytest.approx(-5)
    assert both.high[2] == pytest.approx(5)
    dented = solids.without(left, solids.ellipsoid((0, 0, -1), (1, 1, 1)), width=0.1)
    assert dented.distance(_at((0, 0, -1.2)))[0] > 0
    assert dented.distance(_at((0, 0, -4)))[0] < 0
    half = solids.within(left, lambda p: p[0], width=0.1)
    assert half.distance(_at((1, 0, -3)))[0] > 0 > half.distance(_at((-1, 0, -3)))[0]


def test_curve_passes_through_its_points_with_radius():
    points = [[0, 0, 0, 1], [0, 10, 0, 2], [0, 20, 0, 3]]
    path = solids.spline_points(points, 5.0)
    np.testing.assert_allclose(path[[0, 2, 4]], points, atol=1e-9)
    pipe = solids.tube(points, 5.0)
    np.testing.assert_allclose(pipe.start[1:], pipe.end[:-1])


def test_points_inside_are_inside():
    ball = solids.ellipsoid((5, 5, 5), (10, 10, 10))
    points = solids.points_inside(np.random.default_rng(0), ball, 50, 4.0)
    assert 30 < len(points) <= 50
    assert (np.linalg.norm(points - 5, axis=1) < 6).all()
