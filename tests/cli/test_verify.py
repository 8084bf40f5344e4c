"""``mots verify``: what it tells of a sound model and of others, and its exit status."""

from __future__ import annotations

import json

import pytest
import torch
from small_networks import small

from mots_pretrained.cli import DONE, FAILED, WRONG_INPUT, main
from mots_pretrained.networks import build
from mots_pretrained.publishing import make_publishable
from mots_pretrained.weights.checkpoint import save_folder


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    network = build(small())
    save_folder(tmp_path / "run", network.config, network.state_dict())
    return make_publishable(tmp_path / "run", tmp_path / "net")


def test_a_sound_model_computes_what_its_card_promises(folder, capsys):
    assert main(["verify", str(folder), "--device", "cpu"]) == DONE
    weights, deviation, told = capsys.readouterr().out.splitlines()
    assert weights == "weights: as stored"
    assert deviation.startswith("float32: logits deviate by ")
    assert told == f"{folder} computes here what its card promises"
    assert main(["verify", str(folder), "--device", "cpu", "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["sound"], found["weights_sound"]) == (True, True)
    assert found["deviations"].keys() == found["tolerances"].keys() == {"float32"}


def test_a_machine_that_computes_something_else_is_told(folder, capsys):
    path = folder / "fingerprint.json"
    stored = json.loads(path.read_text())
    stored["logits"][5] += stored["std"]
    path.write_text(json.dumps(stored))
    assert main(["verify", str(folder), "--json"]) == FAILED
    found = json.loads(capsys.readouterr().out)
    assert found["weights_sound"]
    assert found["deviations"]["float32"] == pytest.approx(1, abs=1e-2)
    assert main(["verify", str(folder)]) == FAILED
    assert "does not compute here what its card promises" in capsys.readouterr().out


def test_what_cannot_be_verified_is_told_in_one_line(folder, capsys):
    for words, told in (
        ([str(folder), "--precision", "f8"], "no fingerprint in precision 'f8'"),
        ([str(folder), "--device", "tpu"], "unknown device 'tpu'"),
        (["no.such"], "unknown model 'no.such'"),
    ):
        assert main(["verify", *words]) == WRONG_INPUT
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    (folder / "fingerprint.json").unlink()
    assert main(["verify", str(folder)]) == WRONG_INPUT
    assert "has no fingerprint.json" in capsys.readouterr().err
