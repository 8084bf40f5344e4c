"""What of a folder is sent to a repository; tests/weights/test_hub.py sends it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_networks import small

from mots_pretrained.adaptation.ensemble import Ensemble
from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.networks import build
from mots_pretrained.weights import upload
from mots_pretrained.weights.addition import Addition
from mots_pretrained.weights.checkpoint import load_config, save_folder
from mots_pretrained.weights.provenance import write_training_scans


@pytest.fixture
def sent(monkeypatch) -> list:
    """What would be committed: file contents by name, repository, message, and the rest."""
    commits = []

    def commit(contents, repository, message, token, private, revision, **options):
        read = {n: c if isinstance(c, bytes) else c.read_bytes() for n, c in contents.items()}
        commits.append((read, repository, message, token, private, revision))
        return "address"

    monkeypatch.setattr(upload, "_commit", commit)
    return commits


@pytest.fixture
def folder(tmp_path) -> Path:
    extra = {"training.json": '{"train": ["DOE"]}', "cases.json": '["DOE"]', "checkpoint.pt": "x"}
    path = save_folder(tmp_path / "net", ModelConfig(), {"w": torch.zeros(1)}, extra=extra)
    write_training_scans(path, {"1" * 64: "own/DOE"})
    return path


def test_only_a_models_files_are_sent_and_no_name_of_a_case(folder, sent):
    assert upload.upload_folder(folder, "org/name", token="t", revision="next") == "address"
    ((contents, *rest),) = sent
    assert rest == [
        *("org/name", "Upload a transdodnet with mots_pretrained", "t", False, "next"),
    ]
    assert {*contents} == {
        *("README.md", "config.json", "model.safetensors", "training.json", "training_scans.json"),
    }
    assert not any(b"DOE" in content for content in contents.values())
    assert json.loads(contents["training.json"]) == {"train": 1}
    assert contents["model.safetensors"] == (folder / "model.safetensors").read_bytes()


def test_names_of_cases_are_sent_where_that_is_asked_for(folder, sent):
    upload.upload_folder(folder, "org/name", with_case_names=True)
    contents = sent[0][0]
    assert contents["cases.json"] == b'["DOE"]'
    assert contents["training.json"] == (folder / "training.json").read_bytes()


def test_an_ensemble_is_sent_with_a_folder_a_fold_and_a_card_of_all(tmp_path, sent):
    Ensemble([build(small("segmenter")) for _ in range(2)]).save_pretrained(tmp_path / "e")
    upload.upload_folder(tmp_path / "e", "org/name")
    contents, _, message, *_ = sent[0]
    assert message == "Upload an ensemble of 2 with mots_pretrained"
    files = ("README.md", "config.json", "model.safetensors")
    assert {*contents} == {"README.md"} | {f"fold_{k}/{n}" for k in (0, 1) for n in files}


def test_a_network_is_sent_as_it_would_be_saved(tmp_path, sent):
    net = build(small("segmenter"))
    assert net.push_to_hub("org/name", half=True, private=True) == "address"
    contents, *_, private, _ = sent[0]
    expected = net.save_pretrained(tmp_path / "name", half=True)
    saved = {path.name: path.read_bytes() for path in expected.iterdir()}
    card = saved["README.md"]
    assert card.count(b'mots.load("name")') == 1
    card = card.replace(b'mots.load("name")', b'mots.load("org/name")')
    saved["README.md"] = card.replace(b"\n# name\n", b"\n# org/name\n")
    assert contents == saved
    assert load_config(expected) == net.config
    assert private


def test_an_ensemble_is_pushed_under_the_card_that_is_given(sent):
    Ensemble([build(small("segmenter"))]).push_to_hub("org/name", card="# Mine")
    assert sent[0][0]["README.md"] == sent[0][0]["fold_0/README.md"] == b"# Mine"


def test_organs_are_sent_with_their_card_once_they_are_read(tmp_path, sent):
    path = Addition("organs", "a" * 64, {}, {"w": torch.zeros(1)}).save(tmp_path / "aorta")
    upload.upload_organs(path, "org/aorta", card="# Aorta")
    assert sent[0][0] == {"organs.safetensors": path.read_bytes(), "README.md": b"# Aorta"}
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="no readable safetensors file"):
        upload.upload_organs(path, "org/aorta", card="")
    assert len(sent) == 1
