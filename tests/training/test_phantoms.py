"""Phantoms as cases: what they show, which come again, and what is stored of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from noise_case import noise_case
from torso_once import torso_once

from mots_pretrained.config import ModelConfig
from mots_pretrained.phantom import Phantom
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.lesions import TUMOURS
from mots_pretrained.tasks import MOTS_TASKS, Task, task_named
from mots_pretrained.training import phantoms as module
from mots_pretrained.training.phantoms import Pool, TorsoSource, phantoms
from mots_pretrained.training.recipe import Recipe


@pytest.fixture(autouse=True)
def _phantoms_made_once(monkeypatch):
    monkeypatch.setattr(module, "torso", torso_once)


def test_phantoms_show_their_own_collections_labels_in_turn(tiny):
    source = TorsoSource(tiny.preprocessing, randomise=0)
    for index, task in enumerate(MOTS_TASKS):
        case = source(index)
        assert (case.tasks, case.labelled) == ((index,), task.labelled)
        assert case.image.shape[1:] == case.target.shape[1:]
        assert len(case.target) == 2
        assert -1 <= case.image.min() < case.image.max() <= 1
        for channel, known in zip(case.target, task.labelled, strict=True):
            assert known or not channel.any()
    assert source(7).tasks == (0,)
    assert not np.array_equal(source(7).image, source(0).image)
    np.testing.assert_array_equal(source(3).image, source(3).image)


def test_complete_labels_show_all_tasks_but_what_no_collection_labels(tiny):
    case = TorsoSource(tiny.preprocessing, randomise=0, labels="complete")(0)
    assert case.tasks == tuple(range(7))
    assert case.labelled == tuple(known for task in MOTS_TASKS for known in task.labelled)
    liver, vessel, colon = case.target[0], case.target[4], case.target[8]
    assert liver.any()
    assert (vessel <= liver).all()
    assert not colon.any()


def test_healthy_organs_are_the_rule_where_every_target_is_known(tiny, monkeypatch):
    wishes = []

    def made(*_, lesions, **__):
        wishes.append(lesions)

    monkeypatch.setattr(module, "torso", made)
    for labels in ("complete", "partial"):
        source = TorsoSource(tiny.preprocessing, labels=labels)
        for index in range(200):
            source.phantom(index)
    complete, partial = wishes[:200], wishes[200:]
    assert 40 < complete.count(()) < 100
    assert partial.count(None) == 200  # a collection's scans have its own tumour


@pytest.mark.parametrize("labels", ["partial", "complete"])
def test_each_tumour_comes_as_often_as_is_asked(tiny, monkeypatch, labels):
    wishes = []
    monkeypatch.setattr(module, "torso", lambda *_, lesions, **__: wishes.append(lesions))
    for chance in (0.0, 0.25, 1.0):
        source = TorsoSource(tiny.preprocessing, labels=labels, tumours=chance)
        for index in range(200):
            source.phantom(index)
    none, some, every = wishes[:200], wishes[200:400], wishes[400:]
    assert (set(none), set(every)) == ({()}, {TUMOURS})
    for tumour in TUMOURS:
        assert 25 < sum(tumour in wish for wish in some) < 80
    assert len(set(some)) > 20  # each by itself


@pytest.mark.parametrize(("contrast", "asked"), [(10.0, False), (20.0, True)])
def test_vessels_that_do_not_show_are_not_asked_for(tiny, monkeypatch, contrast, asked):
    labels = np.full((16, 16, 16), LABEL["liver"], np.uint8)
    labels[:4] = LABEL["hepatic_vessel"]
    image = np.where(labels == LABEL["liver"], 80.0, 80.0 + contrast)
    made = Phantom(image, labels, (8.0, 8.0, 8.0), "liver", "portal")
    monkeypatch.setattr(module, "torso", lambda *_, **__: made)
    case = TorsoSource(tiny.preprocessing, labels="complete")(0)
    assert (case.labelled[4], case.target[4].any()) == (asked, asked)
    assert TorsoSource(tiny.preprocessing, labels="partial")(2).labelled[0]


@pytest.mark.parametrize("labels", ["partial", "complete"])
def test_chosen_tasks_are_found_by_name_in_the_networks_list(tiny, labels):
    """The network has a task of another's before them, and one that phantoms do not show."""
    supply = phantoms(
        Recipe(steps=1, randomise=0.0, labels=labels, tasks=("colon", "hepatic_vessel"), seed=3),
        Path("unused"),
    )
    assert [task.name for task in supply.tasks] == ["hepatic_vessel", "colon"]
    assert supply.scans == 242 + 100
    other = Task("gallbladder", "gallbladder", None)
    net = ModelConfig(tasks=(other, *MOTS_TASKS[::-1]), preprocessing=tiny.preprocessing)
    vessel, colon = net.tasks.index(task_named("hepatic_vessel")), net.tasks.index(MOTS_TASKS[4])
    source = supply.source(net)
    for index in range(2):
        case = source(index)
        own = ((vessel,), (colon,))[index]
        assert case.tasks == (own if labels == "partial" else (vessel, colon))
        assert len(case.target) == len(case.labelled) == 2 * len(case.tasks)


def test_phantoms_that_come_again_are_drawn_once_and_stored(tiny, tmp_path):
    recipe = Recipe(steps=1, randomise=0.0, phantoms=2)
    source = phantoms(recipe, tmp_path).source(ModelConfig(preprocessing=tiny.preprocessing))
    first = source(0)
    assert first.name == "phantom 0"
    assert {source(i).name for i in range(2, 12)} == {"phantom 0", "phantom 1"}
    stored = [place.name for place in (tmp_path / ".cases/phantoms").glob("*/*")]
    assert sorted(stored) == ["000000", "000001"]
    drawn = TorsoSource(tiny.preprocessing, randomise=0.0)(0)
    assert np.abs(np.asarray(first.image) - drawn.image).max() <= 1 / 8192
    assert np.array_equal(first.target, drawn.target)
    assert (first.labelled, first.tasks) == (drawn.labelled, drawn.tasks)


@pytest.mark.parametrize("changes", [{"randomise": 0.0}, {"labels": "complete"}, {"seed": 1}])
def test_what_another_training_has_stored_there_is_not_learned(tiny, tmp_path, changes):
    """One that was stopped before its first checkpoint leaves the folder free for any other."""
    config = ModelConfig(preprocessing=tiny.preprocessing)
    first = Recipe(steps=1, phantoms=1)
    phantoms(first, tmp_path).source(config)(0)
    other = dataclasses.replace(first, **changes)
    mixed, clean = (phantoms(other, tmp_path / at).source(config)(0) for at in ("", "new"))
    assert np.array_equal(mixed.image, clean.image)
    assert (mixed.labelled, mixed.tasks) == (clean.labelled, clean.tasks)


def test_a_pool_grows_by_one_phantom_in_so_many_cases(tmp_path):
    pool = Pool(lambda number: None, tmp_path, replay=4)
    numbers = [pool.number(index) for index in range(1056)]
    assert numbers[:56] == list(range(56))
    assert numbers[56::4] == list(range(56, 306))
    assert all(number <= 56 + max(0, i - 56) // 4 for i, number in enumerate(numbers))
    assert len({*numbers}) == 306
    assert numbers == [pool.number(index) for index in range(1056)]


def test_only_a_damaged_phantom_is_removed_never_one_that_another_worker_may_be_storing(
    tmp_path, monkeypatch
):
    removed, rmtree = [], module.shutil.rmtree

    def remember(path, **options):
        removed.append(Path(path).name)
        rmtree(path, **options)

    monkeypatch.setattr(module.shutil, "rmtree", remember)
    pool = Pool(noise_case, tmp_path)
    pool(0)
    assert "000000" not in removed
    (tmp_path / "000000" / "image.b2nd").write_bytes(b"damaged")
    np.testing.assert_allclose(pool(0).image, noise_case(0).image, atol=1e-3)
    assert "000000" in removed
