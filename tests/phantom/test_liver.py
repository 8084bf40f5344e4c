"""The liver under the diaphragm, against the wall and around its neighbours; the gallbladder."""

import numpy as np
import pytest
from phantom_canvas import mean_body, mean_organs, still

from mots_pretrained.phantom.liver import draw_gallbladder, draw_liver
from mots_pretrained.phantom.solids import points_inside
from mots_pretrained.phantom.space import columns


def drawn(bulk, seed=0):
    organs = mean_organs()
    kidney = organs.kidneys.parenchyma[0]
    return draw_liver(still(seed), mean_body(), bulk, organs.hilum, kidney, organs.stomach)


def millilitres(solid):
    rng = np.random.default_rng(0)
    points = rng.uniform(solid.low, solid.high, (20000, 3))
    share = (solid.distance(columns(points)) < 0).mean()
    return share * np.prod(solid.high - solid.low) / 1000


def test_wall_and_diaphragm_bound_it_and_it_reaches_both():
    points = points_inside(np.random.default_rng(0), mean_organs().liver, 3000, 0.0)
    body = mean_body()
    wall, dome = body.cavity(columns(points)), body.diaphragm(columns(points))
    assert wall.max() < 1
    assert dome.max() < 1
    assert np.percentile(wall, 95) > -15
    assert np.percentile(dome, 95) > -15


def test_its_mass_lies_on_the_right_and_a_lobe_crosses_to_the_left():
    points = points_inside(np.random.default_rng(0), mean_organs().liver, 3000, 0.0)
    right = (points[:, 2] < 0).mean()
    assert 0.6 < right < 0.99
    assert points[points[:, 2] > 0][:, 1].mean() < -70  # in front of the stomach


def test_kidney_and_hilum_are_kept_free():
    organs = mean_organs()
    kidney = points_inside(np.random.default_rng(0), organs.kidneys.parenchyma[0], 500, 0.0)
    assert organs.liver.distance(columns(kidney)).min() > 0
    assert organs.liver.distance(columns(organs.hilum[None] + [-8, 2, 8]))[0] > 0


def test_size_goes_with_the_persons_bulk():
    small, mean, large = (millilitres(drawn(bulk)) for bulk in (0.9, 1.0, 1.1))
    assert small < mean < large
    assert 1100 < mean < 2300  # people's median is 1644


def test_the_gallbladder_is_half_sunk_into_the_underside():
    liver = mean_organs().liver
    for seed in range(4):
        gallbladder = draw_gallbladder(still(seed), liver)
        points = points_inside(np.random.default_rng(0), gallbladder, 400, 0.0)
        sunk = (liver.distance(columns(points)) < 0).mean()
        assert 0 < sunk < 1
        assert points[:, 2].mean() < -40
        assert points[:, 0].mean() < (liver.low + liver.high)[0] / 2  # below the middle
        assert np.ptp(points[:, 0]) == pytest.approx(45, abs=20)
