"""Shipping a finished training: one command from its folder to hub/NAME, its card and its pin."""

from __future__ import annotations

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from small_networks import small

from mots_pretrained.config import Preprocessing
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.table import from_lines, read_lines
from mots_pretrained.networks import load
from mots_pretrained.phantom import VERSION
from mots_pretrained.publishing import verify
from mots_pretrained.training import byol
from mots_pretrained.training.pretrain import FIELDS as PRETRAIN_FIELDS
from mots_pretrained.training.pretrain import pretrain
from mots_pretrained.training.recipe import BYOL, Recipe, Run, read_recipe
from mots_pretrained.weights.card_renewal import check_card, read_card
from mots_pretrained.weights.catalog import CATALOG
from mots_pretrained.weights.download import EARLIER_PARTS, FILES, checksum
from mots_pretrained.weights.provenance import TrainingScans, read_training_scans

HUB = Path(__file__).parents[2] / "hub"
CONTRACT = Preprocessing(spacing=(12.0, 12.0, 12.0), patch=(32, 32, 32), window=(32, 32, 32))
ENTRY = replace(CATALOG["transdodnet.phantom"], preprocessing=CONTRACT)
RECIPE = Recipe(network=small(preprocessing=CONTRACT), steps=10, randomise=0.3, seed=4, half=True)


@pytest.mark.parametrize(
    "path", sorted(HUB.glob("*/recipe*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_card_gives_a_command_for_each_recipe_beside_it_that_can_be_read(path):
    card = (path.parent / "README.md").read_text("utf-8")
    is_told = f" --recipe {path.name}" in card
    try:
        recipe = read_recipe(path)
    except UserError:
        assert not is_told
        assert f"Commands of today refuse `{path.name}`" in card
        return
    assert is_told
    recipe.needs_only(byol.FIELDS if recipe.method == BYOL else PRETRAIN_FIELDS, "this")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    pretrain(folder, RECIPE, run=Run(workers=0))
    return folder


@pytest.fixture
def shop(monkeypatch):
    monkeypatch.syspath_prepend(str(HUB))
    return importlib.import_module("ship")


@pytest.fixture
def pins(tmp_path) -> Path:
    path = tmp_path / "shipped.json"
    path.write_text(json.dumps({"other": {"sha256": "0"}}))
    return path


def means_of(path: Path) -> dict[str, float]:
    """Return each category's mean Dice of the rows of the model that was shipped."""
    results = from_lines(read_lines(path, table="models", row="transdodnet.phantom"))
    found = {name: results.mean(name) for name in results.categories}
    return {name: value for name, value in found.items() if value is not None}


def test_a_training_is_shipped_by_one_command(shop, run, pins, tmp_path):
    few = shop.Phantoms(validation=2, volumes=2, test=2, test_seeds=(0, 1))
    folder = shop.ship(
        run,
        ENTRY,
        few,
        hub=tmp_path / "hub",
        pins=pins,
        scored=tmp_path / "models.csv",
        notes="Alone.",
    )
    assert folder == tmp_path / "hub" / "transdodnet.phantom"
    assert {path.name for path in folder.iterdir()} == {*FILES[:8]}
    assert verify(folder).sound
    assert read_recipe(folder / "recipe.yaml") == RECIPE
    assert read_training_scans(folder) == TrainingScans()
    assert "identity" not in json.loads((folder / "training.json").read_text())
    config = load(folder).config
    assert config.seen_volumes
    assert replace(config, thresholds={}, seen_volumes=()) == RECIPE.config
    text = (folder / "README.md").read_text()
    check_card(text)
    card = read_card(text)
    assert card.summary == f"{ENTRY.summary}."
    assert f"generator, version {VERSION}, and no patient's data.\n10 steps of " in text
    assert f" {RECIPE.batch} patches, seed 4, on cpu " in text
    assert "mots pretrain -o DIR --recipe recipe.yaml\n" in text
    assert "\nAlone.\n" in text
    assert card.dataset == "4 unseen phantoms, 2 of each of the seeds 0, 1"
    assert card.license == "apache-2.0"
    known = json.loads(pins.read_text())
    assert known["other"] == {"sha256": "0"}
    pin = known["transdodnet.phantom"]
    assert pin["sha256"] == checksum(folder / "model.safetensors")
    assert pin["dataset"] == card.dataset
    assert means_of(tmp_path / "models.csv") == pytest.approx(card.scores, abs=6e-5)
    assert pin["scores"] == pytest.approx(card.scores, abs=6e-4)
    assert {"liver", "liver_tumour"} <= {*card.scores, *card.absent}


def test_parts_are_shipped_with_the_recipes_and_logs_of_all(shop, run, pins, tmp_path):
    """The first was stopped, and a later version has forgotten one of its settings."""
    stopped = shutil.copytree(run, tmp_path / "stopped")
    record = json.loads((stopped / "training.json").read_text())
    settings = {**record["recipe"], "steps": 50, "old_setting": 3}
    identity = {**settings, "generator": VERSION - 1, "cases": "0"}
    (stopped / "training.json").write_text(json.dumps({"complete": False, "identity": identity}))
    told = {"training": json.dumps({"step": 12})}
    save_file({"weight": torch.zeros(1)}, stopped / "checkpoint.safetensors", told)
    last = replace(RECIPE, steps=20, start=str(run), network=None)
    pretrain(tmp_path / "last", last, run=Run(workers=0))
    none = shop.Phantoms(validation=0, volumes=0, test=0)
    given = {"hub": tmp_path / "hub", "pins": pins, "scored": tmp_path / "none.csv"}
    folder = shop.ship(tmp_path / "last", ENTRY, none, after=[stopped, run], **given)
    unused = {
        f"{name}_{part}{end}"
        for part in range(3, EARLIER_PARTS + 1)
        for name, end in (("recipe", ".yaml"), ("log", ".csv"))
    }
    assert {path.name for path in folder.iterdir()} == {*FILES} - unused
    first = yaml.safe_load((folder / "recipe_1.yaml").read_text())
    assert (first["steps"], first["old_setting"]) == (50, 3)
    assert "generator" not in first
    assert read_recipe(folder / "recipe_2.yaml") == RECIPE
    assert read_recipe(folder / "recipe.yaml") == replace(last, start=None)
    assert (folder / "log_2.csv").read_text() == (run / "log.csv").read_text()
    assert not (tmp_path / "none.csv").exists()
    card = (folder / "README.md").read_text()
    for line in (
        "mots pretrain -o PART_2 --recipe recipe_2.yaml",
        "mots pretrain -o DIR --recipe recipe.yaml --set start=PART_2",
        f"Phantoms of this package's generator, versions {VERSION - 1} and {VERSION}, and no "
        "patient's data.",
    ):
        assert line in card.splitlines()
    assert "Commands of today refuse `recipe_1.yaml`, a record." in card
    assert "--recipe recipe_1.yaml" not in card
    assert "12 of 50 steps of " in card
    assert "; then 10 steps of " in card
    assert (
        f"; then 20 steps of {RECIPE.batch} patches, seed 4, generator {VERSION}, on cpu " in card
    )
    assert not any(str(tmp_path) in path.read_text("latin-1") for path in folder.iterdir())
    with pytest.raises(UserError, match="--after says where"):
        shop.ship(tmp_path / "last", ENTRY, none, **given)
    with pytest.raises(UserError, match=f"at most {EARLIER_PARTS} earlier parts"):
        shop.ship(tmp_path / "last", ENTRY, none, after=[run] * (EARLIER_PARTS + 1), **given)
    other = shutil.copytree(run, tmp_path / "other")
    (other / "training.json").write_text(json.dumps({**record, "data": "7 scans"}))
    with pytest.raises(UserError, match="has seen 7 scans; what ships has seen phantoms alone"):
        shop.ship(tmp_path / "last", ENTRY, none, after=[other], **given)
    (stopped / "config.json").unlink()
    tal = {"complete": False, "identity": {**identity, "method": "tal"}}
    (stopped / "training.json").write_text(json.dumps(tal))
    with pytest.raises(UserError, match="has the architecture tal"):
        shop.ship(tmp_path / "last", ENTRY, none, after=[stopped], **given)


def test_what_is_not_finished_or_not_the_entry_s_is_refused(shop, run, pins, tmp_path):
    def refused(folder=run, entry=ENTRY):
        with pytest.raises(UserError) as error:
            shop.ship(folder, entry, shop.Phantoms(), hub=tmp_path / "hub", pins=pins)
        return str(error.value)

    assert "has the architecture transdodnet, " in refused(entry=CATALOG["dodnet.phantom"])
    assert "has the preprocessing " in refused(entry=CATALOG["transdodnet.phantom"])
    few = replace(ENTRY, tasks=("hepatic_vessel",))
    assert "is to have ('hepatic_vessel',)" in refused(entry=few)
    other = tmp_path / "unfinished"
    load(run).save_pretrained(other)
    record = json.loads((run / "training.json").read_text())
    (other / "training.json").write_text(json.dumps({**record, "complete": False}))
    assert "holds no complete training" in refused(other)
    (other / "training.json").write_text(json.dumps({**record, "data": "7 scans"}))
    assert "has seen 7 scans; what ships has seen phantoms alone" in refused(other)
    prepared = {**record, "identity": {**record["identity"], "generator": None}}
    del prepared["data"]  # as a training on prepared cases leaves it when it is stopped
    prepared.pop("generator", None)
    (other / "training.json").write_text(json.dumps(prepared))
    assert "has seen other data; what ships has seen phantoms alone" in refused(other)


def test_until_all_is_done_nothing_is_changed(shop, run, pins, tmp_path, monkeypatch):
    old = tmp_path / "hub" / "transdodnet.phantom"
    old.mkdir(parents=True)
    (old / "config.json").write_text("old")
    before = pins.read_text()

    def failing(*words, **options):
        raise RuntimeError("no phantoms today")

    monkeypatch.setattr(shop, "score", failing)
    none = shop.Phantoms(validation=0, volumes=0, test=1)
    with pytest.raises(RuntimeError, match="no phantoms today"):
        shop.ship(run, ENTRY, none, hub=tmp_path / "hub", pins=pins)
    assert [path.name for path in old.parent.iterdir()] == ["transdodnet.phantom"]
    assert (old / "config.json").read_text() == "old"
    assert pins.read_text() == before
