"""Whatever a folder from elsewhere holds: a network, or one plain error, soon."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import small

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.cli import WRONG_INPUT, main
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.networks import build, load
from mots_pretrained.stages import peak_memory_mb
from mots_pretrained.weights.checkpoint import save_folder

OURS = (ValueError, KeyError, FileNotFoundError)
SECONDS = 20.0  # a load takes a hundredth of this; a hang takes forever

_fuzzed = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    network = build(small())
    return save_folder(tmp_path_factory.mktemp("m") / "net", network.config, network.state_dict())


@pytest.fixture(scope="module")
def sound(folder) -> tuple[dict[str, Any], bytes]:
    weights = (folder / "model.safetensors").read_bytes()
    return json.loads((folder / "config.json").read_text()), weights


def told(folder: Path, config: object, weights: bytes) -> str | None:
    """Return what loading says, or None if a network came; anything else fails the test."""
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (folder / "model.safetensors").unlink()  # which an earlier network may be mapped from
    (folder / "model.safetensors").write_bytes(weights)
    start = time.monotonic()
    try:
        load(folder)
    except OURS as error:
        return str(error.args[0])
    finally:
        assert time.monotonic() - start < SECONDS
    return None


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(values, dict):
        inside = [p for key, value in values.items() for p in places(value, (*path, key))]
    elif isinstance(values, list):
        inside = [p for key, value in enumerate(values) for p in places(value, (*path, key))]
    else:
        inside = []
    return [path, *inside] if path else inside


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 5000)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["segmenter", "backbone", "dodnet", "conference", "mots", "zscore", "C"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@_fuzzed
@given(data=st.data())
def test_any_configuration_is_a_network_or_a_plain_error(folder, sound, data):
    config, weights = json.loads(json.dumps(sound[0])), sound[1]
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(places(config)))
        inner = config
        for key in path:
            inner = inner[key]
        if data.draw(st.booleans()) and isinstance(inner, dict) and len(inner) > 1:
            del inner[last]
        else:
            inner[last] = data.draw(ANYTHING)
    message = told(folder, config, weights)
    assert message is None or len(message) < 2000


@_fuzzed
@given(text=st.text(max_size=60) | ANYTHING.map(json.dumps))
def test_any_text_is_no_configuration(folder, sound, text):
    assert "config.json" in told(folder, text, sound[1])


@_fuzzed
@given(data=st.data())
def test_weights_cut_short_or_with_bits_flipped(folder, sound, data):
    config, weights = sound
    damaged = bytearray(weights[: data.draw(st.integers(0, len(weights)))])
    header = int.from_bytes(weights[:8], "little") + 8
    for _ in range(data.draw(st.integers(0, 5)) if damaged else 0):
        reach = min(len(damaged), data.draw(st.sampled_from([8, header, len(weights)])))
        damaged[data.draw(st.integers(0, reach - 1))] ^= 1 << data.draw(st.integers(0, 7))
    message = told(folder, config, bytes(damaged))
    assert message is None or "weights" in message or "model.safetensors" in message


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": {"depth": 50, "widths": [4096] * 4, "extra_blocks": 16}},
        {"transformer": {"width": 4092, "heads": 1, "feedforward": 16384, "encoder_layers": 64}},
        {"transformer": {"width": 4080, "heads": 240, "encoder_points": 64, "levels": 4}},
        {"decoder": {"widths": [4096] * 5}},
        {"preprocessing": {"window": [512] * 3}},
    ],
)
def test_absurd_sizes_are_refused_before_memory_is_taken(folder, sound, change):
    config = json.loads(json.dumps(sound[0]))
    for part, values in change.items():
        config[part].update(values)
    reset = Path("/proc/self/clear_refs")
    if reset.is_file():
        reset.write_text("5")  # forget the peak of the tests before
    before = peak_memory_mb()["process"]
    message = told(folder, config, sound[1])
    assert message is not None
    assert "many times larger" in message or "256^3 voxels" in message
    with pytest.raises(ValueError, match=r"many times larger|256\^3 voxels"):
        Segmenter.from_pretrained(folder, out_channels=3)
    grown = peak_memory_mb()["process"] - before
    assert grown < 500  # MB; the smallest of these networks has gigabytes


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", ".hidden", "a\x1b[2J"])
@pytest.mark.parametrize("part", ["classes", "tasks"])
def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(
    part, name, tmp_path, capsys
):
    """Fault 21, case 04: `mots predict --masks` wrote above its output folder."""
    net = build(small("segmenter" if part == "classes" else "transdodnet"))
    folder = save_folder(tmp_path / "net", net.config, net.state_dict())
    config = json.loads((folder / "config.json").read_text())
    if part == "classes":
        config["classes"][0] = name
    else:
        config["tasks"][0]["organ"] = name
    (folder / "config.json").write_text(json.dumps(config))
    scan = Volume.with_spacing(np.zeros((8, 8, 8), "int16"), (4.0, 3.0, 3.0))
    write_like(tmp_path / "p.nii.gz", scan.array, scan, dtype="int16")
    words = ["predict", "-i", str(tmp_path / "p.nii.gz"), "-o", str(tmp_path / "deep" / "out")]
    assert main([*words, "-m", str(folder), "--masks"]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert "is not allowed as a name" in said
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert {path.name for path in tmp_path.iterdir()} == {"net", "p.nii.gz"}


def test_strict_loading_lists_a_handful_of_each(folder, sound, tmp_path):
    network = build(small())
    state = dict(network.state_dict())
    names = sorted(state)
    for name in names[:5]:
        state[f"other.{name}"] = state.pop(name)
    state[names[-1]] = torch.zeros(2, 2, 2)
    save_folder(tmp_path / "net", network.config, state)
    with pytest.raises(ValueError, match="do not fit") as error:
        load(tmp_path / "net")
    message = str(error.value)
    assert f"5 missing ({names[0]}, {names[1]}, {names[2]}, ...)" in message
    assert f"5 unexpected (other.{names[0]}," in message
    assert f"1 of another shape ({names[-1]} (2, 2, 2) for " in message


def test_only_safetensors_are_read(folder, sound, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    config, _ = sound
    own = tmp_path / "net"
    own.mkdir()
    (own / "config.json").write_text(json.dumps(config))
    torch.save({"state_dict": Bomb()}, own / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"no model.safetensors.*pytorch_model.bin"):
        load(own)
    (own / "pytorch_model.bin").rename(own / "model.safetensors")
    with pytest.raises(ValueError, match="no readable safetensors"):
        load(own)
    from mots_pretrained.published import read_checkpoint

    with pytest.raises(ValueError, match=r"model.safetensors"):
        read_checkpoint(own / "model.safetensors")
    assert not (tmp_path / "ran").exists()


def test_links_that_lead_out_of_a_folder_are_refused(folder, sound, tmp_path):
    config, weights = sound
    told(folder, config, weights)
    own = tmp_path / "net"
    own.mkdir()
    (own / "config.json").symlink_to(folder / "config.json")
    (own / "model.safetensors").symlink_to(folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"config.json leads out of .*copy the file"):
        load(own)
    # A Hub cache links from snapshots to blobs, and is what it is.
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name in ("config.json", "model.safetensors"):
        (blobs / name).write_bytes((folder / name).read_bytes())
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    assert load(snapshot).config == build(small()).config
