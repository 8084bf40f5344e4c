"""Others' checkpoints on a Hub: shown, fetched, compared, converted, and then found by name."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_client import Client
from published_weights import SPOILT, Weights
from small_hub import SmallHub, small_hub
from small_networks import SMALLEST, small

from mots_pretrained import __version__
from mots_pretrained.cli import DONE, FAILED, WRONG_INPUT
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.networks import build, load
from mots_pretrained.published import convert
from mots_pretrained.published.conference import conference_defaults
from mots_pretrained.published.keys import published_keys
from mots_pretrained.weights.card_renewal import check_card, read_card
from mots_pretrained.weights.catalog import CONFERENCE_CHECKPOINT
from mots_pretrained.weights.fingerprint import weights_sha256

NAME = "dodnet.mots_conference"
REPOSITORY, FILE = CONFERENCE_CHECKPOINT.repository, CONFERENCE_CHECKPOINT.file


@pytest.fixture(scope="module")
def weights() -> Weights:
    """A small one of the published network, by published name, with weights that compute."""
    torch.manual_seed(0)
    config = small("dodnet_conference")
    state = build(config).state_dict()
    return {key.published: torch.cat([state[n] for n in key.own]) for key in published_keys(config)}


@pytest.fixture(scope="module")
def hub() -> Iterator[SmallHub]:
    with small_hub() as served:
        yield served


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def client(hub, cache, tmp_path_factory) -> Iterator[Client]:
    environment = {"HF_ENDPOINT": hub.address, "MOTS_CACHE": str(cache)}
    started = Client(tmp_path_factory.mktemp("home"), **environment)
    yield started
    started.close()


def stored(checkpoint: object) -> bytes:
    file = io.BytesIO()
    torch.save(checkpoint, file)
    return file.getvalue()


def mots(client: Client, *words: object) -> tuple[int, str, str]:
    verb, *rest = map(str, words)
    answer = client.ask("command", verb, words=rest)
    assert "value" in answer, answer
    return tuple(answer["value"].values())


def download(client: Client, content: bytes, *more: str) -> tuple[int, str, str]:
    own = hashlib.sha256(content).hexdigest()
    return mots(client, "models", "download", NAME, "--accept-licence", "--sha256", own, *more)


WRAPPED: dict[str, Callable[[Weights], Any]] = {
    "plain": lambda w: w,
    "wrapped": lambda w: {"net": {f"module.{n}": v for n, v in w.items()}, "epoch": 920},
}
"""The others are tests/published/test_unwrap.py's matter."""


@pytest.mark.parametrize("name", WRAPPED)
def test_every_wrapping_is_fetched_and_converted(name, weights, hub, client, cache):
    content = stored(WRAPPED[name](weights))
    hub.add(REPOSITORY, {FILE: content})
    status, out, err = download(client, content)
    assert (status, err) == (DONE, "")
    assert f"{REPOSITORY}:{FILE}" in out
    assert hashlib.sha256(content).hexdigest() in out
    assert all(said in out for said in CONFERENCE_CHECKPOINT.licences)
    found = client.ask("load", NAME)["value"]
    assert found == weights_sha256(convert(weights)[1])


def test_its_folder_says_where_it_is_from_and_its_contract_is_the_published_one(
    weights, hub, client, cache
):
    content = stored({"net": weights})
    hub.add(REPOSITORY, {FILE: content})
    assert download(client, content)[0] == DONE
    text = (cache / NAME / "README.md").read_text()
    check_card(text)
    card = read_card(text)
    assert (card.license, card.base_model) == ("other", REPOSITORY)
    assert card.license_statements == CONFERENCE_CHECKPOINT.licences
    assert hashlib.sha256(content).hexdigest() in text
    assert (cache / NAME / "fingerprint.json").is_file()
    contract = load(cache / NAME).config.preprocessing
    assert contract.spacing == (1.5, 0.8, 0.8)
    assert contract.window == contract.patch == (64, 192, 192)
    assert (contract.clip, contract.intensity) == ((-325, 325), "ct")
    assert mots(client, "verify", NAME)[0] == DONE
    assert any(f"mots_pretrained/{__version__}" in agent for agent in hub.agents)
    before = len(hub.requests)  # it is there: nothing is asked, and no licence either
    assert mots(client, "models", "download", NAME, "-o", cache / "copy")[0] == DONE
    assert len(hub.requests) == before
    assert (cache / "copy" / "README.md").read_text() == text


def test_it_predicts_and_is_fine_tuned_by_name(weights, hub, client, cache, tmp_path):
    content = stored({"state_dict": weights})
    hub.add(REPOSITORY, {FILE: content})
    assert download(client, content)[0] == DONE
    # A window of the published size takes minutes here; another contract is the user's to give.
    config = json.loads((cache / NAME / "config.json").read_text())
    for size in ("patch", "window"):
        config["preprocessing"][size] = SMALLEST["conference"]
    (cache / NAME / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        array = rng.normal(0, 100, (16, 32, 16)).astype("int16")
        scan = Volume.with_spacing(array, (1.5, 0.8, 0.8))
        for folder, values in (("images", array), ("labels", (array > 50).astype("int16"))):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            write_like(tmp_path / "data" / folder / f"{name}.nii.gz", values, scan, dtype="int16")
    scan = tmp_path / "data" / "images" / "a.nii.gz"
    own = ["--device", "cpu"]
    status, _, err = mots(client, "predict", "-i", scan, "-o", tmp_path / "p", "-m", NAME, *own)
    assert status == DONE, err
    assert (tmp_path / "p" / "a_seg.nii.gz").is_file()
    words = ["-i", tmp_path / "data", "-o", tmp_path / "f", "--from", NAME, "--steps", "2"]
    words += ["--set", "fit_steps=20"]
    status, _, err = mots(client, "finetune", *words, "--val", "1", *own)
    assert status == DONE, err
    assert json.loads((tmp_path / "f" / "config.json").read_text())["backbone"] == "conference"
    (cache / NAME / "model.safetensors").unlink()


def test_without_its_licence_accepted_nothing_is_asked(hub, client, cache):
    (cache / NAME / "model.safetensors").unlink(missing_ok=True)
    before = len(hub.requests)
    status, out, err = mots(client, "models", "download", NAME)
    assert status == WRONG_INPUT
    assert "--accept-licence" in err
    assert err.count("\n") == 1
    for said in (f"{REPOSITORY}:{FILE}", "69,342,611", "02895f7dc5aa5c70fba2bf813b25d2a1"):
        assert said in out
    assert all(said in out and said in err for said in CONFERENCE_CHECKPOINT.licences)
    assert len(hub.requests) == before


@pytest.mark.parametrize("name", ["missing weight", "another network", "nothing", "code"])
def test_a_spoilt_one_is_one_plain_line(name, weights, hub, client, cache):
    spoil, told = SPOILT[name]
    refused(hub, client, cache, stored(spoil(weights)), told)


@pytest.mark.parametrize(
    "spoil", [lambda c: c[:-2000], lambda c: b"", lambda c: b"version https://git-lfs\n" * 9]
)
def test_a_damaged_one_is_one_plain_line(spoil, weights, hub, client, cache):
    refused(hub, client, cache, spoil(stored(weights)), "is damaged, or was not written by torch")


def refused(hub: SmallHub, client: Client, cache: Path, content: bytes, told: str) -> None:
    hub.add(REPOSITORY, {FILE: content})
    status, _, err = download(client, content)
    assert status == WRONG_INPUT, err
    assert told in err
    assert err.count("\n") == 1
    assert len(err) < 450
    assert not (cache / NAME / "model.safetensors").exists()
    assert not Path("ran").exists()


def test_another_size_is_refused_before_it_is_fetched_and_another_sum_after(
    weights, hub, client, cache, tmp_path
):
    content = stored(weights)
    hub.add(REPOSITORY, {FILE: content})
    hub.requests.clear()
    status, _, err = mots(client, "models", "download", NAME, "--accept-licence")
    assert status == WRONG_INPUT
    assert f"has {len(content)} bytes, not 69342611" in err
    assert not hub.asked("GET /cdn/")
    own, other = hashlib.sha256(content).hexdigest(), "0" * 64
    words = ["models", "download", NAME, "--accept-licence", "--sha256"]
    status, _, err = mots(client, *words, other)
    assert status == WRONG_INPUT
    assert f"has SHA-256 {own}, not {other}" in err
    assert "takes 64 hexadecimal digits" in mots(client, *words, "12")[2]
    assert not (cache / NAME / "model.safetensors").exists()
    path = tmp_path / "c.pth"
    path.write_bytes(content)
    out = tmp_path / "out"
    status, _, err = mots(client, "convert", "-i", path, "-o", out, "--sha256", other)
    assert (status, f"has SHA-256 {own}, not {other}" in err) == (WRONG_INPUT, True)
    assert mots(client, "convert", "-i", path, "-o", out, "--sha256", own.upper())[0] == DONE


def test_any_checkpoint_is_converted_by_repository_file_and_checksum(weights, hub, client, cache):
    content = stored({"net": weights})
    repository = hub.add("org/others", {"runs/last.pth": content})
    out = cache / "others"
    words = ["convert", "-i", "org/others:runs/last.pth", "-o", out]
    own = hashlib.sha256(content).hexdigest()
    status, _, err = mots(client, *words)
    assert status == WRONG_INPUT
    assert (
        f"no checksum of org/others:runs/last.pth is known, and this file has SHA-256 {own}" in err
    )
    assert mots(client, *words, "--sha256", own)[0] == DONE
    assert weights_sha256(load(out).state_dict()) == weights_sha256(convert(weights)[1])
    assert "org/others:runs/last.pth" in (out / "README.md").read_text()
    words[2] = f"org/others@{repository.head}:runs/last.pth"
    assert mots(client, *words, "--sha256", own)[0] == DONE
    for address, told in (
        ("org/others:none.pth", "org/others has no file none.pth"),
        ("org/others@v9:runs/last.pth", "has no revision 'v9'"),
        ("org/none:a.pth", "no repository org/none that this token may read"),
    ):
        status, _, err = mots(client, "convert", "-i", address, "-o", out, "--sha256", own)
        assert (status, told in err, err.count("\n")) == (WRONG_INPUT, True, 1), err


def test_offline_and_gated_are_told(hub, client, tmp_path):
    environment = {"HF_ENDPOINT": hub.address, "MOTS_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    offline = Client(tmp_path / "home", **environment)
    status, _, err = mots(offline, "models", "download", NAME, "--accept-licence")
    offline.close()
    assert (status, err.count("\n")) == (FAILED, 1)
    assert "was not downloaded before" in err
    hub.add("org/gated", {FILE: b"gated"}, gated=True)
    words = ["convert", "-i", f"org/gated:{FILE}", "-o", tmp_path / "out"]
    status, _, err = mots(client, *words)
    assert (status, "is gated" in err) == (WRONG_INPUT, True)


def test_one_of_the_published_size_loads(hub, client, cache):
    torch.manual_seed(0)
    config = conference_defaults()
    state = build(config).state_dict()
    net = {key.published: torch.cat([state[n] for n in key.own]) for key in published_keys(config)}
    content = stored(net)
    assert abs(len(content) - 69_342_611) < 30_000  # the pointer file's size is that of floats
    hub.add(REPOSITORY, {FILE: content})
    status, out, err = download(client, content)
    assert status == DONE, err
    assert "converted: 17,329,528 parameters" in out
    assert load(cache / NAME).config.preprocessing == config.preprocessing
