"""Lungs above the diaphragm on both sides, the heart between them, vessels without labels."""

import numpy as np
import pytest
from phantom_canvas import canvas, labelled, mean_body, still

from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.solids import points_inside
from mots_pretrained.phantom.space import columns
from mots_pretrained.phantom.thorax import Thorax
from mots_pretrained.phantom.vessels import Vessels


@pytest.fixture(scope="module")
def thorax():
    return Thorax(still(), mean_body())


def chest(low=100, high=200):
    page = canvas((low, -180, -150), (high, 80, 150), 10.0)
    mean_body().place(page)
    return page


def test_lungs_keep_to_the_chest(thorax):
    points = points_inside(np.random.default_rng(0), thorax.solid, 2000, 0.0)
    assert len(points) > 1000
    assert points[:, 0].max() < 272
    assert mean_body().cavity(columns(points)).max() < -2.4
    assert mean_body().diaphragm(columns(points)).min() > 1.4
    assert np.abs(points[:, 2] - thorax.middle).min() > 2  # the mediastinum parts them


def test_two_lungs_are_painted_and_none_below_the_diaphragm(thorax):
    page = chest()
    thorax.paint_lungs(page)
    points = labelled(page, "lung")
    right, left = (points[:, 2] < 0).sum(), (points[:, 2] > 0).sum()
    assert right == pytest.approx(left, rel=0.3)
    assert np.median(page.image[page.labels == LABEL["lung"]]) == pytest.approx(
        page.look.hu["lung"], abs=40
    )
    below = canvas((-200, -180, -150), (-100, 80, 150), 10.0)
    mean_body().place(below)
    thorax.paint_lungs(below)
    assert not below.labels.any()


def test_dependent_lung_is_denser(thorax):
    page = chest(140, 160)
    thorax.posterior = 60.0
    thorax.paint_lungs(page)
    lung = page.labels == LABEL["lung"]
    behind, front = lung & (page.grid.y > 0), lung & (page.grid.y < -110)
    assert np.median(page.image[behind]) > np.median(page.image[front]) + 30


def test_vessels_brighten_the_lungs_and_keep_their_labels(thorax):
    page = chest()
    thorax.paint_lungs(page)
    before, image = page.labels.copy(), page.image.copy()
    thorax.paint_vessels(page, np.random.default_rng(0), 40)
    np.testing.assert_array_equal(page.labels, before)
    inside = before == LABEL["lung"]
    assert (page.image[inside] - image[inside]).max() > 100
    abdomen = canvas((-100, -60, -60), (-40, 0, 60), 10.0)
    thorax.paint_vessels(abdomen, np.random.default_rng(0), 40)
    assert (abdomen.image == abdomen.look.hu["air"]).all()


def test_the_heart_lies_left_of_the_middle_and_holds_blood(thorax):
    page = chest(60, 210)
    thorax.paint_heart(page, Vessels(still()))
    points = labelled(page, "heart")
    assert points[:, 2].mean() > 0
    assert points[:, 1].mean() < -50  # in front
    assert (mean_body().diaphragm(columns(points)) > -5).all()
    blood = np.abs(page.image - page.look.hu["heart_chamber"]) < 3
    assert blood[page.labels == LABEL["heart"]].mean() > 0.05


def test_the_gullet_runs_from_the_neck_to_the_stomach(thorax):
    junction = np.array([60.0, -45.0, 35.0])
    path = thorax.gullet(still(), junction)
    assert (path[0, 0], path[-1, :3].tolist()) == (330, junction.tolist())
    assert (np.diff(path[:, 0]) < 0).all()
    assert (path[:, 3] > 5).all()
