"""Painting spheres and tubes: volumes, partial voxels, and what keeps a shape in its bounds."""

import numpy as np
import pytest
from phantom_canvas import canvas, labelled, voxel

from mots_pretrained.phantom.canvas import Canvas, Painted
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.solids import Tubes, ellipsoid, tube

BALL = ellipsoid((0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
VOLUME = 4 / 3 * np.pi * 10**3


@pytest.fixture
def page() -> Canvas:
    return canvas((-20, -20, -20), (20, 20, 20), 1.0)


def share(page: Canvas, tissue: str) -> np.ndarray:
    """How much of each voxel is a tissue that was painted onto air."""
    air, full = page.look.hu["air"], page.look.hu[tissue]
    return (page.image - air) / (full - air)


def test_a_ball_has_its_volume_in_labels_and_in_shares_of_voxels(page):
    page.paint(BALL, "liver", "liver")
    assert (page.labels == LABEL["liver"]).sum() == pytest.approx(VOLUME, rel=0.02)
    shares = share(page, "liver")
    assert shares.sum() == pytest.approx(VOLUME, rel=0.02)
    assert shares[voxel(page, (0, 0, 0))] == pytest.approx(1)
    rim = (shares > 0.01) & (shares < 0.99)
    away = np.sqrt(page.grid.z**2 + page.grid.y**2 + page.grid.x**2)
    assert 9 < away[rim].min() < away[rim].max() < 11


def test_shrinking_draws_the_surface_in_and_labels_may_stay_or_go(page):
    painted = page.paint(BALL, "liver", "liver")
    page.fill(painted, "bile", shrink=4.0)
    assert page.image[voxel(page, (0, 0, 0))] == pytest.approx(page.look.hu["bile"])
    assert page.image[voxel(page, (8, 0, 0))] == pytest.approx(page.look.hu["liver"])
    kept = (page.labels == LABEL["liver"]).sum()
    page.fill(painted, "visceral_fat", None, shrink=4.0)
    inner = 4 / 3 * np.pi * 6**3
    assert kept - (page.labels == LABEL["liver"]).sum() == pytest.approx(inner, rel=0.04)


def test_a_halo_of_fat_goes_around_and_clears_other_labels(page):
    page.labels[:] = LABEL["stomach"]
    page.paint(BALL, "liver", "liver", halo=3.0)
    away = np.sqrt((labelled(page, "stomach") ** 2).sum(axis=1))
    assert away.min() == pytest.approx(13, abs=0.6)
    assert page.image[voxel(page, (11.5, 0, 0))] == pytest.approx(
        page.look.hu["visceral_fat"], abs=5
    )


def test_what_lies_outside_of_the_grid_is_none_and_painting_it_does_nothing(page):
    far = ellipsoid((200.0, 0.0, 0.0), (5.0, 5.0, 5.0))
    assert page.measure(far) is None
    page.fill(None, "liver", "liver")
    page.unite(None)
    page.yields(None, page.measure(BALL))
    assert not page.labels.any()


def test_unevenness_moves_the_surface_but_not_past_the_core_nor_at_a_wall(page):
    page.coarse[:] = 1.0

    def radius(**options) -> float:
        painted = page.measure(BALL, **options)
        return float(np.cbrt((painted.distance < 0).sum() * 3 / 4 / np.pi))

    assert radius() == pytest.approx(10, abs=0.15)
    assert radius(uneven=(3.0, 0.0, 0.0)) == pytest.approx(7, abs=0.15)
    assert radius(uneven=(9.0, 0.0, 0.0), core=4.0) == pytest.approx(6, abs=0.15)
    at_wall = radius(uneven=(3.0, 0.0, 0.0), smooth_at=lambda p: np.zeros_like(p[0]))
    assert at_wall == pytest.approx(10, abs=0.15)
    halfway = radius(uneven=(4.0, 0.0, 0.0), smooth_at=lambda p: np.full_like(p[0], -6.0))
    assert halfway == pytest.approx(8, abs=0.15)


def test_a_shape_stays_within_the_trunk(page):
    page.cavity = page.grid.x.copy()  # the inner wall is the plane x = 0
    painted = page.measure(BALL, inside=3.0)
    page.fill(painted, "liver", "liver")
    assert labelled(page, "liver")[:, 2].max() == pytest.approx(-3.5)
    (limb,) = page.trace(tube([[0, 0, -9, 2], [0, 0, 9, 2]], 40.0), inside=1.0)[:1]
    assert page.grid.x[limb.box][limb.distance < 0].max() <= -1


def test_values_are_blended_by_weight(page):
    page.image[:] = 10
    box = (slice(0, 1), slice(0, 1), slice(0, 2))
    page.blend(box, np.array([[[0.25, 1.0]]], np.float32), np.float32(30))
    assert page.image[0, 0, :3].tolist() == [15, 30, 10]


@pytest.mark.parametrize("out", [False, True])
def test_a_shape_is_confined_to_labels_or_kept_out_of_them(page, out):
    page.labels[page.grid.z < 0] = LABEL["liver"]
    painted = page.measure(BALL)
    page.confine(painted, ("liver",), out=out)
    page.fill(painted, "hepatic_vessel", "hepatic_vessel")
    heights = labelled(page, "hepatic_vessel")[:, 0]
    assert len(heights) == pytest.approx(VOLUME / 2, rel=0.03)
    assert (heights > 0).all() if out else (heights < 0).all()


def test_one_shape_yields_to_another(page):
    other = ellipsoid((0.0, 0.0, 8.0), (6.0, 6.0, 6.0))
    mine, its = page.measure(BALL), page.measure(other)
    both = np.zeros(page.grid.shape, int)
    before = (mine.distance < 0).sum()
    page.yields(mine, its)
    both[mine.box] += mine.distance < 0
    both[its.box] += its.distance < 0
    assert both.max() == 1
    assert 0 < (mine.distance < 0).sum() < before
    apart = page.measure(ellipsoid((0.0, 0.0, -17.0), (2.0, 2.0, 2.0)))
    page.yields(apart, its)  # boxes that do not touch
    assert (apart.distance < 0).any()


def test_crumbs_are_dropped(page):
    d = np.ones((5, 5, 9), np.float32)
    d[1:4, 1:4, 1:4] = d[2, 2, 7] = -1
    painted = Painted((slice(0, 5), slice(0, 5), slice(0, 9)), d)
    page.unite(painted)
    assert (painted.distance < 0).sum() == 27
    assert painted.distance[2, 2, 7] > 0


def test_a_tube_has_content_and_a_wall_around_it(page):
    path = tube([[0, 0, -15, 5], [0, 0, 15, 5]], 10.0)
    traced = page.draw(path, "bile", "gallbladder", wall=("gallbladder_wall", 2.0))
    assert [painted.part for painted in traced] == [*range(len(path.start))]
    assert page.image[voxel(page, (0, 0, 0))] == pytest.approx(page.look.hu["bile"])
    assert page.image[voxel(page, (0, 3.5, 0.5))] == pytest.approx(
        page.look.hu["gallbladder_wall"], abs=3
    )
    across = labelled(page, "gallbladder")
    across = across[np.abs(across[:, 2]) < 10]
    assert np.hypot(across[:, 0], across[:, 1]).max() == pytest.approx(5, abs=0.5)


def test_tubes_outside_or_without_parts_are_nothing(page):
    none = Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    assert page.trace(none) == []
    assert page.trace(tube([[200, 0, 0, 2], [220, 0, 0, 2]], 30.0)) == []
