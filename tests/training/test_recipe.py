"""Recipes: files read strictly, values set by name, the paper's and the published numbers."""

from dataclasses import fields, replace

import pytest

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.methods import METHODS
from mots_pretrained.networks import build
from mots_pretrained.training.recipe import (
    SIZES,
    Recipe,
    Run,
    read_recipe,
    recipe_names,
    to_yaml,
    with_settings,
)
from mots_pretrained.training.sources import AUGMENTATIONS


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_read_and_gives_itself_back(name, tmp_path):
    recipe = read_recipe(name)
    (tmp_path / "copy.yaml").write_text(to_yaml(recipe))
    assert read_recipe(tmp_path / "copy.yaml") == recipe


def test_a_network_in_full_is_written_and_read(tmp_path):
    classes = {"classes": ("organ", "tumour"), "class_values": ((1, 2), (2,))}
    recipe = Recipe(steps=3, network=ModelConfig(), spacing=(4, 3, 2.5), **classes)
    (tmp_path / "own.yml").write_text(to_yaml(recipe))
    assert read_recipe(tmp_path / "own.yml") == recipe
    assert recipe.config == ModelConfig()


def test_section_4_1():
    paper = read_recipe("paper")
    assert (paper.size, paper.rate, paper.epochs, paper.batch, paper.warm_up) == (
        "paper", 2e-4, 1000, 2, 0,
    )  # fmt: skip
    augmentation = AUGMENTATIONS[paper.augmentation]
    named = ("scale", "rotation", "noise", "blur", "contrast", "brightness")
    assert all(getattr(augmentation, name)[0] > 0 for name in named)
    assert augmentation.mirror


def test_the_published_code():
    published, paper = read_recipe("published"), read_recipe("paper")
    differs = {
        f.name for f in fields(Recipe) if getattr(published, f.name) != getattr(paper, f.name)
    }
    assert differs == {"warm_up", "transformer_rate", "augmentation", "precision"}
    assert (published.warm_up, published.transformer_rate) == (10, published.rate)
    assert (published.clip, published.weight_decay, published.foreground) == (0.1, 1e-4, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 5\nrats: 1e-3", "unknown field 'rats'; allowed are method, size"),
        ("steps: five", "steps must be int, not 'five'"),
        ("steps: 5\nsteps: 6", "'steps' stands there twice"),
        ("steps: [", "is not valid YAML"),
        ("- steps", "a recipe is a list of NAME: VALUE lines"),
        ("", "a recipe is a list of NAME: VALUE lines"),
        ("steps: !!python/object/apply:os.getpid []", "is not valid YAML"),
        ("steps: 5\nepochs: 5", "either steps or epochs"),
        ("batch: 2", "either steps or epochs"),
        ("steps: 5\naugmentation: all", "augmentation must be one of default, paper"),
        ("steps: 5\nnetwork: {encoder: {depth: 7}}", "depth must be one of 10, 18, 34, 50"),
    ],
)
def test_a_recipe_file_is_read_strictly(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_recipe(path)


def test_unknown_names_and_missing_files_are_told():
    with pytest.raises(
        UnknownNameError, match="unknown recipe 'mine'; allowed are byol3d, finetun"
    ):
        read_recipe("mine")
    with pytest.raises(MissingFileError, match=r"no such recipe: nowhere.yaml"):
        read_recipe("nowhere.yaml")
    for field in ("../small", "small/../small"):
        with pytest.raises(UnknownNameError):
            read_recipe(field)


def test_values_are_set_by_name_and_typed_as_yaml():
    words = ["rate=1e-4", "steps=500", "ema=null", "tasks=liver, colon", "freeze=[encoder]",
             "half=true", "spacing=[4, 3, 3]", "intensity=ct", "recompute=yes",
             "checkpoint_minutes=5"]  # fmt: skip
    recipe, run = with_settings(read_recipe("paper"), Run(), words)
    assert (recipe.rate, recipe.steps, recipe.epochs, recipe.ema) == (1e-4, 500, None, None)
    assert (recipe.tasks, recipe.freeze, recipe.half) == (("liver", "colon"), ("encoder",), True)
    assert (recipe.spacing, recipe.intensity) == ((4.0, 3.0, 3.0), "ct")
    assert (run.recompute, run.checkpoint_minutes, run.tensorboard) == (True, 5.0, False)
    assert with_settings(recipe, Run(), ["epochs=3"])[0].steps is None


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lr=1", "unknown name 'lr'; allowed are method, size.*, checkpoint_minutes, recompute"),
        ("rate", "takes NAME=VALUE, not 'rate'"),
        ("rate=fast", "rate must be float, not 'fast'"),
        ("rate=2", "rate must be 1e-12 to 1, not 2"),
        ("steps=0", "steps must be 1 to"),
        ("batch=true", "batch must be int, not True"),
        ("accumulate=0", "accumulate must be 1 to"),
        ("seed=-1", "seed must be 0 to"),
        ("ema=1.0", "ema must be"),
        ("clip=0", "clip must be"),
        ("foreground=1.5", "foreground must be 0 to 1, not 1.5"),
        ("randomise=2", "randomise must be 0 to 1"),
        ("labels=all", "labels must be one of partial, complete, not 'all'"),
        ("precision=float8", "precision must be one of float32, bfloat16, float16"),
        ("intensity=CT", "intensity must be one of ct, zscore, not 'CT'"),
        ("size=huge", "unknown size 'huge'; allowed are small, paper"),
        ("method=unet", "unknown method 'unet'"),
        ("recompute=2", "recompute must be bool, not 2"),
        ("spacing=[0.01, 1, 1]", r"spacing must be 0.1 to 20 mm"),
        ("class_values=[[1]]", "class_values must have values for each of the classes"),
        ("on_log=x", "unknown name 'on_log'"),
    ],
)  # fmt: skip
def test_impossible_values_are_told(word, message):
    with pytest.raises(UserError, match=message):
        with_settings(Recipe(steps=5), Run(), [word])


def test_an_epoch_is_920_patches_however_they_are_shared():
    paper = read_recipe("paper")
    assert paper.length(920) == (460_000, 460)
    assert paper.length(920, processes=4) == (115_000, 115)
    assert replace(paper, accumulate=2).length(920, processes=2) == (115_000, 115)
    assert Recipe(steps=7).length(920, processes=4) == (7, 1)


def test_what_a_training_has_no_use_for_is_refused():
    Recipe(steps=1, batch=4).needs_only(frozenset({"steps", "batch"}), "this")
    with pytest.raises(UserError, match="freeze has no part in this; leave it out"):
        Recipe(steps=1, freeze=("encoder",)).needs_only(frozenset({"steps"}), "this")


@pytest.mark.parametrize("held", [{"held_out": 0}, {"held_out": 2}, {"validation": ("img0001",)}])
def test_folds_and_chosen_cases_exclude_each_other(held):
    with pytest.raises(UserError, match="folds hold each case out once; leave out validation"):
        Recipe(steps=1, folds=2, **held)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"size": "paper"}, "size"),
        ({"method": "dodnet"}, "method"),
        ({"method": "dodnet", "size": "paper"}, "method"),
        ({"network": SIZES["paper"]}, "network"),
        (
            {
                "network": replace(
                    SIZES["small"], transformer=replace(SIZES["small"].transformer, levels=1)
                )
            },
            "network",
        ),
    ],
)
def test_another_network_than_that_of_the_start_is_refused(asked, name):
    recipe = Recipe(steps=1, start="mine", **asked)
    with pytest.raises(UserError, match=f"{name} asks for another network than mine is"):
        recipe.check_start(SIZES["small"])
    recipe.check_start(recipe.config)  # which is what it asks for
    four = replace(recipe.config.encoder, in_channels=4)
    contract = replace(recipe.config.preprocessing, channels=("t1", "t1ce", "t2", "flair"))
    recipe.check_start(replace(recipe.config, encoder=four, preprocessing=contract))
    replace(recipe, start=None).check_start(SIZES["small"])
    Recipe(steps=1, start="mine").check_start(recipe.config)  # it asks for nothing


def test_a_method_asks_for_no_size():
    large = Recipe(steps=1, method="dodnet", size="paper").config
    Recipe(steps=1, start="mine", method="dodnet").check_start(large)


@pytest.mark.parametrize("method", ["dodnet", "transdodnet"])
def test_the_small_network_fits_ten_megabytes_as_float16(method):
    net = METHODS[method](Recipe(method=method, steps=1).config)
    assert 2 * sum(parameter.numel() for parameter in net.parameters()) < 10e6
    assert net.config.architecture == method


def test_dodnet_is_the_papers_without_a_transformer():
    net = build(replace(read_recipe("paper"), method="dodnet").config)
    assert sum(parameter.numel() for parameter in net.parameters()) == 35_313_472  # Table 4


def test_the_small_patch_is_the_window():
    contract = read_recipe("small").config.preprocessing
    assert contract.patch == contract.window == (48, 96, 96)
