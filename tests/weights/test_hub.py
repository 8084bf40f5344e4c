"""Loading and pushing through the real huggingface_hub client, against a small Hub."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_client import Client
from small_hub import SmallHub, small_hub
from small_networks import small

from mots_pretrained import __version__
from mots_pretrained.adaptation.ensemble import Ensemble
from mots_pretrained.networks import build, load
from mots_pretrained.publishing import make_publishable
from mots_pretrained.weights.card import Description, model_card, organs_card
from mots_pretrained.weights.card_renewal import read_card
from mots_pretrained.weights.checkpoint import save_folder
from mots_pretrained.weights.fingerprint import weights_sha256

CHUNK = 10 << 20  # bytes that the client holds before it writes them


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(1)
    return build(small())


@pytest.fixture(scope="module")
def files(network, tmp_path_factory) -> dict[str, bytes]:
    folder = save_folder(tmp_path_factory.mktemp("m") / "m", network.config, network.state_dict())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def served() -> Iterator[SmallHub]:
    with small_hub() as hub:
        yield hub


@pytest.fixture
def hub(served) -> SmallHub:
    served.requests.clear()
    served.cut_times, served.pause, served.broken = 0, 0.0, False
    return served


@pytest.fixture(scope="module")
def start(served, tmp_path_factory) -> Iterator:
    clients = []

    def started(**environment: str) -> Client:
        environment = {"HF_ENDPOINT": served.address, **environment}
        clients.append(Client(tmp_path_factory.mktemp("home"), **environment))
        return clients[-1]

    yield started
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def client(start) -> Client:
    return start(HF_HUB_ETAG_TIMEOUT="2", HF_HUB_DOWNLOAD_TIMEOUT="2")


@pytest.fixture
def cache(tmp_path) -> str:
    return str(tmp_path / "cache")


def contents(answer: dict[str, str]) -> dict[str, bytes]:
    assert "value" in answer, answer
    return {path.name: path.read_bytes() for path in Path(answer["value"]).iterdir()}


def test_by_name_by_revision_and_offline_after(hub, client, start, files, cache):
    repository = hub.add("org/net", files)
    first = repository.head

    def asked(name: str, **options: object) -> dict[str, str]:
        return client.ask("resolve", name, cache_dir=cache, **options)

    answer = asked("org/net")
    assert contents(answer) == files
    assert Path(answer["value"]).name == first
    repository.commit({"README.md": b"new"})
    repository.commit({"README.md": b"tried"}, "try/it")
    assert contents(asked("org/net"))["README.md"] == b"new"
    assert contents(asked("org/net@try/it"))["README.md"] == b"tried"
    assert contents(asked("org/net", revision=first)) == files
    assert len(hub.asked("GET /cdn/")) == 1  # what is the same in all commits is sent once
    told = asked("org/net@v9")
    assert told["error"] == "UserError"
    assert "org/net has no revision 'v9'" in told["told"]
    assert "no repository org/none that this token may read" in asked("org/none")["told"]
    hub.add("org/other", {"config.json": b"{}"})
    assert "org/other holds no model of this package" in asked("org/other")["told"]
    before = len(hub.requests)
    offline = start(HF_HUB_OFFLINE="1")
    kept = offline.ask("resolve", "org/net", cache_dir=cache)
    assert contents(kept)["README.md"] == b"new"
    assert contents(offline.ask("resolve", f"org/net@{first}", cache_dir=cache)) == files
    assert contents(asked("org/net", local_files_only=True))["README.md"] == b"new"
    for told in (
        offline.ask("resolve", "org/elsewhere", cache_dir=cache),
        asked("org/elsewhere", local_files_only=True),
    ):
        assert told["error"] == "ConnectionError"
        assert "org/elsewhere was not downloaded before" in told["told"]
    assert len(hub.requests) == before


def test_files_that_are_none_of_ours_are_never_asked_for(hub, client, files, cache, tmp_path):
    strange = {"../outside.txt": b"x", "/tmp/mots_outside": b"x", "code.py": b"x", "w.pth": b"x"}
    hub.add("org/strange", {**files, **strange})
    answer = client.ask("resolve", "org/strange", cache_dir=cache)
    assert contents(answer) == files
    assert Path(answer["value"]).is_relative_to(cache)
    assert not list(tmp_path.rglob("outside.txt"))
    assert not Path("/tmp/mots_outside").exists()
    assert not any(hub.asked(name.strip("./")) for name in strange)


def test_gated_and_private_repositories(hub, client, start, files, cache):
    hub.add("org/gated", files, gated=True)
    hub.add("org/private", files, private=True)
    for token in (None, "stranger"):  # the Hub answers 401 and 403
        told = client.ask("resolve", "org/gated", token=token, cache_dir=cache)
        assert told["error"] == "UserError"
        assert "org/gated is gated: ask for access" in told["told"]
        told = client.ask("resolve", "org/private", token=token, cache_dir=cache)
        assert "no repository org/private that this token may read" in told["told"]
    for name in ("org/gated", "org/private"):
        assert contents(client.ask("resolve", name, token="reader", cache_dir=cache)) == files
    assert contents(start(HF_TOKEN="reader").ask("resolve", "org/gated")) == files


def test_what_is_cut_short_is_resumed(hub, client, files, cache):
    large = {**files, "model.safetensors": bytes(range(256)) * (12 << 12)}
    hub.add("org/large", large)
    hub.cut_after, hub.cut_times = CHUNK + 5000, 1
    assert contents(client.ask("resolve", "org/large", cache_dir=cache)) == large
    whole, rest = hub.asked("GET /cdn/")
    assert whole.split()[2:] == []
    assert rest.split()[2:] == [f"bytes={CHUNK}-"]


def test_what_a_killed_process_left_does_no_harm(hub, start, client, files, cache):
    large = {**files, "model.safetensors": bytes(range(256)) * (11 << 12)}
    hub.add("org/killed", large)
    hub.cut_after, hub.cut_times = CHUNK + 5000, 99
    first = start()
    first.start("resolve", "org/killed", cache_dir=cache)
    wait_for(lambda: hub.asked("GET /cdn/"))
    first.close()
    hub.cut_times = 0
    assert contents(client.ask("resolve", "org/killed", cache_dir=cache)) == large


def wait_for(reached) -> None:
    until = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.long  # it waits until the client gives up
def test_a_hub_that_fails_is_told_and_what_was_kept_is_used(hub, client, start, files, cache):
    hub.add("org/net", files)
    for fault in ({"broken": True}, {"pause": 2.5}):
        vars(hub).update(fault)
        told = client.ask("resolve", "org/net", cache_dir=cache)
        assert told["error"] == "ConnectionError"
        assert "org/net" in told["told"]
        hub.broken, hub.pause = False, 0.0
    assert contents(client.ask("resolve", "org/net", cache_dir=cache)) == files
    hub.broken = True
    assert contents(client.ask("resolve", "org/net", cache_dir=cache)) == files
    nowhere = start(HF_ENDPOINT="http://127.0.0.1:9").ask("resolve", "org/net")
    assert nowhere["error"] == "ConnectionError"
    assert "load it once with a connection" in nowhere["told"]


def test_pushed_and_loaded_back_bit_for_bit(hub, client, network, files, tmp_path, cache):
    folder = str(tmp_path / "net")
    save_folder(folder, network.config, network.state_dict(), extra={"checkpoint.pt": "private"})
    for token, status in ((None, 401), ("reader", 403)):
        told = client.ask("push_folder", "me/net", folder=folder, token=token)
        assert told["error"] == "UserError"
        assert f"refused to write to me/net (status {status})" in told["told"]
    address = client.ask("push_folder", "me/net", folder=folder, token="writer", private=True)
    held = hub.repositories["me/net"]
    assert address["value"].endswith(f"/me/net/commit/{held.head}")
    assert held.private
    assert {*held.commits[held.head]} == {*files, ".gitattributes"}
    assert held.commits[held.head]["model.safetensors"] == files["model.safetensors"]
    loaded = client.ask("load", "me/net", token="reader", cache_dir=cache)
    assert loaded == {"value": weights_sha256(network.state_dict())}
    to_branch = {"token": "writer", "revision": "next", "half": True}
    assert "/commit/" in client.ask("push", "me/net", folder=folder, **to_branch)["value"]
    halves = {name: value.half() for name, value in network.state_dict().items()}
    loaded = client.ask("load", "me/net@next", token="reader", cache_dir=cache)
    assert loaded == {"value": weights_sha256(halves)}
    assert held.head in address["value"]  # main stayed as it was
    assert "no name of a Hub repository" in client.ask("push_folder", "a--b", folder=folder)["told"]


def test_four_processes_into_one_cache(hub, client, start, files, cache):
    weights = files["model.safetensors"] + b"\0"  # not yet in anybody's cache
    hub.add("org/four", {**files, "model.safetensors": weights})
    clients = [client, *(start() for _ in range(3))]
    for each in clients:  # so that all stand ready
        assert "error" in each.ask("resolve", "org/none", cache_dir=cache)
    hub.pause = 0.05
    for each in clients:
        each.start("resolve", "org/four", cache_dir=cache)
    answers = [each.answer() for each in clients]
    assert len({answer["value"] for answer in answers}) == 1
    digest = hashlib.sha256(weights).hexdigest()
    (stored,) = (path for path in Path(cache).rglob(f"{digest}*") if path.suffix != ".lock")
    assert stored.read_bytes() == weights
    assert contents(answers[0])["model.safetensors"] == weights


def test_an_ensemble_is_pushed_found_and_loaded(hub, client, cache, tmp_path):
    torch.manual_seed(2)
    members = [build(small("segmenter")) for _ in range(2)]
    Ensemble(members).save_pretrained(tmp_path / "ensemble")
    told = client.ask("push", "org/ensemble", folder=str(tmp_path / "ensemble"), token="writer")
    assert "value" in told, told
    pushed = hub.repositories["org/ensemble"]
    files = pushed.commits[pushed.head]
    assert {name for name in files if name.startswith("fold_1/")} == {
        f"fold_1/{name}" for name in ("config.json", "model.safetensors", "README.md")
    }
    assert b"An ensemble of 2 networks" in files["README.md"]
    expected = weights_sha256(Ensemble(members).state_dict())
    assert client.ask("load", "org/ensemble", cache_dir=cache) == {"value": expected}
    folder = tmp_path / "carried"
    words = ["download", "org/ensemble", "-o", str(folder)]
    assert client.ask("command", "models", words=words)["value"]["status"] == 0
    assert weights_sha256(load(folder).state_dict()) == expected
    assert client.ask("command", "models", words=["org/ensemble"])["value"]["status"] == 0
    (folder / "fold_0" / "training.json").write_text('{"from": "org/base@v1", "steps_done": 3}')
    answer = client.ask("push_folder", "org/copied", folder=str(folder), token="writer")
    assert "value" in answer, answer
    make_publishable(folder, tmp_path / "prepared", said=Description("org/again", license="mit"))
    card = read_card((tmp_path / "prepared" / "README.md").read_text())
    assert (card.base_model, card.license) == ("org/base", "mit")
    assert weights_sha256(load(tmp_path / "prepared").state_dict()) == expected
    assert (tmp_path / "prepared" / "fold_1" / "fingerprint.json").is_file()


def test_no_file_of_another_network_stays_where_one_is_pushed(hub, client, tmp_path, cache):
    """What the repository holds besides, such as a notebook, stays."""
    torch.manual_seed(3)
    members = [build(small("segmenter")) for _ in range(3)]
    for count in (1, 2, 3):
        Ensemble(members[:count]).save_pretrained(tmp_path / f"{count}")
    single = tmp_path / "1" / "fold_0"
    (single / "training.json").write_text("{}")
    others = {"notebook.ipynb": b"{}", "fold_1/notes.txt": b"", "data/config.json": b"{}"}
    hub.add("org/anew", others)

    def pushed(folder: Path) -> set[str]:
        told = client.ask("push_folder", "org/anew", folder=str(folder), token="writer")
        assert "value" in told, told
        held = hub.repositories["org/anew"]
        return {*held.commits[held.head]} - {*others}

    own = {"config.json", "model.safetensors", "README.md"}
    assert pushed(single) == {*own, "training.json"}
    for count in (3, 2):
        folds = {f"fold_{k}/{name}" for k in range(count) for name in own}
        assert pushed(tmp_path / f"{count}") == {"README.md", *folds}
        expected = weights_sha256(Ensemble(members[:count]).state_dict())
        assert client.ask("load", "org/anew", cache_dir=cache) == {"value": expected}
    assert pushed(single) == {*own, "training.json"}
    held = hub.repositories["org/anew"]
    assert {*others} <= {*held.commits[held.head]}


def test_an_added_organ_is_pushed_and_loaded(hub, client, tmp_path):
    given = {"organ": "aorta", "base_model": "org/net", "license": "mit", "token": "writer"}
    told = client.ask("push_organs", "org/aorta", **given)
    assert "value" in told, told
    pushed = hub.repositories["org/aorta"]
    files = pushed.commits[pushed.head]
    assert {*files} == {"organs.safetensors", "README.md", ".gitattributes"}
    for line in (b"base_model: org/net\n", b"base_model_relation: adapter\n"):
        assert line in files["README.md"]
    assert client.ask("load_organs", "org/aorta", organ="aorta")["value"] == [0.25] * 64
    assert "no repository org/none" in client.ask("load_organs", "org/none", organ="aorta")["told"]
    hub.add("org/empty", {"README.md": b""})
    assert "holds no added organs" in client.ask("load_organs", "org/empty", organ="aorta")["told"]
    pushed.private, place = True, str(tmp_path / "cache")
    options = {"organ": "aorta", "token": "reader", "cache_dir": place}
    offline = {**options, "local_files_only": True}
    assert "error" in client.ask("load_organs", "org/aorta", **offline)  # not yet there
    assert client.ask("load_organs", "org/aorta", **options)["value"] == [0.25] * 64
    hub.requests.clear()
    assert client.ask("load_organs", "org/aorta", **offline)["value"] == [0.25] * 64
    assert not hub.requests
    path = tmp_path / "aorta.safetensors"
    path.write_bytes(files["organs.safetensors"])
    words = [str(path), "org/second", "--license", "mit"]
    answer = client.ask("command", "push", words=words)["value"]
    assert answer["status"] == 2  # no token
    assert "refused to write" in answer["err"]


def test_the_hub_s_own_validator_takes_every_card(hub, client, tmp_path):
    said = Description(
        "org/mine",
        scores={"liver": 0.5, "spleen": 0.75},
        dataset="14 phantoms",
        license="other",
        license_name="mine-1.0",
        license_link="https://example.org/licence",
        license_statements=("A says this.", "B says that."),
        base_model="org/base",
        datasets=("org/data", "org/more"),
    )
    cards = {
        "network": model_card(small(), said),
        "plain": model_card(small("segmenter")),
        "organs": organs_card(
            ["aorta"], "0" * 64, "org/aorta", base_model="org/net", license="mit"
        ),
    }
    for name, text in cards.items():
        (tmp_path / f"{name}.md").write_text(text)
        assert client.ask("validate", str(tmp_path / f"{name}.md")) == {"value": "valid"}
    assert len(hub.asked("POST /api/validate-yaml")) == 3
    (tmp_path / "bad.md").write_text(cards["network"].replace("org/base", "a base"))
    assert "base_model" in client.ask("validate", str(tmp_path / "bad.md"))["told"]


def test_requests_say_who_asks(hub, client, files, cache):
    hub.agents.clear()
    hub.add("org/net", files)
    client.ask("load", "org/net", cache_dir=cache)
    client.ask("push_folder", "org/new", folder=cache + "/none", token="writer")
    assert hub.agents
    assert all(f"mots_pretrained/{__version__}" in agent for agent in hub.agents)


def test_a_file_of_the_cache_that_is_damaged_is_fetched_again(hub, client, files, cache):
    hub.add("org/damaged", files)
    folder = Path(client.ask("resolve", "org/damaged", cache_dir=cache)["value"])
    for name in ("config.json", "model.safetensors"):  # a small file, and one behind a redirect
        blob = (folder / name).resolve()
        for damage in (b"", files[name][:-1], bytes([files[name][0] ^ 1]) + files[name][1:]):
            blob.write_bytes(damage)
            told = client.ask("resolve", "org/damaged", cache_dir=cache, local_files_only=True)
            assert f"{name} is damaged: it has not the checksum" in told["told"]
            assert contents(client.ask("resolve", "org/damaged", cache_dir=cache)) == files
