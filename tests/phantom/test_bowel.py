"""Hollow organs: the colon's frame, gas above what it holds, loops in their room, the pelvis."""

import dataclasses

import numpy as np
import pytest
from phantom_canvas import MEAN, canvas, labelled, mean_organs, still

from mots_pretrained.phantom.bowel import Bowel, paint_gullet, paint_pelvic_organs
from mots_pretrained.phantom.labels import LABEL


@pytest.fixture
def bowel():
    return Bowel(still(), mean_organs(), MEAN)


def test_the_colon_frames_the_abdomen_from_right_to_left_and_ends_in_the_middle(bowel):
    path = bowel.colon
    assert path[0, 2] < -60  # the caecum
    assert path[:, 2].max() > 100
    assert np.abs(path[-2:, 2]).max() < 5  # the rectum
    assert path[-1, 0] == path[:, 0].min()
    across = path[5:9]
    assert (across[:, 1] < -90).all()  # the transverse colon hangs in front
    assert len(bowel.content) >= len(bowel.colon_tubes.start)


def test_a_spleen_that_reaches_down_presses_the_left_bend_with_it():
    organs = mean_organs()
    high = dataclasses.replace(organs.spleen, low=organs.spleen.low + [60, 0, 0])
    raised = Bowel(still(), dataclasses.replace(organs, spleen=high), MEAN)
    assert raised.colon[9, 0] == pytest.approx(organs.spleen.low[0] + 60 + 18)


def test_a_belly_puts_the_bowel_forward():
    lean, stout = (
        Bowel(still(), mean_organs(), dataclasses.replace(MEAN, belly=belly))
        for belly in (1.0, 1.4)
    )
    assert stout.colon[6, 1] == pytest.approx(lean.colon[6, 1] - 28)
    assert stout.colon[-1, 1] == lean.colon[-1, 1]


def test_loops_stay_in_their_room(bowel):
    assert 9 <= len(bowel.loops) < 15
    points = np.concatenate(bowel.loops)
    assert (points[:, :3] >= (-240, -124, -88)).all()
    assert (points[:, :3] <= (-22, -58, 94)).all()
    steps = np.linalg.norm(np.diff(bowel.loops[0][:, :3], axis=0), axis=1)
    assert steps.max() <= 24 + 1e-6


def test_coils_lie_in_the_flanks_and_further_back_than_loops():
    drawn = [coil for seed in range(30) for coil in Bowel._coils(np.random.default_rng(seed))]
    assert 30 <= len(drawn) <= 150  # one to five a person
    points = np.concatenate(drawn)[:, :3]
    assert (points >= (-210, -122, -130)).all()
    assert (points <= (-10, 16, 130)).all()
    assert np.abs(points[:, 2]).min() >= 14
    middles = np.array([coil[:, :3].mean(axis=0) for coil in drawn])
    assert (middles[:, 1] > -58).mean() > 0.3  # where no loop comes
    assert 0.5 < (middles[:, 2] > 0).mean() < 0.9  # more of them on the left


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_coil_is_all_wall_or_filled(bowel, collapsed):
    def draws_it(seed):
        rng = np.random.default_rng(seed)
        rng.uniform()
        return (rng.random() < 0.45) == collapsed and rng.random() > 0.2  # and without gas

    seed = next(seed for seed in range(100) if draws_it(seed))
    bowel.coils = [np.array([[-110.0, -30, 70, 14], [-110, -30, 88, 14], [-98, -40, 94, 14]])]
    page = canvas((-140, -65, 45), (-75, 0, 120), 3.0)
    bowel.paint_coils(page, np.random.default_rng(seed))
    coil = page.labels == LABEL["small_bowel"]
    assert coil.sum() > 500
    fluid = np.abs(page.image - page.look.hu["bowel_fluid"])[coil] < 2
    assert fluid.mean() < 0.05 if collapsed else fluid.mean() > 0.2


def test_gas_lies_in_front_of_faeces(bowel):
    bowel.content[:] = "gas"
    bowel.level[:] = -40.0
    page = canvas((-160, -90, 60), (-60, 10, 150), 4.0)  # around the descending colon
    bowel.paint_colon(page)
    colon = page.labels == LABEL["colon"]
    gas = colon & (page.image < -700)
    assert gas.sum() > 10
    assert page.grid.y[gas].max() < -37
    behind = colon & (page.grid.y > -35) & (np.abs(page.image - page.look.hu["faeces"]) < 2)
    assert behind.any()


def test_an_empty_colon_is_nearly_all_wall(bowel):
    page = canvas((-160, -90, 60), (-60, 10, 150), 4.0)
    bowel.content[:] = "empty"
    bowel.paint_colon(page)
    colon = page.labels == LABEL["colon"]
    wall, faeces = (
        np.abs(page.image - page.look.hu[tissue])[colon] < 2 for tissue in ("bowel_wall", "faeces")
    )
    assert wall.mean() > 0.2
    assert faeces.mean() < 0.5 * wall.mean()


def test_duodenum_and_loops_have_their_labels(bowel):
    page = canvas((-100, -120, -70), (20, -40, 60), 5.0)
    bowel.paint_loops(page, np.random.default_rng(0))
    bowel.paint_duodenum(page, np.random.default_rng(0))
    assert len(labelled(page, "small_bowel")) > 50
    duodenum = labelled(page, "duodenum")
    head = mean_organs().pancreas_path[1, :3]
    assert np.linalg.norm(duodenum - head, axis=1).min() < 25


def test_the_gullet_is_a_wall_around_little_air():
    path = np.array([[60.0, 0, 0, 8], [0, 0, 0, 8], [-60, 0, 0, 8]])
    page = canvas((-50, -15, -15), (50, 15, 15), 3.0)
    paint_gullet(page, path, np.random.default_rng(0))
    points = labelled(page, "esophagus")
    assert np.hypot(points[:, 1], points[:, 2]).max() == pytest.approx(8, abs=1.5)


@pytest.mark.parametrize("female", [True, False])
def test_the_bladder_holds_urine_before_the_organ_of_the_pelvis(female):
    page = canvas((-330, -110, -60), (-190, 40, 60), 5.0)
    paint_pelvic_organs(page, still(), dataclasses.replace(MEAN, female=female))
    bladder = labelled(page, "bladder")
    assert bladder[:, 1].mean() == pytest.approx(-44, abs=4)
    inside = page.labels == LABEL["bladder"]
    assert (np.abs(page.image - page.look.hu["urine"]) < 1)[inside].mean() > 0.3
    organ = (np.abs(page.image - page.look.hu["pelvic_organ"]) < 2) & ~inside
    assert organ.sum() > 20
    assert page.grid.y[organ].mean() > bladder[:, 1].mean()
    assert (page.grid.z[organ].mean() > -250) == female  # a uterus lies higher than a prostate
