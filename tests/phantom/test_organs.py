"""Organs of the upper abdomen: beside each other and not in each other, hollow ones filled."""

import dataclasses

import numpy as np
import pytest
from phantom_canvas import canvas, labelled, mean_body, mean_organs, still
from scipy import ndimage

from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.liver import draw_gallbladder
from mots_pretrained.phantom.organs import (
    _with_tongue,
    draw_organs,
    measure_stomach,
    paint_gallbladder,
    paint_spleen,
    paint_stomach,
)
from mots_pretrained.phantom.solids import ellipsoid, points_inside
from mots_pretrained.phantom.space import columns


def around(solid, step=4.0):
    return canvas(solid.low - 8, solid.high + 8, step)


@pytest.mark.parametrize(
    ("one", "other"), [("spleen", "left_kidney"), ("spleen", "stomach"), ("liver", "right_kidney")]
)
def test_neighbours_press_into_each_other_without_overlap(one, other):
    organs = mean_organs()
    right, left = organs.kidneys.parenchyma
    solids = {"spleen": organs.spleen, "stomach": organs.stomach, "liver": organs.liver,
              "right_kidney": right, "left_kidney": left}  # fmt: skip
    points = points_inside(np.random.default_rng(0), solids[one], 1500, 2.0)
    assert len(points) > 500
    assert solids[other].distance(columns(points)).min() > -1


def test_all_lie_within_the_trunk_on_their_own_side():
    organs, rng = mean_organs(), np.random.default_rng(0)
    middles = {}
    for name in ("liver", "spleen", "stomach", "pancreas"):
        points = points_inside(rng, getattr(organs, name), 800, 0.0)
        middles[name] = points.mean(axis=0)
        if name in ("liver", "spleen"):  # the others are kept inside where they are painted
            assert mean_body().lining(columns(points)).max() < 1, name
    assert middles["liver"][2] < -30  # on the patient's right
    assert middles["spleen"][2] > 60
    assert middles["stomach"][1] < middles["pancreas"][1] < middles["spleen"][1]  # front to back


def test_the_pancreas_passes_before_the_aorta():
    path = mean_organs().pancreas_path
    before = np.abs(path[:, 2] - 8) < 24
    assert before.any()
    assert (path[before, 1] + path[before, 3] <= -62 + 1e-6).all()


def test_some_people_have_no_gallbladder():
    rng = np.random.default_rng(0)
    found = [draw_organs(Freedom(rng, 1.0, 0.0), mean_body()).gallbladder for _ in range(60)]
    assert 1 <= sum(one is None for one in found) <= 16  # 7 are expected
    page = canvas((-40, -40, -40), (0, 0, 0), 10.0)
    paint_gallbladder(page, None)
    assert not page.labels.any()


def test_a_gallbladder_holds_bile_within_its_wall():
    solid = draw_gallbladder(still(), mean_organs().liver)
    page = around(solid, 2.0)
    paint_gallbladder(page, solid)
    inside = page.labels == LABEL["gallbladder"]
    bile = np.abs(page.image - page.look.hu["bile"]) < 1
    assert 0.2 < (bile & inside).sum() / inside.sum() < 0.95


def test_gas_in_the_stomach_rises_to_the_front():
    organs = dataclasses.replace(mean_organs(), stomach_fill=-0.2)
    page = around(organs.stomach)
    paint_stomach(page, organs, measure_stomach(page, organs), 4.0)
    inside = page.labels == LABEL["stomach"]
    gas = inside & (page.image < -500)
    fluid = inside & (np.abs(page.image - page.look.hu["stomach_fluid"]) < 2)
    assert gas.sum() > 20
    assert fluid.sum() > 20
    path = organs.stomach_path
    level = path[1:5, 1].mean() - 0.2 * path[:, 3].max()
    assert page.grid.y[gas].max() < level + 2.1  # half a voxel
    assert (page.grid.y[fluid] > level).mean() > 0.95
    empty = canvas((200, 0, 0), (240, 40, 40), 10.0)
    paint_stomach(empty, organs, measure_stomach(empty, organs), 4.0)
    assert not empty.labels.any()


def test_some_spleens_run_down_along_the_side_wall():
    bean = ellipsoid((49, -8, 103), (74, 47, 43))
    spleens = [
        _with_tongue(bean, np.array([49.0, -8, 103]), 1.0, np.random.default_rng(seed))
        for seed in range(60)
    ]
    longer = [spleen for spleen in spleens if spleen is not bean]
    assert 12 <= len(longer) <= 36
    assert min(spleen.low[0] for spleen in longer) < bean.low[0] - 20
    for spleen in longer:
        axes = (np.arange(a - 4, b + 4, 4.0) for a, b in zip(spleen.low, spleen.high, strict=True))
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        inside = spleen.distance(columns(points.reshape(-1, 3))).reshape(points.shape[:3]) < 0
        assert ndimage.label(inside)[1] == 1


def test_accessory_spleens_are_spleen():
    organs = mean_organs()
    gate = organs.spleen.low - 20
    extra = ellipsoid(gate, (5, 5, 5))
    page = canvas(gate - 12, organs.spleen.high + 8, 4.0)
    paint_spleen(page, dataclasses.replace(organs, accessory=(extra,)), mean_body(), 1.0)
    points = labelled(page, "spleen")
    near = np.linalg.norm(points - gate, axis=1) < 6
    assert near.sum() >= 4
    assert (~near).sum() > 500
