"""Spine and pelvis: bodies, discs and canal where they are said to be, hips on both sides."""

import numpy as np
import pytest
from phantom_canvas import canvas, labelled, voxel

from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.skeleton import Spine, paint_pelvis


@pytest.fixture(scope="module")
def spine():
    return Spine(np.random.default_rng(0), 0.0)


@pytest.fixture(scope="module")
def lumbar(spine):
    page = canvas((-60, -60, -60), (30, 80, 60), 2.0)
    spine.paint(page)
    return page


def test_a_place_is_found_at_any_height(spine):
    y, x = spine.at(0.0)
    assert y == pytest.approx(-12 - 7 * spine.lordosis)  # the table has -19 there, of mean -12
    assert abs(x) <= abs(spine.curve[0])
    assert spine.at(5000) == spine.at(360)  # beyond the ends it goes on as it ends
    assert spine.at(-5000) == spine.at(-460)


def test_bodies_are_bone_and_discs_lie_between_them(spine, lumbar):
    hu = lumbar.look.hu
    body, disc = 0.0, -17.0
    at = voxel(lumbar, (body, *spine.at(body)))
    assert lumbar.labels[at] == LABEL["bone"]
    assert lumbar.image[at] == pytest.approx(hu["spongiosa"], abs=1)
    between = voxel(lumbar, (disc, *spine.at(disc)))
    assert lumbar.image[between] == pytest.approx(hu["disc"], abs=1)
    assert lumbar.image[lumbar.labels == LABEL["bone"]].max() > 0.8 * hu["cortical_bone"]


def test_the_cord_runs_behind_the_bodies_within_bone_that_is_open_to_nothing(spine, lumbar):
    for z in (-34.0, 0.0):
        y, x = spine.at(z)
        plane = lumbar.labels[voxel(lumbar, (z, y, x))[0]]
        row = voxel(lumbar, (z, y, x))[2]
        behind = plane[:, row]  # from the front to the back through the middle
        bone = np.flatnonzero(behind == LABEL["bone"])
        gap = np.setdiff1d(np.arange(bone[0], bone[-1]), bone)
        assert 5 <= len(gap) <= 12  # 10 to 24 mm of canal
        assert y < lumbar.grid.y[0, gap[len(gap) // 2], 0] < y + 60
    assert (np.abs(lumbar.image - lumbar.look.hu["cord"]) < 2).any()


def test_transverse_processes_reach_to_both_sides(lumbar):
    x = labelled(lumbar, "bone")[:, 2]
    assert x.min() < -30
    assert x.max() > 30


def test_a_grid_elsewhere_stays_empty(spine):
    page = canvas((-60, -60, 200), (0, 0, 260), 6.0)
    spine.paint(page)
    assert not page.labels.any()


def test_hips_are_alike_with_a_joint_on_each_side_and_nothing_between():
    page = canvas((-340, -100, -160), (-130, 100, 160), 5.0)
    paint_pelvis(page, np.random.default_rng(0))
    bone = labelled(page, "bone")
    right, left = (bone[:, 2] < 0).sum(), (bone[:, 2] > 0).sum()
    assert right == pytest.approx(left, rel=0.05)
    for sign in (-1, 1):
        head = voxel(page, (-262, -28, sign * 94))  # of the thigh bone
        assert page.labels[head] == LABEL["bone"]
        assert page.image[head] == pytest.approx(page.look.hu["spongiosa"], abs=1)
    assert page.labels[voxel(page, (-262, -28, 0))] == 0  # where the bladder goes
    sacrum = bone[(np.abs(bone[:, 2]) < 30) & (bone[:, 0] > -200)]
    assert sacrum[:, 1].mean() > 15  # behind
