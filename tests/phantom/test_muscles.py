"""Muscles of back, loins and buttocks: on both sides, each in its place."""

import numpy as np
import pytest
from phantom_canvas import canvas, labelled, voxel

from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.muscles import paint_buttocks, paint_muscles
from mots_pretrained.phantom.skeleton import Spine


@pytest.fixture(scope="module")
def spine():
    return Spine(np.random.default_rng(0), 0.0)


def painted(spine, strength):
    page = canvas((-120, -80, -110), (-20, 80, 110), 4.0)
    paint_muscles(page, spine, np.random.default_rng(0), strength)
    return page


def test_erector_and_psoas_lie_on_both_sides_of_the_spine(spine):
    page = painted(spine, 1.0)
    points = labelled(page, "muscle")
    right, left = (points[:, 2] < 0).sum(), (points[:, 2] > 0).sum()
    assert right == pytest.approx(left, rel=0.1)
    for sign in (-1, 1):
        assert page.labels[voxel(page, (-110, -32, sign * 52))] == LABEL["muscle"]  # the psoas
        y, x = spine.at(-60.0)
        erector = voxel(page, (-60, y + 50, x + sign * 41))
        assert page.labels[erector] == LABEL["muscle"]
    assert page.labels[voxel(page, (-110, -60, 0))] == 0  # nothing before the spine


def test_strong_people_have_more(spine):
    weak, strong = ((painted(spine, s).labels == LABEL["muscle"]).sum() for s in (0.7, 1.3))
    assert strong > 1.4 * weak


def test_the_erector_is_lean(spine):
    page = painted(spine, 1.0)
    y, x = spine.at(-60.0)
    middle = page.image[voxel(page, (-60, y + 50, x + 46))]
    assert middle == pytest.approx(page.look.hu["lean_muscle"], abs=2)


def test_buttocks_lie_behind_and_low():
    page = canvas((-340, -140, -150), (-130, 110, 150), 6.0)
    paint_buttocks(page, np.random.default_rng(0), 1.0)
    points = labelled(page, "muscle")
    assert (points[:, 2] < 0).sum() == pytest.approx((points[:, 2] > 0).sum(), rel=0.05)
    assert page.labels[voxel(page, (-225, 44, 68))] == LABEL["muscle"]
    above = canvas((100, -60, -60), (160, 60, 60), 6.0)
    paint_buttocks(above, np.random.default_rng(0), 1.0)
    assert not above.labels.any()
