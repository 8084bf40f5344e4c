"""Checkpoints as trainings leave them: wrapped, halved, counted, or spoilt."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published_weights import SPOILT, Weights, random_weights
from safetensors.torch import save_file
from small_networks import small

from mots_pretrained.cli import WRONG_INPUT, main
from mots_pretrained.published import convert, read_checkpoint, unwrap


@pytest.fixture(scope="module")
def weights() -> Weights:
    """A small one of the 2021 network, by published name."""
    return random_weights(small("dodnet_conference"))


def put(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {prefix + name: value for name, value in weights.items()}


def under(*names: str) -> Callable[[Weights], dict[str, Any]]:
    def wrap(weights: Any) -> Any:
        for name in reversed(names):
            weights = {name: weights, "epoch": 3, "optimizer": {"state": {0: torch.zeros(2)}}}
        return weights

    return wrap


def inner(weights: Weights) -> Weights:
    """As torch.compile of parts of a network names them."""
    return {name.replace(".", "._orig_mod.", 1): value for name, value in weights.items()}


WRAPPED: dict[str, Callable[[Weights], Any]] = {
    "plain": lambda w: w,
    **{
        p: put(p)
        for p in (
            *("module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "backbone."),
            *("model.", "net.module.", "module.student.backbone.", "_forward_module.model."),
        )
    },
    **{
        " ".join(names): under(*names)
        for names in (
            *(("state_dict",), ("model",), ("net",), ("network",), ("network_weights",)),
            *(("state_dict_ema",), ("model_state_dict",), ("student",), ("teacher",), ("ema",)),
            *(("model", "state_dict"), ("checkpoint", "of_mine", "net"), ("whatever",)),
        )
    },
    "everything": lambda w: under("state", "model")(put("module._orig_mod.model.")(w)),
    "inner": inner,
    "options": lambda w: {"net": w, "args": argparse.Namespace(lr=0.1), "loss": torch.tensor(3.0)},
    "epoch beside": lambda w: {**w, "epoch": 3},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_weights_are_found_in_every_wrapping(name: str, weights: Weights, tmp_path: Path) -> None:
    torch.save(WRAPPED[name](weights), tmp_path / "c.pth")
    found = read_checkpoint(tmp_path / "c.pth")
    assert list(found) == list(weights)
    assert all(torch.equal(found[key], weights[key]) for key in weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_single(dtype: torch.dtype, weights: Weights) -> None:
    halved = {name: value.to(dtype) for name, value in weights.items()}
    config, state = convert(halved)
    assert {value.dtype for value in state.values()} == {torch.float32}
    expected = convert({name: value.float() for name, value in halved.items()})
    assert config == expected[0]
    assert all(torch.equal(state[key], expected[1][key]) for key in state)


def test_a_safetensors_file_will_do(weights: Weights, tmp_path: Path) -> None:
    save_file(put("module.")(weights), tmp_path / "c.safetensors")
    found = read_checkpoint(tmp_path / "c.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)


def test_double_precision_stays(weights: Weights) -> None:
    assert unwrap({name: value.double() for name, value in weights.items()})[
        "conv1.weight"
    ].dtype == (torch.float64)


@pytest.mark.parametrize("counter", ["bn.num_batches_tracked", "n_averaged"])
def test_counters_are_left_out_and_told(counter: str, weights: Weights) -> None:
    with pytest.warns(UserWarning, match=f"left out {counter}"):
        found = unwrap({**weights, counter: torch.tensor(3)})
    assert list(found) == list(weights)


def test_of_several_the_likeliest_is_taken_and_the_others_are_named(weights: Weights) -> None:
    averaged = {name: value + 1 for name, value in weights.items()}
    with pytest.warns(UserWarning, match="read from 'state_dict'.* under 'state_dict_ema'"):
        found = unwrap({"state_dict_ema": averaged, "state_dict": weights})
    assert torch.equal(found["conv1.weight"], weights["conv1.weight"])


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_checkpoint_is_one_plain_line(
    name: str, weights: Weights, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spoil, told = SPOILT[name]
    torch.save(spoil(weights), "c.pth")
    assert main(["convert", "-i", "c.pth", "-o", "out"]) == WRONG_INPUT
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.count("\n") == 1
    assert len(said.err) < 400
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.pth"]


@pytest.mark.parametrize("left", [0, 100, 0.5, -2000])
def test_a_file_cut_short_is_one_plain_line(
    left: float, weights: Weights, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "c.pth"
    torch.save(weights, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if 0 < left < 1 else int(left)])
    assert main(["convert", "-i", str(path), "-o", str(tmp_path / "out")]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert "is damaged, or was not written by torch.save" in said
    assert said.count("\n") == 1
