"""New scores of shipped models: in the card, its pin and the CSV, and nothing else changes."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import from_lines, read_lines
from mots_pretrained.weights.card_renewal import read_card
from mots_pretrained.weights.catalog import PINS

HUB = Path(__file__).parents[2] / "hub"
NAME = "dodnet.phantom"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(HUB))
    return importlib.import_module("scores")


def results(seeds: tuple[int, ...] = (0, 1)) -> Results:
    """Scores of a phantom of the liver a seed, for its own categories and for the spleen."""
    found = Results(("liver", "liver_tumour", "spleen"), ("dice", "hd95"))
    for seed in seeds:
        right = {"dice": 0.5 + seed / 10, "hd95": 2.0}
        none = {"dice": None, "hd95": None, "false_ml": 1.5 * seed}
        scores = {"liver": right, "liver_tumour": none, "spleen": right}
        found.add(f"liver {seed}-0", scores, seed=seed, group="liver", seconds=1.0)
    return found


def test_the_models_that_make_labels_are_scored(script):
    assert script.MODELS == (
        "transdodnet.phantom",
        "dodnet.phantom",
        "transdodnet.phantom_singlept",
    )
    steps = [script.steps_of(HUB / name) for name in script.MODELS]
    assert steps == [26530, 2000, 1500]  # the first of five parts


def test_a_card_gets_new_scores_and_keeps_the_rest(script, tmp_path):
    hub, pins, scored = tmp_path / "hub", tmp_path / "pins.json", tmp_path / "models.csv"
    shutil.copytree(HUB / NAME, hub / NAME)
    shutil.copy(PINS, pins)
    before = read_card((hub / NAME / "README.md").read_text("utf-8"))
    script.publish(NAME, results(), "2 phantoms", hub=hub, pins=pins, scored=scored)
    after = read_card((hub / NAME / "README.md").read_text("utf-8"))
    assert after.scores == pytest.approx({"liver": 0.55})  # a collection of livers labels no spleen
    assert after.absent == {"liver_tumour": (0.5, 0.75)}
    assert (after.training, after.summary) == (before.training, before.summary)
    pinned, once = (json.loads(path.read_text("utf-8"))[NAME] for path in (pins, PINS))
    assert pinned == {**once, "dataset": "2 phantoms", "scores": {"liver": 0.55}}
    for one in (HUB / NAME).iterdir():
        if one.name != "README.md":
            assert (hub / NAME / one.name).read_bytes() == one.read_bytes(), one.name


def test_every_value_of_every_case_is_written(script, tmp_path):
    path = tmp_path / "models.csv"
    script.keep(path, NAME, results(), dataset="2 phantoms", steps=9)
    own = from_lines(read_lines(path, table="models", row=NAME))
    assert own.categories == ("liver", "liver_tumour")
    assert own.mean("liver") == pytest.approx(0.55)
    assert own.false_volume("liver_tumour") == 0.75
    assert from_lines(read_lines(path, table="models elsewhere")).categories == ("spleen",)
    script.keep(path, "transdodnet.phantom", results((2,)), dataset="1 phantom", steps=9)
    script.keep(path, NAME, results((3,)), dataset="1 phantom", steps=9)
    lines = read_lines(path)
    assert {(x["row"], x["seed"]) for x in lines} == {("transdodnet.phantom", "2"), (NAME, "3")}


def test_a_model_that_does_not_ship_is_told(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scores.py", "dodnet.mots"])
    with pytest.raises(SystemExit):
        script.main()
    assert "no shipped model is called dodnet.mots; there are" in capsys.readouterr().err
