"""The recipes stand as paper and published code have them."""

from dataclasses import replace

import pytest

from mots_pretrained.training.recipes import AUGMENTATIONS, RECIPES, Recipe, recipe_named


def test_section_4_1():
    paper = RECIPES["paper"]
    assert (paper.rate, paper.epochs, paper.batch, paper.warm_up) == (2e-4, 1000, 2, 0)
    augmentation = AUGMENTATIONS[paper.augmentation]
    named = ("scale", "rotation", "noise", "blur", "contrast", "brightness")
    assert all(getattr(augmentation, name)[0] > 0 for name in named)
    assert augmentation.mirror
    assert augmentation.engine == "scipy"  # runs on a bare machine


def test_the_published_code():
    published = RECIPES["published"]
    differs = {
        name for name, value in vars(published).items() if value != vars(RECIPES["paper"])[name]
    }
    assert differs == {"warm_up", "transformer_rate", "augmentation", "precision"}
    assert (published.warm_up, published.transformer_rate) == (10, published.rate)
    assert (published.clip, published.weight_decay, published.foreground) == (0.1, 1e-4, 0.5)
    augmentation = AUGMENTATIONS[published.augmentation]
    assert vars(augmentation) == {
        "scale": (0.2, (0.85, 1.25)),
        "rotation": (0.0, 15.0),
        "mirror": (0, 1, 2),
        "noise": (0.1, 0.1),
        "blur": (0.2, (0.5, 1.0)),
        "brightness": (0.15, (0.75, 1.25)),
        "shift": (0.15, 0.1),
        "contrast": (0.15, (0.75, 1.25)),
        "low_resolution": (0.25, (0.5, 1.0)),
        "gamma": (0.15, (0.7, 1.5)),
        "engine": "batchgeneratorsv2",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "at least 1"),
        ({"epochs": 2}, "either steps or epochs"),
        ({"rate": -1.0}, "learning rate"),
        ({"transformer_rate": 2.0}, "learning rate"),
        ({"ema": 1.0}, "average"),
        ({"clip": 0.0}, "clip more than 0"),
        ({"foreground": 1.5}, "foreground must be 0 to 1"),
        ({"augmentation": "all"}, "unknown augmentation 'all'; allowed are default, paper"),
        ({"precision": "float8"}, "unknown precision 'float8'; allowed are float32, bfloat16"),
    ],
)
def test_impossible_recipes_are_told(values, message):
    with pytest.raises(ValueError, match=message):
        replace(Recipe(1e-3, steps=5), **values)


def test_unknown_names_are_told():
    with pytest.raises(KeyError, match="unknown recipe 'mine'; allowed are small, paper, publ"):
        recipe_named("mine")
