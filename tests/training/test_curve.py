"""The learning curve: both arms on the same scans, nothing done twice, intervals by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.table import read_lines
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.methods import METHODS
from mots_pretrained.training import curve as module
from mots_pretrained.training.curve import learning_curve, points_of
from mots_pretrained.training.finetune_folder import finetune_folder
from mots_pretrained.training.recipe import Recipe, Run

HELD = ("d", "e")
RECIPE = Recipe(steps=2, batch=1, train="head", validation=HELD)


@pytest.fixture
def data(tmp_path):
    """Five scans with a bright box each."""
    for seed, name in enumerate("abcde"):
        image = np.random.default_rng(seed).normal(-900, 50, (32, 32, 32)).astype(np.int16)
        label = np.zeros(image.shape, np.uint8)
        label[4:20, 4:20, 4 + seed : 20 + seed] = 1
        image[label == 1] += 900
        volume = Volume.with_spacing(image, (12.0, 12.0, 12.0))
        for folder, array, dtype in (("images", image, np.int16), ("labels", label, np.uint8)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            write_like(tmp_path / "data" / folder / f"{name}.nii.gz", array, volume, dtype=dtype)
    return tmp_path / "data"


@pytest.fixture
def recipe(tiny, tmp_path):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    return replace(RECIPE, start=str(tmp_path / "start"))


@pytest.fixture
def trained(monkeypatch):
    """Kind of start, seed and cases of every network that is trained."""
    found, prepare = [], module.prepare

    def remember(accelerator, network, cases, recipe, run, **options):
        names = tuple(case.name for case in cases)
        found.append(("random" if recipe.start is None else "pretrained", recipe.seed, names))
        return prepare(accelerator, network, cases, recipe, run, **options)

    monkeypatch.setattr(module, "prepare", remember)
    return found


def test_both_arms_learn_from_the_same_scans_and_are_scored_on_the_held_out(
    data, recipe, tmp_path, trained
):
    said = []
    run = Run(say=said.append)
    curve = learning_curve(data, tmp_path / "out", recipe, counts=(2, 1), seeds=2, run=run)
    assert [(kind, seed, len(names)) for kind, seed, names in trained] == [
        (kind, seed, count) for seed in (0, 1) for count in (1, 2) for kind in module.ARMS
    ]
    for one, other in zip(trained[::2], trained[1::2], strict=True):
        assert one[1:] == other[1:]
        assert {*one[2]} <= {"a", "b", "c"}
    assert {*trained[0][2]} < {*trained[2][2]}  # with two scans, the first and another
    lines = read_lines(tmp_path / "out" / "curve.csv")
    assert {line["case"] for line in lines} == {*HELD}
    assert len(lines) == 2 * 2 * 2 * len(HELD)
    assert {line["setting"] for line in lines} == {"1 scans", "2 scans"}
    assert curve.complete
    assert [(p.scans, p.seeds, p.difference.cases) for p in curve.points] == [(1, 2, 2), (2, 2, 2)]
    assert said[0].startswith("Taken for CT, as there are numbers of air")
    assert "2 scans, seed 1, random weights (8 of 8)" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".lock", "curve.csv", "curve.json", "curve.png",
    }  # fmt: skip
    assert curve.as_text().splitlines()[1].split()[0] == "1"
    assert json.loads(json.dumps(curve.as_json()))["points"][1]["scans"] == 2


def test_what_is_done_is_not_done_again_and_more_may_be_asked_for(data, recipe, tmp_path, trained):
    out, resume = tmp_path / "out", Run(resume=True)
    none = learning_curve(data, out, recipe, counts=(1,), seeds=1, run=Run(max_minutes=1e-9))
    assert (none.complete, none.points, trained) == (False, (), [])
    learning_curve(data, out, recipe, counts=(1,), seeds=1, run=resume)
    first = read_lines(out / "curve.csv")
    assert len(trained) == 2
    again = learning_curve(data, out, recipe, counts=(1,), seeds=1, run=resume)
    assert again.complete
    assert len(trained) == 2
    more = learning_curve(data, out, recipe, counts=(1, 3), seeds=1, run=resume)
    assert len(trained) == 4
    assert read_lines(out / "curve.csv")[: len(first)] == first
    assert [point.scans for point in more.points] == [1, 3]
    with pytest.raises(UserError, match="holds a curve; continue it with --resume"):
        learning_curve(data, out, recipe, counts=(1,), seeds=1)
    for again in (Run(), resume):
        with pytest.raises(UserError, match="holds a curve; choose another folder for the trai"):
            finetune_folder(data, out, recipe, run=again)
    with pytest.raises(UserError, match='train "head", asked for is "all"'):
        learning_curve(data, out, replace(recipe, train="all"), counts=(1,), seeds=1, run=resume)


def test_an_arm_that_takes_longer_than_there_is_time_goes_on(data, recipe, tmp_path, monkeypatch):
    """Every run began it anew, and none came to its end."""
    long = replace(recipe, train="all", steps=20, fit_steps=5)
    learning_curve(data, tmp_path / "whole", long, counts=(1,), seeds=1)
    begun_at, out, train = [], tmp_path / "out", module.train

    def in_little_time(trainer, watch, cases):
        trainer.run = replace(trainer.run, max_minutes=1e-9)  # ten steps
        history = train(trainer, watch, cases)
        begun_at.append(trainer.step)
        return history

    monkeypatch.setattr(module, "train", in_little_time)
    made = learning_curve(data, out, long, counts=(2,), seeds=1)
    while not made.complete:
        assert {path.name for path in out.glob(".arm_*")} <= {
            ".arm_2_0_pretrained", ".arm_1_0_pretrained", ".arm_1_0_random",
        }  # fmt: skip
        made = learning_curve(data, out, long, counts=(1,), seeds=1, run=Run(resume=True))
    assert begun_at == [10, 10, 20, 10, 20]
    assert not [*out.glob(".arm_*")]
    kept = [
        [line | {"seconds": "", "machine": ""} for line in read_lines(folder / "curve.csv")]
        for folder in (tmp_path / "whole", out)
    ]
    assert kept[0] == kept[1]
    assert all(float(line["seconds"]) > 0 for line in read_lines(out / "curve.csv"))


def test_a_curve_is_not_continued_with_cases_that_have_changed(data, recipe, tmp_path, trained):
    learning_curve(data, tmp_path / "out", recipe, counts=(1,), seeds=1)
    label = np.ones((32, 32, 32), np.uint8)
    volume = Volume.with_spacing(label, (12.0, 12.0, 12.0))
    write_like(data / "labels" / "a.nii.gz", label, volume, dtype=np.uint8)
    with pytest.raises(UserError, match=r"with content .*; give it the very cases that it began"):
        learning_curve(data, tmp_path / "out", recipe, counts=(1, 2), seeds=1, run=Run(resume=True))
    assert len(trained) == 2


def test_all_weights_learn_where_that_is_asked_for(data, recipe, tmp_path):
    every = replace(recipe, train="all")
    curve = learning_curve(data, tmp_path / "out", every, counts=(2,), seeds=1)
    assert {line["steps"] for line in read_lines(tmp_path / "out" / "curve.csv")} == {"2"}
    assert curve.complete


def test_scans_that_a_split_leaves_out_are_not_trained_on(data, recipe, tmp_path, trained):
    splits = [{"train": ["a", "c"], "val": ["d"]}]
    (data / "splits_final.json").write_text(json.dumps(splits))
    told, said = replace(recipe, validation=(), fit_steps=20), []
    learning_curve(data, tmp_path / "out", told, counts=(2,), seeds=1, run=Run(say=said.append))
    assert {name for _, _, names in trained for name in names} == {"a", "c"}
    assert {line["case"] for line in read_lines(tmp_path / "out" / "curve.csv")} == {"d"}
    assert "2 cases are in neither part of this split and left out" in said
    with pytest.raises(UserError, match="has 2 scans to train on beside 1 held out"):
        learning_curve(data, tmp_path / "out3", told, counts=(3,), seeds=1)


def test_equal_weights_in_both_arms_give_equal_scores(data, tiny, tmp_path):
    """The head of random weights was not fitted, and they learned at the full rate."""
    torch.manual_seed(0)  # of the arms' seed: the random weights are those of the start
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    recipe = replace(RECIPE, start=str(tmp_path / "start"), train="all", fit_steps=50)
    (point,) = learning_curve(data, tmp_path / "out", recipe, counts=(2,), seeds=1).points
    assert point.difference.first > 0
    assert point.difference.difference == 0.0


def line(scans, seed, arm, case, value):
    return {
        "setting": f"{scans} scans", "seed": f"{seed}", "row": arm, "case": case,
        "category": "box", "metric": "dice", "value": value,
    }  # fmt: skip


def test_points_are_means_over_seeds_then_paired_over_scans():
    """Differences 0.3 and 0.1 of two scans: 12.71 times their standard error is 1.27."""
    lines = [
        line(2, seed, arm, case, f"{value + (0.1 if seed else -0.1)}")
        for seed in (0, 1)
        for arm, case, value in (
            ("pretrained", "x", 0.7), ("pretrained", "y", 0.5),
            ("random", "x", 0.4), ("random", "y", 0.4),
        )
    ]  # fmt: skip
    lines += [line(2, 2, "pretrained", "x", "0.9"), line(4, 0, "pretrained", "x", "0.9")]
    (point,) = points_of(lines)
    with pytest.raises(UserError, match="no number of scans in its setting ''"):
        points_of([*lines, lines[0] | {"setting": ""}])
    assert (point.scans, point.seeds) == (2, 2)
    difference = point.difference
    assert (difference.first, difference.second) == (pytest.approx(0.6), pytest.approx(0.4))
    assert (difference.low, difference.high) == pytest.approx((-1.07, 1.47), abs=0.03)


@pytest.mark.parametrize(
    ("changes", "options", "what"),
    [
        ({"start": None}, {}, "say which with --from"),
        ({"train": "all", "patience": 1}, {}, "patience has no part in a curve, whose networks"),
        ({"train": "all", "validate_every": 1}, {}, "validate_every has no part in a curve"),
        ({"half": True}, {}, "half has no part in a curve"),
        ({"folds": 2, "validation": ()}, {}, "takes no folds"),
        ({"validation": (), "held_out": 0}, {}, "hold out 1 at least"),
        ({}, {"counts": (1, 4)}, "has 3 scans to train on beside 2 held out; the curve asks for 4"),
        ({}, {"counts": ()}, "scans and seeds from 1 on"),
        ({}, {"seeds": 0}, "scans and seeds from 1 on"),
    ],
)
def test_what_no_curve_can_be_made_of_is_refused(data, recipe, tmp_path, changes, options, what):
    with pytest.raises(UserError, match=what):
        learning_curve(data, tmp_path / "out", replace(recipe, **changes), **options)
    assert not (tmp_path / "out").exists()


def test_scans_held_out_that_label_no_class_are_refused_before_any_training(
    data, recipe, tmp_path, trained
):
    rows = "".join(f"{name},{int(name not in HELD)}\n" for name in "abcde")
    (data / "labelled.csv").write_text(f"case,class_1\n{rows}")
    named = replace(recipe, classes=("class_1",), class_values=((1,),))
    with pytest.raises(UserError, match="no scan held out labels a class"):
        learning_curve(data, tmp_path / "out", named, counts=(1,), seeds=1)
    assert not trained
    assert not (tmp_path / "out").exists()
