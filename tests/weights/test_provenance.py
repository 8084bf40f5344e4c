"""What weights have seen: told of those weights alone, added to, and never lost or made up."""

from __future__ import annotations

import json

import pytest
import torch

from mots_pretrained.config import AddedConfig, ModelConfig
from mots_pretrained.tasks import Task
from mots_pretrained.weights.checkpoint import save_folder
from mots_pretrained.weights.provenance import (
    TrainingScans,
    base_repository,
    find_training_scans,
    public_record,
    read_training_scans,
    recorded_start,
    write_training_scans,
)

ONE, TWO = "0" * 64, "a" * 64
WITH_ADDED = ModelConfig(
    tasks=tuple(Task(name, name, None) for name in ("gallbladder", "aorta")),
    added=(AddedConfig(("aorta",), 8),),
)


@pytest.fixture
def model(tmp_path):
    def make(name):
        return save_folder(tmp_path / name, ModelConfig(), {"w": torch.randn(3)})

    return make


def test_round_trip_and_what_was_seen(model):
    folder = model("m")
    known = write_training_scans(folder, {ONE: "LiTS/liver_1"})
    assert read_training_scans(folder) == known == TrainingScans({ONE: "LiTS/liver_1"})
    assert known.statement == "1 training scan of LiTS."
    assert known.seen({"mine.nii.gz": [TWO, ONE], "yours.nii.gz": [TWO]}) == {
        "mine.nii.gz": "LiTS/liver_1"
    }


def test_scans_of_the_weights_begun_from_are_added(model):
    first, second = model("first"), model("second")
    write_training_scans(first, {ONE: "LiTS/liver_1"})
    write_training_scans(second, {TWO: "own/b"}, earlier=first)
    assert read_training_scans(second) == TrainingScans({ONE: "LiTS/liver_1", TWO: "own/b"})


def test_phantoms_after_unknown_weights_are_not_called_clean(model):
    first, second = model("first"), model("second")
    found = write_training_scans(second, {}, earlier=first)  # which has no list
    assert found == read_training_scans(second) == TrainingScans({}, complete=False)
    assert "not recorded" in found.statement
    write_training_scans(first, {ONE: "a/b"})
    (first / "model.safetensors").write_bytes((second / "model.safetensors").read_bytes())
    assert find_training_scans(first) is None
    assert not write_training_scans(second, {TWO: "c/d"}, earlier=first).complete


def test_a_list_of_other_weights_is_refused(model):
    folder = model("m")
    write_training_scans(folder, {})
    save_folder(folder, ModelConfig(), {"w": torch.zeros(3)})
    with pytest.raises(ValueError, match="not about the weights beside it"):
        read_training_scans(folder)


def test_identifiers_can_be_left_out():
    named = TrainingScans({ONE: "liver/DOE_JANE", TWO: "b"})
    plain = named.without_identifiers()
    assert plain.statement == named.statement == "2 training scans of liver and others."
    assert "DOE" not in plain.to_text("0")
    assert plain.without_identifiers() == plain


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("hepatic_vessel/a", "hepatic_vessel/"),
        ("BCV/img0001", "BCV/"),
        ("gallbladder/gallbladder_1", "gallbladder/"),  # a described collection, and so a task
        ("aorta/a", ""),  # a folder, called like the organ that was added from it
        ("DOE_JANE/a", ""),  # a folder
        ("DOE_JANE/", ""),
        ("a", ""),
    ],
)
def test_collections_are_named_but_no_folders(name, kept):
    plain = TrainingScans({ONE: name}).without_identifiers(WITH_ADDED)
    assert plain.scans == {ONE: kept}
    of = f" of {kept[:-1]}" if kept else ""
    assert plain.statement == f"1 training scan{of}."


@pytest.mark.parametrize(
    "change",
    [
        None,
        [],
        {"format_version": 3},
        {"scans": {"short": "x"}},
        {"scans": {ONE: 3}},
        {"scans": []},
        {"complete": "yes"},
    ],
)
def test_a_damaged_list_is_not_taken_for_an_empty_one(model, change):
    folder = model("m")
    write_training_scans(folder, {})
    path = folder / "training_scans.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | change if isinstance(change, dict) else change))
    with pytest.raises(ValueError, match="damaged or of a newer version"):
        read_training_scans(folder)


def test_a_list_that_names_no_weights_is_refused(model):
    folder = model("m")
    (folder / "training_scans.json").write_text(
        '{"format_version": 1, "statement": "No scans.", "scans": {}}'
    )
    with pytest.raises(ValueError, match="not about the weights beside it"):
        read_training_scans(folder)


def test_without_a_list_nobody_knows(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not known"):
        read_training_scans(tmp_path)


@pytest.mark.parametrize(
    ("record", "base"),
    [
        ({"from": "org/net@v1"}, "org/net"),
        ({"start": {"from": "org/net"}}, "org/net"),
        ({"start": "org/net"}, "org/net"),
        ({"from": "dodnet.mots_conference"}, "MrGiovanni/SuPreM"),
        ({"from": "transdodnet.phantom"}, ""),
        ({"from": "/home/doe/net"}, ""),
        ({"from": "./net"}, ""),
        ({"from": "../net"}, ""),
        ({"from": "a folder"}, ""),
        ({}, ""),
        ({"start": None}, ""),
    ],
)
def test_the_repository_that_a_training_began_from(record, base):
    assert base_repository(record) == base


def test_a_folder_that_training_began_from_is_none_of_the_hub_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "runs" / "pre").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    kept = recorded_start("runs/pre")
    assert kept == "./runs/pre"
    for name in (kept, f"{tmp_path}/runs/pre", "runs"):  # which nobody takes for a repository
        assert recorded_start(name) == name
    assert [recorded_start(name) for name in (None, "org/net@v1", "transdodnet.phantom")] == [
        *(None, "org/net@v1", "transdodnet.phantom"),
    ]
    monkeypatch.chdir("/")  # where another machine has no such folder
    assert base_repository({"from": kept}) == ""
    assert public_record({"from": kept}) == {"from": "weights in a folder"}
    assert public_record({"start": {"from": kept}}) == {"start": {"from": "weights in a folder"}}
