"""What a pretraining is: its stream, its steps, its mirroring."""

from dataclasses import replace

import pytest
from torso_once import torso_once

from mots_pretrained.data.augment import Augmentation
from mots_pretrained.methods import METHODS
from mots_pretrained.tasks import MOTS_TASKS, Task
from mots_pretrained.training import presets, sources
from mots_pretrained.training.pretraining import Pretraining, mirroring
from mots_pretrained.training.recipes import RECIPES, Recipe
from mots_pretrained.training.sources import Phantoms

LUNGS = (Task("left_lung", "left_lung", None), Task("right_lung", "right_lung", None))


@pytest.fixture
def tiny_size(tiny, monkeypatch):
    monkeypatch.setattr(sources, "torso", torso_once)
    monkeypatch.setitem(presets.SIZES, "tiny", presets.Size(tiny, "small"))
    return "tiny"


@pytest.mark.parametrize("labels", ["partial", "complete"])
def test_the_network_takes_the_stream(tiny_size, labels):
    settings = Pretraining(size=tiny_size, data=Phantoms(labels=labels, randomise=0))
    supply = settings.supply()
    net, carried = settings.network(supply.tasks)
    assert carried is None
    loss = net.loss(next(settings.stream(supply, net.config).batches(2))).total
    loss.backward()
    assert loss.isfinite()


def test_the_seed_makes_the_weights(tiny_size):
    nets = [Pretraining(size=tiny_size, seed=seed).network(MOTS_TASKS)[0] for seed in (0, 0, 1)]
    first, same, other = (net.head.state_dict() | net.organ_decoder.state_dict() for net in nets)
    assert all((first[key] == same[key]).all() for key in first)
    assert (first["embedding"] != other["embedding"]).any()
    assert all(isinstance(net, METHODS["transdodnet"]) for net in nets)


def test_an_epoch_is_920_patches_however_they_are_shared():
    paper = Pretraining(size="paper")
    assert paper.chosen_recipe is RECIPES["paper"]
    assert (paper.steps(920), paper.steps_per_epoch(920)) == (460_000, 460)
    assert paper.steps(920, processes=4) == 115_000
    assert replace(paper, accumulate=2).steps_per_epoch(920, processes=2) == 115
    by_steps = Pretraining(recipe=Recipe(1e-3, steps=7))
    assert by_steps.steps(920, processes=4) == 7


def test_sides_are_mirrored_only_where_each_has_its_counterpart():
    everything = Augmentation(mirror=(0, 1, 2))
    assert mirroring(everything, MOTS_TASKS) == (everything, tuple(range(7)))
    assert mirroring(everything, LUNGS) == (everything, (1, 0))
    kept, sides = mirroring(everything, LUNGS[:1])
    assert (kept.mirror, sides) == ((0, 1), None)
    assert mirroring(None, LUNGS[:1]) == (None, None)


def test_the_published_augmentation_asks_for_its_library(tiny_size, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "batchgeneratorsv2", None)
    settings = Pretraining(size=tiny_size, recipe=RECIPES["published"])
    supply = settings.supply()
    with pytest.raises(ValueError, match=r"pip install 'mots_pretrained\[train\]'"):
        settings.stream(supply, settings.network(supply.tasks)[0].config)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"accumulate": 0}, "at least 1 micro-batch"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_impossible_settings_are_told(values, message):
    with pytest.raises(ValueError, match=message):
        Pretraining(**values)
