"""A folder made fit to be published, and whether it computes what it should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_networks import small

from mots_pretrained.adaptation.ensemble import Ensemble
from mots_pretrained.cli import DONE, main
from mots_pretrained.errors import UserError
from mots_pretrained.networks import build, load
from mots_pretrained.publishing import make_publishable, verify
from mots_pretrained.weights.card import Description
from mots_pretrained.weights.card_renewal import read_card
from mots_pretrained.weights.catalog import CATALOG
from mots_pretrained.weights.checkpoint import load_folder, save_folder
from mots_pretrained.weights.fingerprint import weights_sha256
from mots_pretrained.weights.provenance import read_training_scans

HUB = Path(__file__).parents[1] / "hub"


@pytest.fixture
def run(tmp_path) -> Path:
    """A training's folder with more in it than is published."""
    torch.manual_seed(0)
    network = build(small("segmenter"))
    extra = {"training.json": '{"train": ["DOE"], "steps_done": 3}', "cases.json": '["DOE"]'}
    extra["checkpoint.pt"] = "large"
    return save_folder(tmp_path / "run", network.config, network.state_dict(), extra=extra)


@pytest.mark.parametrize("name", [name for name, e in CATALOG.items() if e.shipped])
def test_the_shipped_weights_compute_what_their_fingerprint_says(name):
    verified = verify(HUB / name)
    assert verified.sound
    assert verified.deviations["float32"] <= 1e-3


def test_what_is_published_is_whole_and_names_no_case(run, tmp_path):
    scans = {"1" * 64: "LiTS/liver_1"}
    out = make_publishable(run, tmp_path / "net", said=Description(license="mit"), scans=scans)
    assert {path.name for path in out.iterdir()} == {
        *("README.md", "config.json", "fingerprint.json", "model.safetensors"),
        *("training.json", "training_scans.json"),
    }
    assert json.loads((out / "training.json").read_text()) == {"train": 1, "steps_done": 3}
    assert read_training_scans(out).scans == {"1" * 64: "LiTS/"}
    assert read_card((out / "README.md").read_text()).license == "mit"
    for (name, one), other in zip(load_folder(run)[1].items(), load_folder(out)[1].values()):
        assert torch.equal(one, other), name
    assert verify(out).sound


def test_names_of_cases_are_kept_where_that_is_asked_for(run, tmp_path):
    out = make_publishable(run, tmp_path / "net", with_case_names=True)
    assert (out / "cases.json").read_text() == '["DOE"]'
    assert make_publishable(run, run, with_case_names=True) == run
    with pytest.raises(UserError, match="would lose its names of cases; give another folder"):
        make_publishable(run, run)


def test_half_precision_has_the_fingerprint_of_what_loads(run, tmp_path):
    out = make_publishable(run, tmp_path / "half", half=True)
    for name, value in load_folder(run)[1].items():
        assert torch.equal(load_folder(out)[1][name], value.half().float())
    assert verify(out).weights_sound
    assert (out / "model.safetensors").stat().st_size < 0.6 * (
        run / "model.safetensors"
    ).stat().st_size


def test_an_ensemble_has_a_fingerprint_a_fold_and_one_card(tmp_path):
    Ensemble([build(small("segmenter")) for _ in range(2)]).save_pretrained(tmp_path / "folds")
    out = make_publishable(tmp_path / "folds", tmp_path / "out", said=Description(name="mine"))
    assert all(verify(out / name).sound for name in ("fold_0", "fold_1"))
    whole, first = verify(out), verify(out / "fold_0")
    assert whole.sound
    assert whole.tolerances == first.tolerances
    assert whole.deviations["float32"] >= first.deviations["float32"]
    assert read_card((out / "README.md").read_text()).name == "mine"
    assert len(load(out).members) == 2


def test_the_card_of_a_fold_loads_what_it_is_about(tmp_path, monkeypatch):
    """It loaded "out, fold_0", which nothing is called."""
    Ensemble([build(small("segmenter")) for _ in range(2)]).save_pretrained(tmp_path / "folds")
    monkeypatch.chdir(tmp_path)
    assert main(["push", "folds", "-o", "first"]) == DONE
    assert main(["push", "first", "-o", "out", "--summary", "Folds."]) == DONE
    for fold in ("fold_0", "fold_1"):
        card = (tmp_path / "out" / fold / "README.md").read_text()
        assert f"\n# out, {fold}\n" in card
        found: dict = {}
        exec(card.partition("```python\n")[2].partition("```")[0], found)
        expected = weights_sha256(load_folder(tmp_path / "folds" / fold)[1])
        assert weights_sha256(found["network"].state_dict()) == expected


def test_the_card_of_a_fold_in_a_repository_loads_that(tmp_path):
    Ensemble([build(small("segmenter")) for _ in range(2)]).save_pretrained(tmp_path / "folds")
    out = make_publishable(tmp_path / "folds", tmp_path / "a", said=Description(name="org/a"))
    assert 'mots.load("org/a")' in (out / "fold_1" / "README.md").read_text()
    again = make_publishable(out, tmp_path / "b", said=Description(name="org/b"))
    card = (again / "fold_1" / "README.md").read_text()
    assert "\n# org/b, fold_1\n" in card
    assert 'mots.load("org/b")' in card
    mine = card.replace("# org/b, fold_1", "# My own")
    (again / "fold_1" / "README.md").write_text(mine)
    said = Description(name="org/c", summary="New.")
    third = make_publishable(again, tmp_path / "c", said=said)
    assert "\n# My own\n" in (third / "fold_1" / "README.md").read_text()


def test_one_fold_that_is_not_as_it_was_stored_is_told(tmp_path):
    Ensemble([build(small("segmenter")) for _ in range(2)]).save_pretrained(tmp_path / "folds")
    out = make_publishable(tmp_path / "folds", tmp_path / "out")
    config, state = load_folder(out / "fold_1")
    save_folder(out / "fold_1", config, {name: value + 1 for name, value in state.items()})
    assert not verify(out).weights_sound


def test_other_weights_and_precisions_are_told(run, tmp_path):
    out = make_publishable(run, tmp_path / "net")
    config, state = load_folder(out)
    printed = (out / "fingerprint.json").read_text()
    state["head.bias"] = state["head.bias"] + 1
    save_folder(out, config, state, extra={"fingerprint.json": printed})
    found = verify(out)
    assert not found.weights_sound
    assert not found.sound
    assert found.deviations["float32"] > found.tolerances["float32"]
    with pytest.raises(UserError, match=r"no fingerprint in precision 'f8'; stored are float32"):
        verify(out, precisions=("f8",))
