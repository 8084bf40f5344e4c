"""``mots export``: what it is told reaches each format, and what does not go together."""

from __future__ import annotations

import json

import pytest
import torch
from small_networks import small

from mots_pretrained.cli import DONE, WRONG_INPUT, main
from mots_pretrained.networks import build


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    return str(build(small("segmenter")).save_pretrained(tmp_path / "net"))


def test_options_reach_the_graph(model, tmp_path, monkeypatch, capsys):
    asked = []

    def export(network, output, **options):
        asked.append((network.config.architecture, output, options))
        return tmp_path / "model.pt2"

    monkeypatch.setattr("mots_pretrained.export.graph.export_graph", export)
    assert main(["export", model, "-o", "out"]) == DONE
    assert capsys.readouterr().out == f"{model} written to {tmp_path / 'model.pt2'}\n"
    words = ["--format", "torch", "--part", "backbone", "--size", "16, 32,64", "--json"]
    assert main(["export", model, "-o", "out", *words]) == DONE
    assert json.loads(capsys.readouterr().out) == {
        "name": model,
        "format": "torch",
        "path": str(tmp_path / "model.pt2"),
    }
    options = {"format": "torch", "part": "backbone", "size": (16, 32, 64)}
    assert asked == [
        ("segmenter", "out", {"format": "onnx", "part": "network", "size": None}),
        ("segmenter", "out", options),
    ]


def test_a_bundle_gets_the_card_of_its_weights(model, tmp_path, monkeypatch):
    cards = []

    def export(network, output, *, card):
        cards.append(card)
        return output

    monkeypatch.setattr("mots_pretrained.export.monai_bundle.export_bundle", export)
    words = ["export", model, "-o", "out", "--format", "monai", "-q"]
    assert main(words) == DONE
    assert cards == [(tmp_path / "net" / "README.md").read_text()]
    (tmp_path / "net" / "README.md").unlink()
    assert main(words) == DONE
    assert cards[1] == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--format", "monai", "--part", "backbone"], "a MONAI bundle is of the whole network"),
        (["--format", "monai", "--size", "16,32,64"], "leave out --part, --size"),
        (["--format", "nnunet", "--size", "16,32,64"], "nnU-Net takes the whole network"),
        (["--format", "tflite"], "unknown format 'tflite'"),
        (["--size", "16,32"], "--size takes three whole numbers D,H,W such as 64,192,192"),
        (["--size", "16,32,x"], "not '16,32,x'"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(model, tmp_path, capsys, words, told):
    assert main(["export", model, "-o", str(tmp_path / "out"), *words]) == WRONG_INPUT
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folds_are_no_bundle_whether_all_are_there_or_not(tmp_path, capsys):
    """To finish the training would not help."""
    build(small("segmenter")).save_pretrained(tmp_path / "folds" / "fold_0")
    record = {"recipe": {"folds": 2}, "complete": False, "identity": {"recipe": {"folds": 2}}}
    (tmp_path / "folds" / "training.json").write_text(json.dumps(record))
    words = ["export", str(tmp_path / "folds"), "-o", str(tmp_path / "out"), "--format", "monai"]
    assert main(words) == WRONG_INPUT
    assert "a MONAI bundle is of one network; name one fold's folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
