"""One person's freedom: nothing at strength 0, and spreads as told beyond."""

import numpy as np
import pytest

from mots_pretrained.phantom.freedom import Freedom

COUNT = 2000


def test_without_strength_everything_is_the_mean_and_rises_with_the_breath():
    free = Freedom(np.random.default_rng(0), 0.0, 10.0)
    assert free.factor(0.3) == 1
    np.testing.assert_allclose(free.at((1, 2, 3)), (9, 2, 3))
    np.testing.assert_allclose(free.at((1, 2, 3), lifted=0.0), (1, 2, 3))
    np.testing.assert_allclose(free.size((4, 5, 6)), (4, 5, 6))
    np.testing.assert_allclose(free.turn((10, 0, -5)), (10, 0, -5))
    points = [[0.0, 1, 2, 3], [10, 11, 12, 4]]
    np.testing.assert_allclose(free.path(points), [[6, 1, 2, 3], [16, 11, 12, 4]])
    assert points[0][0] == 0.0  # the table itself stays


def test_spreads_grow_with_the_strength():
    free = Freedom(np.random.default_rng(0), 2.0, 0.0)
    factors = np.log([free.factor(0.1) for _ in range(COUNT)])
    assert factors.mean() == pytest.approx(0, abs=0.02)
    assert factors.std() == pytest.approx(0.2, rel=0.06)
    moved = np.array([free.at((0, 0, 0), np.array([5.0, 1.0, 0.0])) for _ in range(COUNT)])
    np.testing.assert_allclose(moved.std(axis=0), (10, 2, 0), rtol=0.06)
    turned = np.array([free.turn((0, 0, 0), 8.0) for _ in range(COUNT)])
    np.testing.assert_allclose(turned.std(axis=0), 16, rtol=0.06)


def test_radii_grow_together_and_a_little_one_by_one():
    free = Freedom(np.random.default_rng(0), 1.0, 0.0)
    sizes = np.log([free.size((1, 1, 1), 0.1) for _ in range(COUNT)])
    # a common spread of 0.1 and 0.05 of each: sqrt(0.0125), of which 0.01 is shared
    np.testing.assert_allclose(sizes.std(axis=0), np.sqrt(0.0125), rtol=0.06)
    assert np.corrcoef(sizes.T)[0, 1] == pytest.approx(0.8, abs=0.03)


def test_a_path_moves_as_one_and_its_points_stay_near_each_other():
    free = Freedom(np.random.default_rng(0), 1.0, 0.0)
    paths = np.array([free.path([[0, 0, 0, 1]] * 3, 4.0) for _ in range(COUNT)])
    own = (paths[:, 1] - paths[:, 0])[:, :3]  # 0.6 of the spread each
    np.testing.assert_allclose(own.std(axis=0), 2.4 * np.sqrt(2), rtol=0.06)
    np.testing.assert_allclose(paths[:, 0, :3].std(axis=0), np.hypot(4.0, 2.4), rtol=0.06)
    assert (paths[:, :, 3] == paths[:, :1, 3]).all()  # one girth a path
    wide = np.array([free.path([[0, 0, 0, 1]] * 2, 100.0) for _ in range(COUNT)])
    assert (wide[:, 1] - wide[:, 0])[:, 0].std() == pytest.approx(3.5 * np.sqrt(2), rel=0.06)
