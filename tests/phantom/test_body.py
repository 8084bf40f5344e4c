"""The trunk's shells: in order, as far apart as the person is fat, with a diaphragm across."""

import dataclasses

import numpy as np
import pytest
from phantom_canvas import MEAN, canvas, labelled, mean_body, voxel

from mots_pretrained.phantom.body import AXIS_Y, Body, Person
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.space import columns


def person(**changes) -> Body:
    return Body(np.random.default_rng(0), dataclasses.replace(MEAN, **changes))


def width(body: Body) -> float:
    low, high = body.outline(-60.0, -20.0)
    return float((high - low)[1])


def test_distances_from_the_inner_wall_grow_outwards_millimetre_by_millimetre():
    away = np.arange(10.0, 200.0, 10.0)
    points = np.stack([np.full(19, -30.0), np.full(19, AXIS_Y), away], axis=1)
    found = mean_body().cavity(columns(points))
    np.testing.assert_allclose(np.diff(found), 10, atol=1e-3)
    half = 10 - found[0]  # of the cavity at the height of the kidneys
    assert 120 < half < 145


def test_shells_come_in_order_from_the_inside_out():
    page = canvas((-62, AXIS_Y - 4, 0), (-58, AXIS_Y + 4, 260), 2.0)
    body = mean_body()
    body.place(page)
    body.paint(page)
    row = page.image[1, 2]
    hu = page.look.hu
    muscle = np.flatnonzero(page.labels[1, 2] == LABEL["muscle"])
    assert (np.diff(muscle) == 1).all()  # one wall
    assert 8 < 2 * len(muscle) < 30
    inner = np.flatnonzero(np.abs(page.cavity[1, 2]) < 1)
    assert abs(muscle[0] - inner[0]) <= 1
    assert row[muscle[0] // 2] == pytest.approx(hu["visceral_fat"], abs=1)
    skin = np.flatnonzero(row > hu["air"] + 400)[-1]
    assert row[(muscle[-1] + skin) // 2] == pytest.approx(hu["fat"], abs=1)
    assert row[-1] == pytest.approx(hu["air"])


def test_fat_puts_the_skin_out_and_a_belly_the_front():
    assert width(person(fat=35.0)) > width(person(fat=10.0)) + 25
    (front, _), _ = person(belly=1.4).outline(-60.0, -20.0)
    (lean, _), _ = person(belly=0.9).outline(-60.0, -20.0)
    assert front < lean - 20  # low y is in front


def test_muscle_makes_the_wall_thicker():
    depths = [person(muscle=m).outline(-60.0, -20.0)[1][0] for m in (0.6, 1.0, 1.4)]
    assert depths == sorted(depths)
    assert depths[2] > depths[0] + 5


def test_the_diaphragm_has_two_domes_that_rise_with_the_breath():
    body, deep = mean_body(), person(breath=-30.0)
    assert deep.right_dome == pytest.approx(body.right_dome - 30)
    right, left = [body.right_dome, -108.0, -72.0], [body.left_dome, -108.0, 74.0]
    heights = body.diaphragm(columns(np.array([right, left])))
    np.testing.assert_allclose(heights, 0, atol=5)
    above = body.diaphragm(columns(np.array([right]) + [[20, 0, 0]])) - heights[0]
    assert above[0] == pytest.approx(16, abs=0.1)  # the domes slope: nearer than straight up
    low = body.diaphragm(columns(np.array([[0.0, -108, -72]])))
    assert low[0] < -60


def test_the_lining_is_the_nearer_of_wall_and_diaphragm():
    rng = np.random.default_rng(0)
    points = columns(rng.uniform((-100, -150, -120), (150, 40, 120), (200, 3)))
    body = mean_body()
    expected = np.maximum(body.cavity(points), body.diaphragm(points))
    np.testing.assert_array_equal(body.lining(points), expected)


def test_ribs_lie_in_the_wall_of_the_chest_alone():
    page = canvas((-200, -180, 100), (260, 80, 200), 5.0)
    body = mean_body()
    body.place(page)
    body.paint_ribs(page)
    bone = page.labels == LABEL["bone"]
    assert bone.any()
    assert np.abs(page.cavity[bone] - 5.5).max() < 4.3
    assert page.grid.z[bone].min() > -120
    below = canvas((-300, -60, 0), (-200, 0, 60), 5.0)
    body.place(below)
    body.paint_ribs(below)
    assert not below.labels.any()


def test_people_differ_within_bounds_and_more_where_randomised():
    rng = np.random.default_rng(0)
    people = {r: [Person.draw(rng, r) for _ in range(300)] for r in (0.0, 1.0)}
    for some in people.values():
        assert 3 <= min(p.fat for p in some) <= max(p.fat for p in some) <= 45
        assert 0.75 <= min(p.belly for p in some) <= max(p.belly for p in some) <= 1.55
        assert 0.4 < np.mean([p.female for p in some]) < 0.6
    spread = {r: np.std([p.breath for p in some]) for r, some in people.items()}
    assert spread[1.0] > 1.2 * spread[0.0]


def test_arms_and_couch_are_no_labels():
    page = canvas((-50, -120, -340), (20, 230, 340), 10.0)
    body = mean_body()
    body.place(page)
    body.paint_surroundings(page, np.random.default_rng(0), 1.0)
    assert not page.labels.any()
    assert (page.image > -900).any()
    assert len(labelled(page, "bone")) == 0
    assert page.image[voxel(page, (0, AXIS_Y, 0))] == pytest.approx(page.look.hu["air"])
