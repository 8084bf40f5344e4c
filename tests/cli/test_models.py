from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from small_networks import small

from mots_pretrained.adaptation.ensemble import Ensemble
from mots_pretrained.cli import DONE, WRONG_INPUT, main
from mots_pretrained.config import ModelConfig
from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.reading import read_channels, read_volume
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.networks import build, load
from mots_pretrained.weights.checkpoint import load_folder, save_folder
from mots_pretrained.weights.provenance import write_training_scans

NAME = "transdodnet.phantom"


@pytest.fixture
def told(capsys):
    def run(*words: str, status: int = DONE):
        assert main(list(words)) == status
        out, err = capsys.readouterr()
        return (json.loads(out) if "--json" in words else out) if status != WRONG_INPUT else err

    return run


def test_listing_filters_and_showing(told, monkeypatch, tmp_path):
    monkeypatch.setenv("MOTS_CACHE", str(tmp_path))
    names = [entry["name"] for entry in told("models", "--json")["models"]]
    assert names[0] == NAME
    assert "dodnet.mots_conference" in names
    some = told("models", "--architecture", "dodnet", "--task", "liver", "--json")["models"]
    assert [entry["name"] for entry in some] == ["dodnet.phantom", "dodnet.mots"]
    assert told("models", "--available", "--task", "heart", "--json") == {"models": []}
    entry = told("models", NAME, "--json")
    assert entry["preprocessing"]["spacing"] == [4, 3, 3]
    assert entry["scores"]["liver"] > 0.9
    shown = told("models", NAME)
    assert entry["sha256"] in shown
    assert "Apache-2.0" in shown
    missing = told("models", "dodnet.mots_conference")
    assert "--accept-licence" in missing
    for said in ("MrGiovanni/SuPreM", "69,342,611 bytes", "Apache-2.0", "CC BY-NC-ND", "GPL-3.0"):
        assert said in missing
    assert told("models", "dodnet.mots", "--json")["folder"] is None


def test_a_download_is_a_folder_that_loads(told, tmp_path):
    folder = str(tmp_path / "carried")
    assert told("models", "download", NAME, "-o", folder, "--json")["folder"] == folder
    assert told("models", folder, "--json")["config"]["architecture"] == "transdodnet"
    assert told("verify", folder, "--json")["sound"]
    (verified,) = told("models", "verify", NAME, "--json")["verified"]
    assert verified["sha256"] == verified["expected"]


def test_a_download_over_another_model_leaves_no_mixture(told, tmp_path):
    """An ensemble beside a single network was never loaded; files of the old one stayed."""
    single, folds, shared = tmp_path / "single", tmp_path / "folds", tmp_path / "shared"
    network = build(small("segmenter"))
    extra = dict.fromkeys(("fingerprint.json", "training.json"), "{}")
    save_folder(single, network.config, network.state_dict(), extra={**extra, "mine.json": "{}"})
    Ensemble([build(small("segmenter")) for _ in range(3)]).save_pretrained(folds)
    Ensemble([build(small("segmenter")) for _ in range(2)]).save_pretrained(shared)
    for given, target in ((folds, single), (single, folds), (shared, folds)):
        err = told("models", "download", str(given), "-o", str(target), status=WRONG_INPUT)
        assert "holds another network" in err
    plain = save_folder(tmp_path / "plain", network.config, network.state_dict())
    told("models", "download", str(plain), "-o", str(single))
    assert {path.name for path in single.iterdir()} == {
        *("config.json", "model.safetensors", "README.md", "mine.json"),
    }
    own = tmp_path / "project"
    own.mkdir()
    (own / "recipe.yaml").write_text("mine: 1")  # of no model: it stays
    told("models", "download", str(plain), "-o", str(own))
    assert (own / "recipe.yaml").read_text() == "mine: 1"
    (own / "cases.json").write_text("{}")
    err = told("models", "download", str(plain), "-o", str(own), status=WRONG_INPUT)
    assert "holds a training (cases.json); choose another folder" in err
    told("models", "download", str(folds), "-o", str(tmp_path / "new"))
    told("models", "download", str(folds), "-o", str(tmp_path / "new"))
    assert len(load(tmp_path / "new").members) == 3
    told("models", "download", str(single), "-o", str(single))  # onto itself
    assert load(single).config == network.config


def test_which_scans_a_model_has_seen(told, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        volume = Volume.with_spacing(rng.integers(-99, 99, (4, 5, 6)).astype("int16"), (2, 1, 1))
        write_like(scans / f"{name}.nii.gz", volume.array, volume, dtype="int16")
    (scans / "c.NII.GZ").write_bytes(b"no scan")
    (scans / "._a.nii.gz").write_bytes(b"what macOS leaves beside a file")
    assert told("models", "overlap", NAME, str(scans), "--json") == {
        "name": NAME,
        "statement": "Procedural phantoms only; no scan of anybody was seen.",
        "complete": True,
        "scans": 3,
        "seen": {},
        "unread": {},
        "left_out": [],
    }
    model = tmp_path / "model"
    told("models", "download", NAME, "-o", str(model))
    hashed = content_hash(read_volume(scans / "b.nii.gz"))
    write_training_scans(model, {hashed: "LiTS/liver_7"})
    found = told("models", "overlap", str(model), str(scans), "--json")
    assert found["seen"] == {str(scans / "b.nii.gz"): "LiTS/liver_7"}
    assert [*found["unread"]] == [str(scans / "c.NII.GZ")]
    assert "1 of 3 scans were seen" in told("models", "overlap", str(model), str(scans))
    folds = tmp_path / "folds"
    for number, seen in enumerate((scans / "a.nii.gz", scans / "b.nii.gz")):
        told("models", "download", NAME, "-o", str(folds / f"fold_{number}"))
        hashed = content_hash(read_volume(seen))
        write_training_scans(folds / f"fold_{number}", {hashed: f"LiTS/{number}"})
    found = told("models", "overlap", str(folds), str(scans), "--json")
    assert [*found["seen"].values()] == ["LiTS/0", "LiTS/1"]
    # Trained further on phantoms, from weights that do not say what they have seen.
    other = save_folder(tmp_path / "other", ModelConfig(), {"w": torch.zeros(1)})
    write_training_scans(model, {}, earlier=other)
    assert "of the others nobody knows" in told("models", "overlap", str(model), str(scans))
    # Fault 3: fine-tuned into a downloaded model's folder, the old list called them not seen.
    config, state = load_folder(model)
    save_folder(model, config, {name: value + 1 for name, value in state.items()})
    said = told("models", "overlap", str(model), str(scans), status=WRONG_INPUT)
    assert "is not about the weights beside it" in said


def test_scans_of_several_channels_and_other_formats_are_looked_at(told, tmp_path):
    """Each file was hashed alone, and only NIfTI files: scans that were seen were called unseen."""
    scans, rng = tmp_path / "scans", np.random.default_rng(0)
    scans.mkdir()
    for name in ("a_0000", "a_0001", "b"):
        volume = Volume.with_spacing(rng.integers(-99, 99, (4, 5, 6)).astype("int16"), (2, 1, 1))
        write_like(scans / f"{name}.nii.gz", volume.array, volume, dtype="int16")
    sitk.WriteImage(sitk.ReadImage(scans / "b.nii.gz"), scans / "b.nrrd")
    both = [scans / "a_0000.nii.gz", scans / "a_0001.nii.gz"]
    seen = {
        content_hash(read_channels(both)): "own/a",
        content_hash(read_volume(scans / "b.nrrd")): "",
    }
    (scans / "b.nii.gz").unlink()
    (scans / "notes.txt").touch()
    config = ModelConfig()
    contract = dataclasses.replace(config.preprocessing, channels=("t1", "t2"), intensity="zscore")
    encoder = dataclasses.replace(config.encoder, in_channels=2)
    config = dataclasses.replace(config, encoder=encoder, preprocessing=contract)
    model = save_folder(tmp_path / "model", config, {"w": torch.zeros(1)})
    write_training_scans(model, seen)
    found = told("models", "overlap", str(model), str(scans))
    assert f"{both[0]}: seen in training, as own/a\n{scans / 'b.nrrd'}: seen in training\n" in found
    assert (
        f"1 file not looked at, as label maps by their names or of other kinds, such as {scans}"
        in found
    )
    assert "2 of 2 scans were seen in training" in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["models", "overlap", NAME], "takes a name and a folder of scans, got 1"),
        (["models", "overlap", NAME, "nowhere"], "no such folder"),
        (["models", "downlaod", NAME], "an action: download"),
        (["models", "transdodnet.phantm"], "did you mean"),
        (["models", NAME, "-o", "x"], "-o is for"),
        (["models", "verify", "--accept-licence"], "--accept-licence is for mots models download"),
        (["models", "download", NAME, "--accept-licence"], "are for weights of others"),
        (["models", NAME, "--task", "liver"], "--task chooses among models that are listed"),
        (["models", "search", "--available"], "leave out 'search'"),
    ],
)
def test_wrong_words_are_told_in_one_line(told, words, said):
    err = told(*words, status=WRONG_INPUT)
    assert said in err
    assert err.count("\n") == 1
