"""Exported graphs give eager's own values, on an input of no two equal axes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from added_organs import with_organs
from small_networks import SIZE, small

from mots_pretrained.errors import UserError
from mots_pretrained.export.graph import CONTRACT, OPSET, export_graph
from mots_pretrained.networks import build
from mots_pretrained.tasks import MOTS_TASKS

IMAGE_SEED = 3


def image() -> torch.Tensor:
    return torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(IMAGE_SEED))


def eager(network, part: str) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        out = (network if part == "network" else network.backbone)(image())
    if isinstance(out, torch.Tensor):
        return {"logits": out}
    encoder = {f"encoder_{n}": out.encoder[n - 1] for n in range(1, 6)}
    memory = {f"memory_{n}": x for n, x in enumerate(out.memory, 1)}
    return {**encoder, **memory, "bottleneck": out.bottleneck, "decoder": out.decoder}


CASES = [("segmenter", "network"), ("transdodnet", "network"), ("transdodnet", "backbone")]


@pytest.mark.long
@pytest.mark.parametrize(("architecture", "part"), CASES[::2])
def test_a_torch_program_agrees_with_eager(tmp_path, architecture, part):
    network = build(small(architecture)).eval()
    path = export_graph(network, tmp_path, format="torch", part=part)
    found = torch.export.load(path).module()(image())
    expected = eager(network, part)
    contract = json.loads((tmp_path / CONTRACT).read_text())
    assert contract["input"]["shape"] == [1, 1, *SIZE]
    assert contract["outputs"] == {name: list(value.shape) for name, value in expected.items()}
    for name, one in zip(contract["outputs"], found, strict=True):
        torch.testing.assert_close(one, expected[name], atol=1e-4, rtol=0)
    assert contract["preprocessing"]["spacing"] == [6, 4, 4]
    assert contract["activation"] == {"segmenter": "softmax"}.get(architecture)  # none of features


@pytest.mark.parametrize(
    ("architecture", "changes", "activation"),
    [
        ("transdodnet", {}, "sigmoid"),
        ("segmenter", {}, "softmax"),
        ("segmenter", {"exclusive": False}, "sigmoid"),
    ],
)
def test_the_contract_says_what_every_channel_is(
    tmp_path, monkeypatch, architecture, changes, activation
):
    """Of colon and lung the channel of an organ that nobody labelled stood for the tumour."""
    monkeypatch.setattr("torch.export.export", lambda *_, **__: None)
    monkeypatch.setattr("torch.export.save", lambda *_: None)
    network = build(small(architecture, **changes)).eval()
    export_graph(network, tmp_path, format="torch", size=SIZE)
    contract = json.loads((tmp_path / CONTRACT).read_text())
    assert contract["tasks"] == {t.name: [t.organ, t.tumour] for t in network.config.tasks}
    assert len(contract["outputs"]["logits"]) == (6 if network.config.tasks else 5)
    assert contract["activation"] == activation


def test_a_tumour_without_an_organ_is_the_second_channel(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.export.export", lambda *_, **__: None)
    monkeypatch.setattr("torch.export.save", lambda *_: None)
    colon = next(task for task in MOTS_TASKS if task.name == "colon")
    export_graph(build(small(tasks=(colon,))).eval(), tmp_path, format="torch", size=SIZE)
    contract = json.loads((tmp_path / CONTRACT).read_text())
    assert contract["tasks"] == {"colon": [None, "colon_tumour"]}


def test_a_graph_keeps_its_contract(tmp_path):
    (tmp_path / "model.onnx").touch()
    network = build(small("segmenter")).eval()
    with pytest.raises(UserError, match=r"model\.onnx has its contract in .*contract\.json"):
        export_graph(network, tmp_path, format="torch", size=SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.long
@pytest.mark.parametrize(("architecture", "part"), CASES)
@pytest.mark.filterwarnings("ignore")  # of onnx's own making
def test_onnx_agrees_with_eager(tmp_path, architecture, part):
    import onnx
    import onnxruntime

    network = build(small(architecture)).eval()
    path = export_graph(network, tmp_path, format="onnx", part=part)
    versions = {entry.domain: entry.version for entry in onnx.load(path).opset_import}
    assert versions[""] == OPSET
    session = onnxruntime.InferenceSession(path)
    names = list(json.loads((tmp_path / CONTRACT).read_text())["outputs"])
    assert [output.name for output in session.get_outputs()] == names
    found = dict(zip(names, session.run(names, {"image": image().numpy()}), strict=True))
    expected = eager(network, part)
    assert found.keys() == expected.keys()
    for name, one in found.items():
        assert np.abs(one - expected[name].numpy()).max() < 1e-4


def test_a_network_with_added_organs_has_the_backbone_of_the_one_below(tmp_path):
    network = build(small()).eval()
    path = export_graph(with_organs(network, "aorta")[0], tmp_path, format="torch", part="backbone")
    expected = eager(network, "backbone")
    found = torch.export.load(path).module()(image())
    contract = json.loads((tmp_path / CONTRACT).read_text())
    assert contract["outputs"] == {name: list(value.shape) for name, value in expected.items()}
    for name, one in zip(contract["outputs"], found, strict=True):
        torch.testing.assert_close(one, expected[name], atol=1e-4, rtol=0)


def test_what_cannot_be_exported_is_told(tmp_path):
    network = build(small()).eval()
    with pytest.raises(ValueError, match="unknown format 'tflite'"):
        export_graph(network, tmp_path, format="tflite")
    with pytest.raises(ValueError, match="unknown part 'head'"):
        export_graph(network, tmp_path, part="head")
    with pytest.raises(ValueError, match="must divide by"):
        export_graph(network, tmp_path, size=(17, 32, 64))
    with pytest.raises(ValueError, match="no backbone of its own"):
        export_graph(build(small("dodnet_conference")), tmp_path, part="backbone", size=SIZE)
    assert list(tmp_path.iterdir()) == []
