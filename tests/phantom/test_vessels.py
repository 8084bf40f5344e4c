"""Trees reach all that they feed, wider towards the root; great vessels lie where they should."""

import numpy as np
import pytest
from phantom_canvas import canvas, labelled, mean_organs, still, voxel

from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.vessels import Vessels, grow_tree, paint_liver_vessels

TRUNK = np.array([[0.0, 0, 0], [10.0, 0, 0]])


def test_a_tree_of_two_branches_by_hand():
    targets = np.array([[20.0, 5, 0], [20.0, -5, 0]])
    tree = grow_tree(np.random.default_rng(0), TRUNK, targets, 1.0, 9.0)
    assert len(tree.start) == 1 + 2 * 2  # the trunk, and two pieces a target
    np.testing.assert_array_equal(tree.start[0], TRUNK[0])
    np.testing.assert_array_equal(tree.end[0], TRUNK[1])
    ends = {tuple(end) for end in tree.end}
    assert {tuple(target) for target in targets} <= ends
    reached = [[*map(tuple, tree.end)].index(tuple(target)) for target in targets]
    assert tree.end_radius[reached].tolist() == [1.0, 1.0]
    # Murray's law with the power 2.5: two leaves of radius 1 need 2 ** 0.4
    assert tree.start_radius[0] == pytest.approx(2**0.4)


def test_no_branch_is_wider_than_the_root_nor_than_what_it_comes_from():
    rng = np.random.default_rng(1)
    targets = rng.uniform((20, -40, -40), (90, 40, 40), (60, 3))
    tree = grow_tree(rng, TRUNK, targets, 1.0, 3.0)
    assert tree.start_radius.max() == 3.0
    assert tree.start_radius.min() == 1.0
    radius = {tuple(end): r for end, r in zip(tree.end, tree.end_radius, strict=True)}
    for start, own in zip(tree.start, tree.start_radius, strict=True):
        if tuple(start) != (0.0, 0.0, 0.0):  # else every piece goes on from another
            assert radius[tuple(start)] >= own - 1e-9
    assert {tuple(t) for t in targets} <= {*radius}


def test_the_aorta_lies_left_and_the_cava_right_of_the_spine():
    vessels = Vessels(still())
    aorta, cava = (
        path[np.abs(path[:, 0]) < 60][:, 2].mean() for path in (vessels.aorta, vessels.cava)
    )
    assert cava < -15 < 0 < aorta
    for side in (vessels.iliacs[0], vessels.iliacs[2]):  # to the right, from either end
        assert side[-1][2] == -100
    np.testing.assert_allclose(vessels.iliacs[0][0][:3], vessels.aorta[-1, :3])
    np.testing.assert_allclose(vessels.iliacs[2][0][:3], vessels.cava[0, :3])


def test_vessels_are_painted_with_their_labels():
    page = canvas((-60, -110, -60), (30, 0, 100), 4.0)
    vessels = Vessels(still())
    vessels.paint(page, mean_organs(), np.random.default_rng(0))
    for name, path in (("aorta", vessels.aorta[7:8]), ("inferior_vena_cava", vessels.cava[1:2])):
        assert page.labels[voxel(page, path[0, :3])] == LABEL[name]
    portal = labelled(page, "portal_and_splenic_vein")
    assert len(portal) > 20
    assert portal[:, 2].max() > 40  # on to the spleen


def test_vessels_of_the_liver_stay_in_the_liver():
    organs = mean_organs()
    page = canvas(organs.liver.low, organs.liver.high, 6.0)
    page.paint(organs.liver, "liver", "liver")
    liver = page.labels == LABEL["liver"]
    paint_liver_vessels(page, organs, Vessels(still()), np.random.default_rng(0))
    found = page.labels == LABEL["hepatic_vessel"]
    assert 0.005 < found.sum() / liver.sum() < 0.2
    assert liver[found].all()
    assert (page.labels[liver] > 0).all()
