from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_networks import SIZE

from mots_pretrained.cli import DONE, WRONG_INPUT, main
from mots_pretrained.config import DecoderConfig, EncoderConfig, ModelConfig, TransformerConfig
from mots_pretrained.methods.transdodnet import TransDoDNet
from mots_pretrained.networks import build
from mots_pretrained.published import to_published
from mots_pretrained.weights.fingerprint import differences, fingerprint

CONFIG = ModelConfig(
    encoder=EncoderConfig(depth=10, stem_width=4, widths=(4, 6, 8, 10)),
    transformer=TransformerConfig(
        width=12,
        heads=4,
        encoder_layers=1,
        decoder_layers=1,
        feedforward=16,
        fusion="C",
        position_code="published",
        coordinate_order="published",
        offset_divisor="published",
    ),
    decoder=DecoderConfig((12, 10, 8, 6, 4)),
    activation="leaky_relu",
)


@pytest.fixture
def net() -> TransDoDNet:
    built = build(CONFIG).eval()
    assert isinstance(built, TransDoDNet)
    return built


@pytest.fixture
def checkpoint(net: TransDoDNet, tmp_path: Path) -> Path:
    """As the published training writes it: in parallel, beside optimiser, epoch and scaler."""
    weights = to_published(net.config, net.state_dict())
    path = tmp_path / "checkpoint.pth"
    torch.save(
        {
            "state_dict": {f"module.{name}": value for name, value in weights.items()},
            "optimizer": torch.optim.AdamW(net.parameters()).state_dict(),
            "epoch": 991,
            "amp": torch.amp.GradScaler("cpu").state_dict(),
        },
        path,
    )
    return path


OPTIONS = ["--set", "nheads=4", "--set", "add_memory=1", "--set", "activation_cfg=LeakyReLU"]


def test_the_folder_gives_the_same_network_back(
    net: TransDoDNet, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "converted"
    words = ["convert", "-i", str(checkpoint), "-o", str(folder), *OPTIONS]
    assert main([*words, "--set", "spacing=3,0.76,0.76", "--json"]) == DONE
    told = json.loads(capsys.readouterr().out)
    assert told["inferred"]["enc_n_points"] == 4
    assert told["given"]["nheads"] == 4
    assert told["assumed"] == {
        "dropout": 0.1,
        "weight_std": False,
        "input_size": [64, 192, 192],
    }
    loaded = TransDoDNet.from_pretrained(folder)
    assert loaded.config.transformer == CONFIG.transformer
    assert loaded.config.activation == "leaky_relu"
    assert loaded.config.preprocessing.spacing == (3.0, 0.76, 0.76)
    own, back = net.state_dict(), loaded.state_dict()
    assert all(torch.equal(back[name], own[name]) for name in own)
    x = torch.randn(1, 1, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), net(x), rtol=0, atol=1e-4)
    stored = json.loads((folder / "fingerprint.json").read_text())
    assert differences(fingerprint(loaded, loaded.config, back), stored) == []
    card = (folder / "README.md").read_text()
    assert "license: other" in card
    assert "Weights: as their authors say." in card


def test_a_process_says_what_it_assumed(checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mots_pretrained", "convert", "-i", str(checkpoint)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out"), "--set", "nheads=4"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (DONE, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("transdodnet, ")
    assert "hidden_dim 12" in lines[1]
    assert "nheads 4" in lines[2]
    assert "add_memory 2, " in lines[3]
    assert "activation_cfg relu" in lines[3]


def bad(kind: str, tmp_path: Path) -> Path:
    path = tmp_path / f"{kind}.pth"
    if kind == "text":
        path.write_text("no checkpoint")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "code":
        torch.save({"state_dict": {"a": torch.zeros(1)}, "config": Path("x")}, path)
    elif kind == "foreign":
        torch.save({"state_dict": {"fc.weight": torch.zeros(2)}}, path)
    elif kind == "list":
        torch.save([torch.zeros(2)], path)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such checkpoint"),
        ("folder", "is a folder"),
        ("text", "is damaged, or was not written by torch.save"),
        ("empty", "is damaged, or was not written by torch.save"),
        ("code", "holds more than weights"),
        ("foreign", "neither a published TransDoDNet nor a DoDNet"),
        ("list", "no published checkpoint"),
    ],
)
def test_what_is_no_checkpoint_gets_one_plain_line(
    kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["convert", "-i", str(bad(kind, tmp_path)), "-o", str(tmp_path / "out")]
    assert main(words) == WRONG_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
    assert not (tmp_path / "out").exists()


def test_a_cut_off_checkpoint_is_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-2000])
    assert main(["convert", "-i", str(checkpoint), "-o", str(tmp_path / "out")]) == WRONG_INPUT
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("nheads", "takes NAME=VALUE"),
        ("=4", "takes NAME=VALUE"),
        ("n_heads=4", "unknown published argument 'n_heads'"),
        ("nheads=5", "give nheads"),
    ],
)
def test_wrong_settings_are_told(
    option: str,
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["convert", "-i", str(checkpoint), "-o", str(tmp_path / "out"), "--set", option]
    assert main(words) == WRONG_INPUT
    assert message in capsys.readouterr().err
