"""Where cases come from: a prepared folder's, in their turn."""

import pickle
from collections import Counter
from dataclasses import replace

import pytest
from prepared_folder import write_prepared

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.data.store import SetAside, write_index
from mots_pretrained.errors import UserError
from mots_pretrained.training.recipe import Recipe
from mots_pretrained.training.sources import prepared_cases

CONTRACT = Preprocessing(spacing=(12.0, 12.0, 12.0), patch=(32, 32, 32), window=(32, 32, 32))
COUNTS = {"liver": 6, "colon": 4, "spleen": 1}  # the spleen's only case is a test case

pytestmark = pytest.mark.filterwarnings("ignore:.*holds no case of spleen to train on")


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


def test_what_a_folder_lacks_is_told(tmp_path):
    prepared = write_prepared(tmp_path, CONTRACT, {"liver": 3, "kidney": 1, "spleen": 1})
    with pytest.warns(UserWarning, match="holds no case of kidney, spleen to train on; nothing is"):
        prepared_cases(tmp_path, Recipe(steps=1))
    write_index(replace(prepared, set_aside=(SetAside("liver_7", "LiTS", "truncated"),)), {})
    with pytest.warns(UserWarning, match="not be prepared, in whatever split: 1, such as liver_7"):
        prepared_cases(tmp_path, Recipe(steps=1, tasks=("liver",)))


def test_a_folder_without_tasks_is_refused(tmp_path):
    prepared = write_prepared(tmp_path, CONTRACT, {"liver": 3})
    write_index(replace(prepared, tasks=()), {})
    with pytest.raises(UserError, match="was prepared without tasks, so no method can be pretrai"):
        prepared_cases(tmp_path, Recipe(steps=1))
