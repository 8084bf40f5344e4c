"""Stored networks: round trips bit for bit, and one plain error for whatever a file may hold."""

from __future__ import annotations

import json
import os
import stat

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mots_pretrained.config import EncoderConfig, ModelConfig
from mots_pretrained.weights.checkpoint import load_folder, save_folder

CONFIG = ModelConfig(encoder=EncoderConfig(depth=10))


@pytest.fixture
def state():
    return {"a.weight": torch.randn(3, 4, 5), "b.bias": torch.randn(7), "c": torch.tensor(0.25)}


@pytest.fixture
def folder(tmp_path, state):
    return save_folder(tmp_path / "model", CONFIG, state)


def test_round_trip_is_bit_equal(folder, state):
    config, loaded = load_folder(folder)
    assert config == CONFIG
    assert list(loaded) == sorted(loaded)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_half_is_half_the_size_and_loads_as_float32(tmp_path):
    state = {"w": torch.randn(100_000)}
    sizes = [
        (save_folder(tmp_path / str(d), CONFIG, state, dtype=d) / "model.safetensors").stat()
        for d in (torch.float32, torch.float16)
    ]
    assert sizes[1].st_size / sizes[0].st_size == pytest.approx(0.5, abs=0.01)
    _, loaded = load_folder(tmp_path / "torch.float16")
    assert loaded["w"].dtype == torch.float32
    assert torch.equal(loaded["w"], state["w"].half().float())


def test_views_and_shared_storage_are_stored_by_value(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    state = {"row": whole[1], "column": whole[:, 2], "tied": whole, "tied_too": whole}
    _, loaded = load_folder(save_folder(tmp_path / "m", CONFIG, state))
    assert loaded["row"].tolist() == [4, 5, 6, 7]
    assert loaded["column"].tolist() == [2, 6, 10]
    assert torch.equal(loaded["tied"], loaded["tied_too"])


def test_saving_again_replaces_and_keeps_other_files(folder, state):
    (folder / "notes.txt").write_text("mine")
    _, before = load_folder(folder)
    save_folder(folder, CONFIG, {"a.weight": torch.zeros(2)}, extra={"curve.csv": "step,loss\n"})
    _, after = load_folder(folder)
    assert list(after) == ["a.weight"]
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "curve.csv").read_text() == "step,loss\n"
    # What was loaded before is mapped from the old file, which lives on until it is let go.
    assert torch.equal(before["a.weight"], state["a.weight"])


def test_nothing_half_written_stays(tmp_path):
    with pytest.raises(ValueError, match="int64"):
        save_folder(tmp_path / "m", CONFIG, {"steps": torch.tensor(3)})
    with pytest.raises(ValueError, match="too large for"):
        save_folder(tmp_path / "m", CONFIG, {"w": torch.tensor([1e6])}, dtype=torch.float16)
    with pytest.raises(ValueError, match="plain names"):
        save_folder(tmp_path / "m", CONFIG, {}, extra={"../outside.txt": ""})
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file; give a folder"):
        save_folder(tmp_path / "file", CONFIG, {"w": torch.zeros(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_saved(tmp_path, value):
    with pytest.raises(ValueError, match=r"w holds values that are no numbers.*lower the rate"):
        save_folder(tmp_path / "m", CONFIG, {"w": torch.tensor([1.0, value])})
    assert list(tmp_path.iterdir()) == []


def test_the_umask_of_the_process_is_never_set(tmp_path, monkeypatch):
    """Fault 29: another thread's files took whatever mask stood there in between."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("umask was set"))
    for _ in range(2):  # a new folder, and one that is there
        save_folder(tmp_path / "m", CONFIG, {"w": torch.zeros(1)})


def test_files_are_readable_by_others_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        folder = save_folder(tmp_path / "m", CONFIG, {"w": torch.zeros(1)})
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}


def test_missing_files_are_named(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_folder(tmp_path / "nowhere")
    (folder / "model.safetensors").rename(folder / "model.pth")
    with pytest.raises(FileNotFoundError, match=r"no model.safetensors.*model.pth.*mots convert"):
        load_folder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no config.json"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
        (b" " * (1 << 20) + b"{}", "larger than 1 MB"),
        (json.dumps({"format_version": 99}).encode(), "upgrade"),
        (json.dumps({"format_version": 1, "colour": 3}).encode(), "colour"),
    ],
)
def test_a_config_that_is_none_is_refused(folder, text, told):
    (folder / "config.json").write_bytes(text)
    with pytest.raises(ValueError, match=told):
        load_folder(folder)


def test_weights_that_are_no_floats_are_refused(folder):
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2, dtype=torch.int32)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"w is torch.int32; only floats"):
        load_folder(folder)


@pytest.fixture
def sound(folder):
    return (folder / "model.safetensors").read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_weights_never_fail_from_inside(folder, sound, data):
    damaged = bytearray(sound[: data.draw(st.integers(0, len(sound)))])
    for _ in range(data.draw(st.integers(0, 4)) if damaged else 0):
        # Most of the interest lies in the header.
        place = data.draw(st.integers(0, min(len(damaged), 200) - 1))
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "model.safetensors").write_bytes(damaged)
    try:
        load_folder(folder)
    except ValueError as error:
        told = str(error)
    else:
        told = "model.safetensors"  # a flipped bit may leave a sound file of other values
    assert "model.safetensors" in told
