"""Networks as timm makes them, and all that its users then do with one."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from scan_set import ScanSet
from small_networks import SIZE, small

import mots_pretrained as mots
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.images.make_input import MakeInput
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.networks import build
from mots_pretrained.published.conference import ConferenceDoDNet

NAME = "transdodnet.phantom"


@pytest.mark.parametrize("name", ["transdodnet.mots", "dodnet.mots", "dodnet.mots_conference"])
def test_a_name_whose_weights_a_user_has_stands_for_those(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MOTS_CACHE", str(tmp_path))
    paper = mots.get_preprocessing(name).contract
    assert paper.spacing != small().preprocessing.spacing
    mine = build(small("dodnet")).save_pretrained(tmp_path / name)
    assert mots.load(name).config == build(small("dodnet")).config
    assert mots.get_preprocessing(name).contract == mots.load(name).config.preprocessing
    assert mots.create_model(name).config == mots.load(mine).config
    assert mots.create_model(name, num_classes=3).config.encoder == small().encoder


def test_features_only_gives_the_pretrained_maps_of_more_channels():
    net = mots.create_model(
        NAME, pretrained=True, in_chans=4, num_classes=14, features_only=True, out_indices=(0, 1, 2)
    )
    assert not net.training
    assert net.feature_info.channels() == [16, 32, 64]
    assert net.feature_info.strides() == [(1, 2, 2), (2, 4, 4), (4, 8, 8)]
    one = torch.randn(1, 1, *SIZE)
    own = mots.MOTSBackbone.from_pretrained(NAME)
    four = mots.create_model(
        NAME, True, in_chans=4, features_only=True, channel_init="first_scaled"
    )
    for found, expected in zip(four(one.expand(-1, 4, -1, -1, -1)), own(one).encoder, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_new_head_the_backbone_alone_and_the_whole():
    model = mots.create_model(NAME, pretrained=True, in_chans=4, num_classes=14)
    assert isinstance(model, Segmenter)
    assert (model.num_classes, model.config.encoder.in_channels) == (14, 4)
    assert model.surgery.kept
    backbone = mots.create_model(NAME, True, num_classes=0)
    state = mots.MOTSBackbone.from_pretrained(NAME).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    whole = mots.create_model(NAME, True).state_dict()
    assert all(
        torch.equal(value, whole[name]) for name, value in mots.load(NAME).state_dict().items()
    )


def test_without_pretrained_the_same_network_is_random():
    model, other = mots.create_model(NAME), mots.load(NAME)
    assert other.config.thresholds
    assert model.config == other.config.untrained
    assert model.training
    assert not torch.equal(next(model.parameters()), next(other.parameters()))
    with torch.device("meta"):
        assert isinstance(mots.create_model("dodnet.mots_conference"), ConferenceDoDNet)
        paper = mots.create_model("transdodnet.mots")
        counted = mots.create_model("dodnet.mots")
    assert sum(p.numel() for p in paper.parameters()) == 39_049_941
    assert sum(p.numel() for p in counted.parameters()) == 35_313_472
    assert mots.create_model(NAME, in_chans=2, num_classes=3).config.encoder.in_channels == 2
    assert mots.create_model(NAME, features_only=True).training


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"out_indices": (0,)}, "give features_only=True"),
        ({"in_chans": 4}, "give num_classes"),
        ({"features_only": True, "out_indices": (9,)}, "numbers of maps, 0 to 8"),
        ({"num_classes": 1}, "must be at least 2"),
        ({"channel_init": "frist"}, "channel_init must be one of random, first"),
        ({"num_classes": 3, "channel_init": "frist"}, "not 'frist'"),
    ],
)
def test_arguments_that_contradict_each_other(options, told):
    with pytest.raises(ValueError, match=told):
        mots.create_model(NAME, **options)


def test_a_new_classifier_where_the_network_is(tmp_path):
    model = build(small("segmenter", class_values=((7,), (3,)))).double()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    model.reset_classifier(5)
    assert model.num_classes == 5
    assert model.config.classes == ("class_1", "class_2", "class_3", "class_4")
    out = model(torch.randn(1, 1, *SIZE, dtype=torch.float64))
    assert (out.shape[1], out.dtype) == (5, torch.float64)
    assert all(
        torch.equal(before[name], value) for name, value in model.backbone.state_dict().items()
    )
    model.reset_classifier(classes=["aorta"])
    model.save_pretrained(tmp_path / "m")
    assert mots.load(tmp_path / "m").config.classes == ("aorta",)
    with pytest.raises(ValueError, match="at least 2"):
        model.reset_classifier(0)


def test_preprocessing_by_name_and_of_a_network(tmp_path):
    array = np.random.default_rng(0).integers(-900, 900, (9, 20, 30)).astype("int16")
    path = tmp_path / "ct.nii.gz"
    write_like(path, array, Volume.with_spacing(array, (5, 3, 2)), dtype="int16")
    prepare = mots.get_preprocessing(NAME)
    expected = preprocess(read_volume(path), prepare.contract)
    for scan in (path, str(path), [path], read_volume(path)):
        assert np.array_equal(prepare(scan).numpy(), expected)
    net = mots.create_model(NAME, features_only=True)
    assert mots.get_preprocessing(net) == prepare == MakeInput(mots.load(NAME).config.preprocessing)
    four = mots.create_model(NAME, in_chans=4, num_classes=2)
    assert mots.get_preprocessing(four).contract.intensity == "zscore"


def test_workers_compute_what_the_process_itself_does(tmp_path):
    paths = []
    for number in range(2):
        array = np.random.default_rng(number).integers(-900, 900, (20, 40, 70)).astype("int16")
        paths.append(tmp_path / f"{number}.nii.gz")
        write_like(paths[-1], array, Volume.with_spacing(array, (4, 3, 3)), dtype="int16")
    scans = ScanSet(paths, mots.create_model(NAME, True, features_only=True, out_indices=(0,)))
    loader = torch.utils.data.DataLoader(
        scans, batch_size=None, num_workers=1, multiprocessing_context="spawn"
    )
    for found, expected in zip(loader, scans, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


KINDS = {
    "features": {"features_only": True, "out_indices": (0, 7)},
    "segmenter": {"num_classes": 3},
    "backbone": {"num_classes": 0},
    "whole": {},
}


def values(out: object) -> list[torch.Tensor]:
    if isinstance(out, torch.Tensor):
        return [out]
    return [*out] if isinstance(out, list) else [out.decoder]


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_compute_the_same(kind):
    net = mots.create_model(NAME, True, **KINDS[kind]).eval()
    image = torch.randn(1, 1, *SIZE)
    with torch.no_grad():
        expected = values(net(image))
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            for found, own in zip(values(other(image)), expected, strict=True):
                torch.testing.assert_close(found, own, rtol=0, atol=1e-5)


def test_weights_of_wrapped_networks_load_and_are_saved_under_their_own_names(tmp_path):
    net = build(small("segmenter"))
    state = net.state_dict()
    whole, part = torch.compile(copy.deepcopy(net)), copy.deepcopy(net)
    part.backbone = torch.compile(part.backbone)
    wrapped = [torch.nn.DataParallel(net), whole, part, torch.nn.DataParallel(part)]
    for number, other in enumerate(wrapped):
        assert {*other.state_dict()} != {*state}
        fresh = build(small("segmenter"))
        fresh.load_state_dict(other.state_dict())
        again = Segmenter.from_state(net.config, other.state_dict())
        folder = tmp_path / str(number)
        if hasattr(other, "save_pretrained"):
            other.save_pretrained(folder)
        else:
            other.module.save_pretrained(folder)
        for found in (fresh, again, mots.load(folder)):
            assert all(torch.equal(value, state[n]) for n, value in found.state_dict().items())
    part.load_state_dict({name: value + 1 for name, value in state.items()})
    assert torch.equal(part.state_dict()["head.bias"], state["head.bias"] + 1)
    assert "backbone._orig_mod.encoder.stem.0.weight" in part.state_dict()
    with pytest.raises(RuntimeError, match="Missing key"):
        part.load_state_dict({"module.head.bias": state["head.bias"]})


COMPILE = """
import json, sys, torch
import mots_pretrained as mots

image = torch.randn(1, 1, 16, 32, 64)
for kind, options in json.loads(sys.argv[1]).items():
    net = mots.create_model("transdodnet.phantom", True, **options).eval()
    values = lambda out: [out] if torch.is_tensor(out) else getattr(out, "stages", out)
    with torch.no_grad():
        own = values(net(image))
        compiled = torch.compile(net, fullgraph=True, backend="eager")
        exported = torch.export.export(net, (image,)).module()
        for found in (values(compiled(image)), values(exported(image))):
            assert len(found) == len(own)
            for one, other in zip(found, own):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    torch._dynamo.reset()
print("done")
"""


@pytest.mark.long
def test_all_of_them_compile_and_are_exported():
    """In a process of its own: shapes are not checked there, which would break the graph."""
    words = [sys.executable, "-c", COMPILE, json.dumps(KINDS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == "done", done.stderr[-2000:]
