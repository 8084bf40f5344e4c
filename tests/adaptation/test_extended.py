"""Organs beside old tasks: old logits to the bit, small files, other weights refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from added_organs import with_organs
from safetensors.torch import load_file, save_file
from small_networks import SIZE, small

import mots_pretrained as mots
from mots_pretrained.adaptation.extended import add_file, add_head
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import AddedConfig, ModelConfig
from mots_pretrained.export.graph import export_graph
from mots_pretrained.images.volume import Volume
from mots_pretrained.methods import METHODS
from mots_pretrained.networks import build, load
from mots_pretrained.weights.fingerprint import fingerprint
from mots_pretrained.weights.tensors import _SUM

X = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(0))


def network(architecture="transdodnet", seed=0):
    torch.manual_seed(seed)
    return build(small(architecture)).eval()


@pytest.mark.parametrize("architecture", ["transdodnet", "dodnet", "dodnet_conference"])
@torch.no_grad()
def test_old_tasks_keep_every_bit_whatever_is_added(architecture):
    net = network(architecture)
    names = [task.name for task in net.config.tasks]
    image = X if architecture != "dodnet_conference" else torch.randn(1, 1, 16, 32, 32)
    before = net(image), net(image, names[2:4])
    once, _ = with_organs(net, "aorta", "stomach")
    twice, _ = with_organs(once, "bladder", seed=4)
    assert [task.name for task in twice.config.tasks] == [*names, "aorta", "stomach", "bladder"]
    for extended in (once, twice):
        every = extended(image)
        assert torch.equal(every[:, :7], before[0])
        assert torch.equal(extended(image, names), before[0])
        assert torch.equal(extended(image, ["aorta", *names[2:4]])[:, 1:], before[1])
        assert torch.equal(extended(image, ["stomach"]), every[:, 8:9])
    assert torch.equal(twice(image, ["aorta"]), once(image, ["aorta"]))


@torch.no_grad()
def test_organs_have_the_precision_of_the_network_that_they_are_added_to():
    extended, _ = with_organs(with_organs(network().bfloat16(), "aorta")[0], "stomach")
    assert {value.dtype for value in extended.state_dict().values()} == {torch.bfloat16}
    assert extended(X.bfloat16()).isfinite().all()


@torch.no_grad()
def test_an_organs_probability_is_its_share_of_the_softmax():
    extended, segmenter = with_organs(network(), "aorta", "stomach")
    expected = segmenter(X).softmax(1)[:, 1:]
    logits = extended(X, ["aorta", "stomach"])
    torch.testing.assert_close(logits[:, :, 0].sigmoid(), expected)
    assert (logits[:, :, 1].sigmoid() < 1e-9).all()
    one = extended.task_logits(X, torch.tensor([[7], [0]]))
    assert torch.equal(one[0, 0], logits[0, 0])
    assert torch.equal(one[1], extended(X, ["liver"])[1])


@torch.no_grad()
def test_files_travel_in_any_order_and_give_the_same_bits(tmp_path):
    network().save_pretrained(tmp_path / "base")
    net = load(tmp_path / "base")
    once, _ = with_organs(net, "aorta", "stomach")
    twice, _ = with_organs(once, "bladder", seed=4)
    twice.save_organs(tmp_path / "bladder.safetensors")
    twice.save_organs(tmp_path / "both.safetensors", "aorta")
    files = [tmp_path / "bladder.safetensors", tmp_path / "both.safetensors"]
    again = load(tmp_path / "base", add=files)
    assert [one.classes for one in again.config.added] == [("bladder",), ("aorta", "stomach")]
    for name in ("aorta", "stomach", "bladder", "colon"):
        assert torch.equal(again(X, [name]), twice(X, [name]))
    assert torch.equal(add_file(net, files[0])(X), again(X)[:, :8])


@torch.no_grad()
def test_the_combined_network_is_saved_loaded_built_on_and_printed(tmp_path):
    extended, _ = with_organs(network(), "aorta")
    extended.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again.config == extended.config == ModelConfig.from_json(extended.config.to_json())
    assert torch.equal(again(X), extended(X))
    printed, expected = (fingerprint(n, n.config, n._saved_state()) for n in (again, extended))
    assert printed == expected
    backbone = mots.MOTSBackbone.from_pretrained(tmp_path)
    assert torch.equal(backbone(X).decoder, extended.net.backbone(X).decoder)
    assert Segmenter.from_pretrained(tmp_path, classes=["x"]).config.added == ()
    export_graph(again, tmp_path / "graph", format="torch")
    contract = json.loads((tmp_path / "graph" / "contract.json").read_text())
    assert contract["label_values"]["aorta"] == [12]
    graph = torch.export.load(tmp_path / "graph" / "model.pt2").module()
    torch.testing.assert_close(graph(X[:1])[0], again(X[:1]), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_another_process_computes_the_same(tmp_path):
    network().save_pretrained(tmp_path / "base")
    extended, _ = with_organs(load(tmp_path / "base"), "aorta")
    extended.save_organs(tmp_path / "aorta.safetensors")
    torch.save(X, tmp_path / "x.pt")
    script = (
        "import sys, torch, mots_pretrained as mots\n"
        "base, file, x, out = sys.argv[1:]\n"
        "with torch.no_grad():\n"
        "    torch.save(mots.load(base, add=[file])(torch.load(x)), out)\n"
    )
    words = [tmp_path / name for name in ("base", "aorta.safetensors", "x.pt", "y.pt")]
    subprocess.run([sys.executable, "-c", script, *map(str, words)], check=True)
    assert torch.equal(torch.load(tmp_path / "y.pt"), extended(X))


def test_the_shipped_networks_file_is_small(tmp_path):
    net = load("transdodnet.phantom")
    extended, _ = with_organs(net, "aorta", "gallbladder")
    assert extended.save_organs(tmp_path / "two.safetensors").stat().st_size <= 200_000


def test_the_predictor_gives_new_organs_the_next_values():
    net = network()
    extended, _ = with_organs(net, "aorta", "stomach")
    with torch.no_grad():
        extended.added[0].last.bias += torch.tensor([0.0, 1e4, 0.0])  # everything is aorta
    rng = np.random.default_rng(0)
    scan = Volume.with_spacing(rng.normal(0, 100, (20, 30, 40)).astype(np.float32), (6, 4, 4))
    old, new = mots.Predictor(net)(scan), mots.Predictor(extended)(scan)
    assert new.label_values == {**old.label_values, "aorta": (12,), "stomach": (13,)}
    for name in old.names:
        assert np.array_equal(old.mask(name), new.mask(name))
    assert new.mask("aorta").all()
    assert not new.mask("stomach").any()
    assert {*np.unique(mots.Predictor(extended, tasks=["aorta"])(scan).labels)} == {12}


def test_other_weights_are_refused(tmp_path):
    with_organs(network(), "aorta")[0].save_organs(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="was learned on weights with SHA-256"):
        add_file(network(seed=1), tmp_path / "a.safetensors")
    other = Segmenter.from_scratch(small(), classes=["x"], head="levels")
    with pytest.raises(ValueError, match="on another backbone"):
        add_head(network(), other)


def facts(classes, values, hidden=64):
    text = f'{{"classes": {classes}, "values": {values}, "hidden": {hidden}}}'
    return lambda metadata, tensors: metadata.update(facts=text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: m.update(format_version="2"), "format_version 2, this package reads up to 1"),
        (lambda m, t: m.update(kind="lora"), "holds no organs"),
        (lambda m, t: m.update(facts="[1]"), "does not say what it holds"),
        (facts("3", "[[1]]"), "classes"),
        (facts('["a"]', "[]"), "has values for 0 of 1 organs"),
        (facts('["liver"]', "[[1]]"), "'liver' already"),
        (facts('["../a"]', "[[1]]"), "not allowed"),
        (facts('["a"]', "[[1]]", hidden=9999), "hidden"),
        (lambda m, t: t.pop("bias"), "1 missing .bias."),
        (lambda m, t: t.update(bias=torch.zeros(3)), "1 of another shape .bias"),
    ],
)
def test_a_strange_file_is_refused(tmp_path: Path, change, message):
    from safetensors import safe_open

    net, path = network(), tmp_path / "aorta.safetensors"
    with_organs(net, "aorta")[0].save_organs(path)
    with safe_open(path, framework="pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if name != _SUM}
    tensors = load_file(path)
    change(metadata, tensors)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match=message):
        add_file(net, path)


def test_what_cannot_be_extended_is_told(tmp_path):
    net = network()
    extended, segmenter = with_organs(net, "aorta")
    with pytest.raises(ValueError, match="has 'aorta' already"):
        add_head(extended, segmenter)
    with pytest.raises(KeyError, match="no organ 'liver' was added here; added were: aorta"):
        extended.save_organs(tmp_path / "x", "liver")
    with pytest.raises(FileNotFoundError, match="no such file"):
        add_file(net, tmp_path / "none")
    with pytest.raises(ValueError, match=r"share their features.*not to a multi_head"):
        add_file(METHODS["multi_head"](small("multi_head")), tmp_path / "none")
    linear = Segmenter.from_scratch(net.config, classes=["x"], head="linear")
    with pytest.raises(ValueError, match="by a head on all levels"):
        add_head(net, linear)
    with pytest.raises(ValueError, match="the last tasks must be its organs"):
        dataclasses.replace(net.config, added=(AddedConfig(("aorta",)),))


def test_thresholds_travel_with_the_organs(tmp_path):
    base = network()
    base.config = dataclasses.replace(base.config, thresholds={"spleen": 0.4})
    extended, _ = with_organs(base, "aorta", "stomach")
    assert extended.config.thresholds == {"spleen": 0.4}
    own = {"spleen": 0.4, "aorta": 0.7}
    extended.config = dataclasses.replace(extended.config, thresholds=own)
    extended.save_organs(tmp_path / "organs.safetensors")
    extended.save_pretrained(tmp_path / "all")
    assert load(tmp_path / "all").config.thresholds == own
    again = add_file(network(), tmp_path / "organs.safetensors")
    assert again.config.thresholds == {"aorta": 0.7}  # the spleen's are the network's
    assert Segmenter.from_pretrained(tmp_path / "all", classes=["x"]).config.thresholds == {}
    assert mots.MOTSBackbone.from_pretrained(tmp_path / "all") is not None
    export_graph(again, tmp_path / "graph", format="torch")
    contract = json.loads((tmp_path / "graph" / "contract.json").read_text())
    assert contract["thresholds"] == {"aorta": 0.7}
