"""Pretraining: what is learnt and left, from where it goes on, and killed runs that go on."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from prepared_folder import write_prepared
from torso_once import torso_once

from mots_pretrained.methods import METHODS
from mots_pretrained.training import presets, sources
from mots_pretrained.training.pretrain_mots import Run, optimizer_of, pretrain
from mots_pretrained.training.pretraining import Pretraining
from mots_pretrained.training.recipes import RECIPES, Recipe
from mots_pretrained.training.sources import Phantoms, Prepared
from mots_pretrained.weights.provenance import TrainingScans, read_training_scans

HERE = Run(workers=0)


@pytest.fixture(autouse=True)
def _phantoms_made_once(monkeypatch):
    monkeypatch.setattr(sources, "torso", torso_once)


@pytest.fixture
def tiny_size(tiny, monkeypatch):
    monkeypatch.setitem(presets.SIZES, "tiny", presets.Size(tiny, "small"))
    return "tiny"


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared")
    write_prepared(path, tiny.preprocessing, dict.fromkeys(("liver", "spleen", "colon"), 3))
    return Prepared(str(path))


def settings_of(size, *, data=None, **changes):
    recipe = replace(RECIPES["small"], **{"rate": 3e-3, "ema": 0.9, **changes})
    return Pretraining(size=size, recipe=recipe, data=data or Phantoms(randomise=0))


def test_it_learns_and_leaves_a_folder_that_loads(tiny_size, tmp_path):
    data = Phantoms(randomise=0, patches_per_case=8)
    settings = settings_of(tiny_size, data=data, steps=30)
    seen = []
    net = pretrain(tmp_path, settings, replace(HERE, half=True), on_log=seen.append)
    assert seen[-1].losses["total"] < 0.85 * seen[0].losses["total"]
    assert seen[-1].rate < 0.1 * seen[0].rate
    loaded = METHODS["transdodnet"].from_pretrained(tmp_path)
    assert loaded.config == net.config
    for name, value in net.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.half().float())
    record = json.loads((tmp_path / "training.json").read_text())
    assert (record["steps_done"], record["complete"]) == (30, True)
    assert record["settings"]["seed"] == 0
    assert record["settings"]["recipe"]["rate"] == 3e-3
    assert (record["data"], record["scans"], record["start"]) == ("phantoms", 920, None)
    assert read_training_scans(tmp_path) == TrainingScans()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + 3


def test_a_folder_is_not_overwritten_and_other_settings_do_not_resume(tiny_size, folder, tmp_path):
    settings = settings_of(tiny_size, data=folder, steps=40)
    pretrain(tmp_path, settings, replace(HERE, max_minutes=1e-9))
    record = json.loads((tmp_path / "training.json").read_text())
    assert (record["steps_done"], record["complete"]) == (10, False)
    with pytest.raises(ValueError, match="holds a training already"):
        pretrain(tmp_path, settings, HERE)
    other = dataclasses.replace(settings, seed=1)
    with pytest.raises(ValueError, match='there "seed": 0, here "seed": 1'):
        pretrain(tmp_path, other, replace(HERE, resume=True))


def test_how_steps_are_shared_matters_to_no_resumption_but_their_size(tiny_size, folder, tmp_path):
    settings = replace(settings_of(tiny_size, data=folder, steps=20), accumulate=2)
    pretrain(tmp_path, settings, replace(HERE, max_minutes=1e-9))
    with pytest.raises(ValueError, match=r"there .micro-batches a step.: 2, here .*: 1"):
        pretrain(tmp_path, replace(settings, accumulate=1), replace(HERE, resume=True))


def test_it_goes_on_from_weights(tiny_size, folder, tmp_path):
    first = replace(settings_of(tiny_size, data=folder, steps=2), tasks=("liver", "spleen"))
    net = pretrain(tmp_path / "first", first, HERE)
    told = []
    second = replace(
        settings_of(tiny_size, data=folder, steps=1, rate=1e-9, weight_decay=0.0, ema=None),
        tasks=("liver", "colon"),
        start=str(tmp_path / "first"),
    )
    more = pretrain(tmp_path / "second", second, HERE, on_start=told.append)
    assert [task.name for task in more.config.tasks] == ["liver", "spleen", "colon"]
    assert {*told[0].widened} == {"organ_decoder.embedding", "organ_decoder.initial"}
    assert told[0].made == ()
    for name, value in net.state_dict().items():
        grown = more.state_dict()[name][tuple(slice(size) for size in value.shape)]
        torch.testing.assert_close(grown, value, rtol=0, atol=1e-6)
    record = json.loads((tmp_path / "second" / "training.json").read_text())
    assert record["start"]["from"] == str(tmp_path / "first")
    assert len(record["start"]["kept"]) == len(net.state_dict()) - 2
    assert record["tasks"] == ["liver", "colon"]
    seen = [{*read_training_scans(tmp_path / name).scans.values()} for name in ("first", "second")]
    named = [{name.split("/")[0] for name in names} for names in seen]
    assert named == [{"liver", "spleen"}, {"liver", "spleen", "colon"}]
    assert seen[0] < seen[1]


def test_one_task_alone_is_a_network_of_one_query(tiny_size, folder, tmp_path):
    settings = replace(settings_of(tiny_size, data=folder, steps=1), tasks=("spleen",))
    net = pretrain(tmp_path, settings, HERE)
    assert [task.name for task in net.config.tasks] == ["spleen"]
    assert net.organ_decoder.embedding.shape[0] == 1


def test_the_transformer_may_have_a_rate_of_its_own(tiny):
    net = METHODS["transdodnet"](tiny)
    groups = optimizer_of(net, Recipe(1e-3, steps=1, transformer_rate=1e-4)).param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-4]
    own = {id(p) for p in groups[1]["params"]}
    named = {name for name, p in net.named_parameters() if id(p) in own}
    assert named == {
        name
        for name, _ in net.named_parameters()
        if name.startswith(("backbone.transformer.", "organ_decoder."))
    }
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    assert {group["weight_decay"] for group in groups} == {1e-4}
    assert len(optimizer_of(net, Recipe(1e-3, steps=1)).param_groups) == 1


SCRIPT = """
import sys, torch
from mots_pretrained.config import ModelConfig
from mots_pretrained.training import presets
from mots_pretrained.training.pretrain_mots import Run, pretrain
from mots_pretrained.training.pretraining import Pretraining
from mots_pretrained.training.recipes import Recipe
if __name__ == "__main__":
    config, folder = sys.argv[1:]
    torch.set_num_threads(1)
    presets.SIZES["tiny"] = presets.Size(ModelConfig.from_json(open(config).read()), "small")
    pretrain(folder, Pretraining(size="tiny", recipe=Recipe(3e-3, steps=60, ema=0.99)),
             Run(resume=True, checkpoint_minutes=0),
             on_log=lambda now: print(now.step, flush=True))
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
