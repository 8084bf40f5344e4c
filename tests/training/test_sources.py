"""Where cases come from: what phantoms show, and a prepared folder's cases in their turn."""

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prepared_folder import write_prepared
from torso_once import torso_once

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.phantom import Phantom
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.tasks import MOTS_TASKS, Task, task_named
from mots_pretrained.training import sources
from mots_pretrained.training.recipe import Recipe
from mots_pretrained.training.sources import Pool, TorsoSource, phantoms, prepared_cases


@pytest.fixture(autouse=True)
def _phantoms_made_once(monkeypatch):
    monkeypatch.setattr(sources, "torso", torso_once)


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

    monkeypatch.setattr(sources, "torso", made)
    for labels in ("complete", "partial"):
        source = TorsoSource(tiny.preprocessing, labels=labels)
        for index in range(200):
            source.phantom(index)
    complete, partial = wishes[:200], wishes[200:]
    assert 40 < complete.count(()) < 100
    assert partial.count(None) == 200  # a collection's scans have its own tumour


@pytest.mark.parametrize(("contrast", "asked"), [(10.0, False), (20.0, True)])
def test_vessels_that_do_not_show_are_not_asked_for(tiny, monkeypatch, contrast, asked):
    labels = np.full((16, 16, 16), LABEL["liver"], np.uint8)
    labels[:4] = LABEL["hepatic_vessel"]
    image = np.where(labels == LABEL["liver"], 80.0, 80.0 + contrast)
    made = Phantom(image, labels, (8.0, 8.0, 8.0), "liver", "portal")
    monkeypatch.setattr(sources, "torso", lambda *_, **__: made)
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
    assert sorted(x.name for x in (tmp_path / ".cases/phantoms").iterdir()) == ["000000", "000001"]
    drawn = TorsoSource(tiny.preprocessing, randomise=0.0)(0)
    assert np.abs(np.asarray(first.image) - drawn.image).max() <= 1 / 8192
    assert np.array_equal(first.target, drawn.target)
    assert (first.labelled, first.tasks) == (drawn.labelled, drawn.tasks)


def test_a_pool_grows_by_one_phantom_in_so_many_cases(tmp_path):
    pool = Pool(lambda number: None, tmp_path, replay=4)
    numbers = [pool.number(index) for index in range(1056)]
    assert numbers[:56] == list(range(56))
    assert numbers[56::4] == list(range(56, 306))
    assert all(number <= 56 + max(0, i - 56) // 4 for i, number in enumerate(numbers))
    assert len({*numbers}) == 306
    assert numbers == [pool.number(index) for index in range(1056)]


CONTRACT = Preprocessing(spacing=(12.0, 12.0, 12.0), patch=(32, 32, 32), window=(32, 32, 32))
COUNTS = {"liver": 6, "colon": 4, "spleen": 1}  # the spleen's only case is a test case


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared")
    write_prepared(path, CONTRACT, COUNTS)
    return str(path)


def names_of(source, count):
    return [source(index).name for index in range(count)]


def config_of(supply):
    return ModelConfig(tasks=supply.tasks, preprocessing=CONTRACT)


def test_every_training_scan_comes_once_an_epoch(folder):
    supply = prepared_cases(folder, Recipe(steps=1, seed=1))
    assert ([task.name for task in supply.tasks], supply.scans) == (["liver", "colon"], 8)
    source = supply.source(config_of(supply))
    expected = sorted([f"liver_{i}" for i in range(5)] + [f"colon_{i}" for i in range(3)])
    epochs = [names_of(source, 24)[at : at + 8] for at in (0, 8, 16)]
    assert all(sorted(names) == expected for names in epochs)
    assert epochs[0] != epochs[1]
    assert names_of(pickle.loads(pickle.dumps(source)), 8) == epochs[0]
    case = source(0)
    assert case.tasks == (("liver", "colon").index(case.name.split("_")[0]),)


def test_balanced_tasks_come_in_turn(folder):
    supply = prepared_cases(folder, Recipe(steps=1, balance="balanced"))
    assert supply.scans == 8
    names = names_of(supply.source(config_of(supply)), 30)
    assert Counter(name.split("_")[0] for name in names) == {"liver": 15, "colon": 15}
    assert Counter(names)["colon_0"] == 5
    assert Counter(names)["liver_0"] == 3


def test_the_validation_fold_and_the_test_split_are_held_out(folder):
    supply = prepared_cases(folder, Recipe(steps=1, ablation=True))
    names = {*names_of(supply.source(config_of(supply)), supply.scans)}
    assert names == {f"liver_{i}" for i in range(4)} | {f"colon_{i}" for i in range(2)}


def test_one_task_alone(folder):
    supply = prepared_cases(folder, Recipe(steps=1, tasks=("colon",)))
    assert ([task.name for task in supply.tasks], supply.scans) == (["colon"], 3)
    assert {*names_of(supply.source(config_of(supply)), 3)} == {f"colon_{i}" for i in range(3)}


def test_data_that_does_not_fit_is_told(folder, tmp_path):
    with pytest.raises(ValueError, match="holds no case of 'spleen' to train on"):
        prepared_cases(folder, Recipe(steps=1, tasks=("spleen",)))
    with pytest.raises(KeyError, match="unknown task 'lungs'"):
        prepared_cases(folder, Recipe(steps=1, tasks=("lungs",)))
    with pytest.raises(FileNotFoundError, match="no prepared folder"):
        prepared_cases(tmp_path, Recipe(steps=1))
    supply = prepared_cases(folder, Recipe(steps=1))
    other = replace(CONTRACT, spacing=(4.0, 3.0, 3.0))
    with pytest.raises(ValueError, match=r"spacing \(12.0, 12.0, 12.0\), the model expects \(4.0"):
        supply.source(replace(config_of(supply), preprocessing=other))
