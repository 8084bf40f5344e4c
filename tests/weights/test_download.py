"""Names, folders and repositories: what each resolves to, and what is said when it does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from mots_pretrained.config import ModelConfig
from mots_pretrained.weights import catalog, download
from mots_pretrained.weights.card_renewal import check_card
from mots_pretrained.weights.checkpoint import load_config, save_folder
from mots_pretrained.weights.download import (
    FILES,
    checksum,
    converted_folder,
    resolve,
    shipped_folder,
)
from mots_pretrained.weights.provenance import TrainingScans, read_training_scans

HUB = Path(__file__).parents[2] / "hub"


@pytest.fixture
def folder(tmp_path):
    return save_folder(tmp_path / "model", ModelConfig(), {"w": torch.zeros(1)})


def test_folders_resolve_to_themselves(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert resolve(folder) == folder
    assert resolve(str(folder)) == folder
    assert resolve("./model").resolve() == folder
    assert resolve("model").resolve() == folder
    monkeypatch.setenv("HOME", str(folder.parent))
    assert resolve("~/model") == folder


def test_every_shipped_model_lies_in_the_hub_as_the_catalogue_says():
    """hub/NAME is exactly what is pushed: whole, valid, and as the catalogue describes it."""
    shipped = [entry for entry in catalog.CATALOG.values() if entry.shipped]
    assert {path.name for path in HUB.iterdir() if path.is_dir()} == {e.name for e in shipped}
    assert {*json.loads(catalog.PINS.read_text("utf-8"))} == {e.name for e in shipped}
    for entry in shipped:
        folder = resolve(entry.name)
        assert folder == HUB / entry.name
        assert {path.name for path in folder.iterdir()} <= {*FILES}
        weights = folder / "model.safetensors"
        assert entry.sha256 == checksum(weights)
        assert entry.megabytes == pytest.approx(weights.stat().st_size / 1e6, abs=0.05)
        config = load_config(folder)
        assert config.architecture == entry.architecture
        assert config.preprocessing == entry.preprocessing
        assert tuple(task.name for task in config.tasks) == entry.tasks
        assert read_training_scans(folder) == TrainingScans()  # phantoms alone are ours to ship
        text = (folder / "README.md").read_text("utf-8")
        check_card(text)
        card = ModelCard(text)
        results = card.data.eval_results or []
        found = {r.metric_name.removeprefix("Dice, "): r.metric_value for r in results}
        assert found == pytest.approx(entry.scores, abs=6e-4)
        assert entry.dataset in text
        assert entry.weights_licence.lower() == card.data.license


def test_the_catalogue_is_consistent():
    for name, entry in catalog.CATALOG.items():
        assert name == entry.name
        assert entry.shipped != bool(entry.missing)


def test_damaged_shipped_weights_are_refused(folder, monkeypatch):
    entry = dataclasses.replace(catalog.CATALOG["transdodnet.phantom"], name="a.b", sha256="0" * 64)
    monkeypatch.setitem(catalog.CATALOG, "a.b", entry)
    monkeypatch.setattr(download, "shipped_folder", lambda name: folder)
    with pytest.raises(ValueError, match="damaged"):
        resolve("a.b")
    sound = dataclasses.replace(entry, sha256=checksum(folder / "model.safetensors"))
    monkeypatch.setitem(catalog.CATALOG, "a.b", sound)
    assert resolve("a.b") == folder
    monkeypatch.setattr(download, "shipped_folder", lambda name: folder / "nowhere")
    with pytest.raises(FileNotFoundError, match="install mots_pretrained again"):
        resolve("a.b")


def test_converted_weights_are_found_by_name(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MOTS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(KeyError, match=r"cache.transdodnet\.mots \(-o\), this name loads it"):
        resolve("transdodnet.mots")
    place = converted_folder("transdodnet.mots")
    place.parent.mkdir(parents=True)
    folder.rename(place)
    assert resolve("transdodnet.mots") == place
    with pytest.raises(KeyError, match="no weights to load"):
        resolve("dodnet.mots")
    monkeypatch.delenv("MOTS_CACHE")
    assert resolve("transdodnet.mots", cache_dir=tmp_path / "cache") == place


def test_a_source_checkout_finds_its_hub():
    assert shipped_folder("transdodnet.phantom") == HUB / "transdodnet.phantom"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("transdodnet.mots", "never linked a TransDoDNet checkpoint.*mots pretrain.*mots convert"),
        ("dodnet.mots_conference", "download dodnet.mots_conference --accept.*mots convert -i"),
        ("transdodnet.phantm", "did you mean transdodnet.phantom"),
        ("resnet50", "known are transdodnet.phantom"),
        ("", "unknown model ''"),
        ("a/b/c", "unknown model"),
        ("a/b@", "unknown model"),
    ],
)
def test_names_without_weights_say_what_to_do(name, told):
    with pytest.raises(KeyError, match=told):
        resolve(name)


def test_paths_that_are_no_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        resolve(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        resolve("./nowhere")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match="is a file; give the folder"):
        resolve(tmp_path / "model.safetensors")


def test_a_revision_is_for_repositories(folder):
    for name in (folder, str(folder)):
        with pytest.raises(ValueError, match="revision is for Hub repositories"):
            resolve(name, revision="main")
    with pytest.raises(ValueError, match="names a revision already"):
        resolve("org/repo@v1", revision="v2")


def test_a_repository_out_of_reach_says_so_and_a_cached_one_loads(folder, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(ConnectionError, match="org/repo was not downloaded before"):
        resolve("org/repo", cache_dir=cache, local_files_only=True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / "models--org--repo"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    folder.rename(repository / "snapshots" / commit)
    assert resolve("org/repo", cache_dir=cache) == repository / "snapshots" / commit
    assert resolve(f"org/repo@{commit}", cache_dir=cache, local_files_only=True).name == commit
    (repository / "snapshots" / commit / "config.json").unlink()
    with pytest.raises(ValueError, match="holds no model of this package"):
        resolve("org/repo", cache_dir=cache, local_files_only=True)


def test_impossible_repository_names_are_told():
    with pytest.raises(ValueError, match="no name of a Hub repository"):
        resolve("org/bad--name")
