"""Pretraining on phantoms: what a case shows, what is learnt, and killed runs that go on."""

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from mots_pretrained.methods import METHODS
from mots_pretrained.phantom import Phantom, torso
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.tasks import MOTS_TASKS
from mots_pretrained.training import presets, pretrain_mots
from mots_pretrained.training.pretrain_mots import (
    Pretraining,
    TorsoSource,
    phantom_stream,
    pretrain,
    steps_of,
)


@functools.cache
def _torso(seed, **options):
    return torso(seed, **options)


@pytest.fixture(autouse=True)
def _phantoms_made_once(monkeypatch):
    monkeypatch.setattr(pretrain_mots, "torso", _torso)


@pytest.fixture
def tiny_size(tiny, monkeypatch):
    monkeypatch.setitem(presets.SIZES, "tiny", presets.Size(tiny, 3e-3))
    return "tiny"


def test_phantoms_show_their_own_collections_labels_in_turn(tiny):
    source = TorsoSource(tiny.preprocessing, randomise=0)
    for index, task in enumerate(MOTS_TASKS):
        case = source(index)
        assert (case.tasks, case.labelled) == ((index,), task.labelled)
        assert case.image.shape[1:] == case.target.shape[1:]
        assert len(case.target) == 2
        assert -1 <= case.image.min() < case.image.max() <= 1
        for channel, known in zip(case.target, task.labelled, strict=True):
            assert known or not channel.any()
    assert source(7).tasks == (0,)
    assert not np.array_equal(source(7).image, source(0).image)
    np.testing.assert_array_equal(source(3).image, source(3).image)


def test_complete_labels_show_all_tasks_but_what_no_collection_labels(tiny):
    case = TorsoSource(tiny.preprocessing, randomise=0, labels="complete")(0)
    assert case.tasks == tuple(range(7))
    assert case.labelled == tuple(known for task in MOTS_TASKS for known in task.labelled)
    liver, vessel, colon = case.target[0], case.target[4], case.target[8]
    assert liver.any()
    assert (vessel <= liver).all()
    assert not colon.any()


@pytest.mark.parametrize(("contrast", "asked"), [(10.0, False), (20.0, True)])
def test_vessels_that_do_not_show_are_not_asked_for(tiny, monkeypatch, contrast, asked):
    labels = np.full((16, 16, 16), LABEL["liver"], np.uint8)
    labels[:4] = LABEL["hepatic_vessel"]
    image = np.where(labels == LABEL["liver"], 80.0, 80.0 + contrast)
    made = Phantom(image, labels, (8.0, 8.0, 8.0), "liver")
    monkeypatch.setattr(pretrain_mots, "torso", lambda *_, **__: made)
    case = TorsoSource(tiny.preprocessing, labels="complete")(0)
    assert (case.labelled[4], case.target[4].any()) == (asked, asked)
    assert TorsoSource(tiny.preprocessing, labels="partial")(2).labelled[0]


@pytest.mark.parametrize("labels", ["partial", "complete"])
def test_the_network_takes_the_stream(tiny_size, labels):
    settings = Pretraining(size=tiny_size, labels=labels, randomise=0)
    batch = next(phantom_stream(settings).batches(2))
    loss = METHODS["transdodnet"](settings.config).loss(batch).total
    loss.backward()
    assert loss.isfinite()


def test_an_epoch_is_920_patches():
    assert steps_of(1000, 2) == 460_000
    assert (
        Pretraining(by_epoch=True).loop(checkpoint_minutes=1, max_minutes=None).steps_per_epoch
        == 460
    )


def test_it_learns_and_leaves_a_folder_that_loads(tiny_size, tmp_path):
    settings = Pretraining(size=tiny_size, steps=30, randomise=0, ema=0.9, patches_per_case=8)
    seen = []
    net = pretrain(tmp_path, settings, workers=0, half=True, on_log=seen.append)
    assert seen[-1].losses["total"] < 0.85 * seen[0].losses["total"]
    assert seen[-1].rate < 0.1 * seen[0].rate
    loaded = METHODS["transdodnet"].from_pretrained(tmp_path)
    assert loaded.config == net.config
    for name, value in net.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.half().float())
    record = json.loads((tmp_path / "training.json").read_text())
    assert (record["steps_done"], record["complete"]) == (30, True)
    assert record["settings"]["seed"] == 0
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + 3


def test_a_folder_is_not_overwritten_and_other_settings_do_not_resume(tiny_size, tmp_path):
    settings = Pretraining(size=tiny_size, steps=40, randomise=0)
    pretrain(tmp_path, settings, workers=0, max_minutes=1e-9)
    record = json.loads((tmp_path / "training.json").read_text())
    assert (record["steps_done"], record["complete"]) == (10, False)
    with pytest.raises(ValueError, match="holds a training already"):
        pretrain(tmp_path, settings, workers=0)
    other = dataclasses.replace(settings, seed=1)
    with pytest.raises(ValueError, match='there "seed": 0, here "seed": 1'):
        pretrain(tmp_path, other, workers=0, resume=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"randomise": 2}, "randomise must be 0 to 1, not 2"),
        ({"steps": 0}, "at least 1"),
        ({"rate": -1.0}, "learning rate"),
        ({"ema": 1.0}, "average"),
        ({"labels": "all"}, "unknown labels 'all'; allowed are partial, complete"),
        ({"precision": "float8"}, "unknown precision 'float8'; allowed are float32, bfloat16"),
    ],
)
def test_impossible_settings_are_told(values, message):
    with pytest.raises(ValueError, match=message):
        Pretraining(**values)


SCRIPT = """
import sys, torch
from mots_pretrained.config import ModelConfig
from mots_pretrained.training import presets
from mots_pretrained.training.pretrain_mots import Pretraining, pretrain
if __name__ == "__main__":
    config, folder = sys.argv[1:]
    torch.set_num_threads(1)
    presets.SIZES["tiny"] = presets.Size(ModelConfig.from_json(open(config).read()), 3e-3)
    pretrain(folder, Pretraining(size="tiny", steps=60), workers=1, resume=True,
             checkpoint_minutes=0, on_log=lambda now: print(now.step, flush=True))
"""


@pytest.mark.long
def test_killed_and_resumed_it_ends_with_the_same_bits(tiny, tmp_path):
    (tmp_path / "config.json").write_text(tiny.to_json())
    (tmp_path / "run.py").write_text(SCRIPT)

    def start(name):
        words = [sys.executable, tmp_path / "run.py", tmp_path / "config.json", tmp_path / name]
        return subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, text=True)

    whole = start("whole")
    assert whole.communicate()[0].split() == [str(step) for step in range(10, 61, 10)]
    for kill_after in ("20", "40"):
        killed = start("killed")
        for line in killed.stdout:
            if line.strip() == kill_after:
                break
        time.sleep(0.3)  # somewhere in the steps after it
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        killed.stdout.read()  # ends only once its worker processes, who inherited it, have ended
        killed.stdout.close()
    rest = start("killed")
    assert rest.communicate()[0].split()[-1] == "60"
    one, other = (tmp_path / name / "model.safetensors" for name in ("whole", "killed"))
    assert one.read_bytes() == other.read_bytes()
    logs = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("whole", "killed")]
    without_time = [[line.rsplit(",", 1)[0] for line in log] for log in logs]
    assert without_time[0] == without_time[1]
