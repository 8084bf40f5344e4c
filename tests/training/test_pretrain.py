"""Pretraining: what is learnt and left, from where it goes on, and killed runs that go on."""

import dataclasses
import json
from dataclasses import replace

import pytest
import torch
from killed_trainings import whole_and_killed
from prepared_folder import write_prepared
from small_networks import small
from torso_once import torso_once

from mots_pretrained.config import SeenVolume
from mots_pretrained.data.augment import Augmentation
from mots_pretrained.errors import UserError
from mots_pretrained.methods import METHODS
from mots_pretrained.networks import build
from mots_pretrained.tasks import MOTS_TASKS, Task
from mots_pretrained.training import phantoms as phantom_supply
from mots_pretrained.training.phantoms import phantoms
from mots_pretrained.training.pretrain import (
    carry,
    groups_of,
    mirroring,
    network_from,
    network_of,
    patches,
    pretrain,
)
from mots_pretrained.training.recipe import Recipe, Run
from mots_pretrained.weights.provenance import TrainingScans, read_training_scans

LIVER, KIDNEY, SPLEEN = MOTS_TASKS[0], MOTS_TASKS[1], MOTS_TASKS[6]
GALLBLADDER = Task("gallbladder", "gallbladder", None)
LUNGS = (Task("left_lung", "left_lung", None), Task("right_lung", "right_lung", None))
SEEN = tuple(  # boxes of 20 and 12 voxels a side, of 12 mm; two of three cases train
    SeenVolume(name, volume, volume, 2, 0)
    for name, volume in (
        ("liver", 13824.0), ("liver_tumour", 2985.984), ("colon_tumour", 2985.984),
        ("spleen", 13824.0),
    )
)  # fmt: skip


@pytest.fixture(autouse=True)
def _phantoms_made_once(monkeypatch):
    monkeypatch.setattr(phantom_supply, "torso", torso_once)


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared")
    write_prepared(path, tiny.preprocessing, dict.fromkeys(("liver", "spleen", "colon"), 3))
    return path


@pytest.fixture
def recipe(tiny):
    return Recipe(network=tiny, steps=20, rate=3e-3, ema=0.9)


def test_it_learns_and_leaves_a_folder_that_loads(recipe, tmp_path):
    seen, told = [], []
    recipe = replace(recipe, steps=30, randomise=0.0, patches_per_case=8, half=True)
    run = Run(on_log=seen.append, say=told.append)
    net = pretrain(tmp_path, recipe, run=run)
    assert seen[-1].losses["total"] < 0.85 * seen[0].losses["total"]
    assert seen[-1].rate < 0.1 * seen[0].rate
    assert told == ["Training on phantoms, 30 steps on cpu"]
    loaded = METHODS["transdodnet"].from_pretrained(tmp_path)
    assert loaded.config == net.config
    assert all(p.requires_grad for p in net.parameters())
    for name, value in net.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.half().float())
    record = json.loads((tmp_path / "training.json").read_text())
    assert (record["steps_done"], record["complete"]) == (30, True)
    assert (record["recipe"]["seed"], record["recipe"]["rate"]) == (0, 3e-3)
    assert record["ema_reached"] == pytest.approx(30 / 39, abs=1e-6)  # of 0.9: so few steps
    assert (record["data"], record["scans"], record["start"]) == ("phantoms", 920, None)
    assert read_training_scans(tmp_path) == TrainingScans()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + 3
    assert {path.name for path in tmp_path.iterdir()} == {
        ".lock", "README.md", "config.json", "log.csv", "model.safetensors", "training.json",
        "training_scans.json",
    }  # fmt: skip


def test_a_finished_training_is_never_overwritten(recipe, folder, tmp_path):
    """Nor trained again by --resume: it is there; and of other settings it is refused."""
    recipe = replace(recipe, steps=1)
    net = pretrain(tmp_path, recipe, data=folder)
    assert net.config.seen_volumes == SEEN
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(UserError, match="holds a finished training; choose another folder"):
        pretrain(tmp_path, recipe, data=folder)
    again = pretrain(tmp_path, recipe, data=folder, run=Run(resume=True))
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before
    assert torch.equal(next(again.parameters()), next(net.parameters()))
    with pytest.raises(UserError, match=r"with rate 0\.003, asked for is 0\.002"):
        pretrain(tmp_path, replace(recipe, rate=2e-3), data=folder, run=Run(resume=True))
    build(small("segmenter")).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="which is of no training that can be"):
        pretrain(tmp_path / "other", recipe, data=folder, run=Run(resume=True))


@pytest.mark.filterwarnings("ignore:the training of .* was stopped")  # which start names, too
def test_other_settings_do_not_resume(recipe, folder, tmp_path):
    pretrain(tmp_path, recipe, data=folder, run=Run(max_minutes=1e-9))
    record = json.loads((tmp_path / "training.json").read_text())
    assert (record["steps_done"], record["complete"]) == (10, False)
    with pytest.raises(UserError, match="holds an unfinished training; continue it with --resume"):
        pretrain(tmp_path, recipe, data=folder)
    for changes, what in (
        ({"seed": 1}, "seed 0, asked for is 1"),
        ({"accumulate": 2}, "accumulate 1, asked for is 2"),
        ({"start": str(tmp_path)}, "start null, asked for is "),
        ({"tasks": ("liver",)}, "tasks"),
    ):
        with pytest.raises(UserError, match=what):
            pretrain(tmp_path, replace(recipe, **changes), data=folder, run=Run(resume=True))
    assert json.loads((tmp_path / "training.json").read_text()) == record


def test_it_goes_on_from_weights(recipe, folder, tmp_path):
    first = replace(recipe, steps=2, tasks=("liver", "spleen"))
    net = pretrain(tmp_path / "first", first, data=folder)
    told = []
    second = replace(recipe, steps=1, rate=1e-9, weight_decay=0.0, ema=None, network=None,
                     tasks=("liver", "colon"), start=str(tmp_path / "first"))  # fmt: skip
    more = pretrain(tmp_path / "second", second, data=folder, run=Run(say=told.append))
    assert [task.name for task in more.config.tasks] == ["liver", "spleen", "colon"]
    assert "2 widened (organ_decoder.embedding, organ_decoder.initial), 0 made new" in told[0]
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


def test_an_epoch_passes_over_all_cases_with_the_patches_that_each_gives(recipe, folder, tmp_path):
    """Six cases train."""
    for each, steps in ((None, 3), (4, 12)):
        told = []
        longer = replace(recipe, steps=None, epochs=1, patches_per_case=each, batch=2)
        pretrain(tmp_path / str(each), longer, data=folder, run=Run(say=told.append))
        assert f", {steps} steps on cpu" in told[0]


def test_one_task_alone_is_a_network_of_one_query(recipe, folder, tmp_path):
    net = pretrain(tmp_path, replace(recipe, steps=1, tasks=("spleen",)), data=folder)
    assert [task.name for task in net.config.tasks] == ["spleen"]
    assert net.organ_decoder.embedding.shape[0] == 1


def test_the_transformer_may_have_a_rate_of_its_own(tiny):
    net = METHODS["transdodnet"](tiny)
    groups = groups_of(net, Recipe(rate=1e-3, steps=1, transformer_rate=1e-4))
    assert [group["lr"] for group in groups] == [1e-3, 1e-4]
    own = {id(p) for p in groups[1]["params"]}
    named = {name for name, p in net.named_parameters() if id(p) in own}
    assert named == {
        name
        for name, _ in net.named_parameters()
        if name.startswith(("backbone.transformer.", "organ_decoder."))
    }
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    assert groups_of(net, Recipe(steps=1)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freeze": ("encoder",)}, "freeze has no part in pretraining"),
        ({"folds": 5}, "folds has no part in pretraining"),
        ({"ablation": True}, "ablation has no part in a training on phantoms; give data by -i"),
        ({"balance": "balanced"}, "balance has no part in a training on phantoms"),
        ({"tasks": ("lungs",)}, "unknown task 'lungs'"),
        ({"start": "nothing.such"}, "nothing.such"),
        ({"warm_up": 20}, "warm_up must be 0 to 19 of 20 epochs"),
    ],
)
def test_what_can_not_be_trained_leaves_nothing(recipe, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        pretrain(tmp_path / "out", replace(recipe, **changes))
    assert not (tmp_path / "out").exists() or "warm_up" in changes


def test_fields_of_phantoms_are_refused_on_data(recipe, folder, tmp_path):
    for changes in ({"labels": "complete"}, {"phantoms": 3}, {"randomise": 0.0}):
        with pytest.raises(UserError, match="has no part in a training on data; leave -i out"):
            pretrain(tmp_path / "out", replace(recipe, **changes), data=folder)


@pytest.mark.parametrize("labels", ["partial", "complete"])
def test_the_network_takes_the_stream(recipe, labels, tmp_path):
    recipe = replace(recipe, labels=labels, randomise=0.0)
    supply = phantoms(recipe, tmp_path)
    net, carried = network_of(recipe, supply.tasks)
    assert carried is None
    loss = net.loss(next(patches(recipe, supply, net.config).batches(2))).total
    loss.backward()
    assert loss.isfinite()


def test_the_seed_makes_the_weights(recipe):
    nets = [network_of(replace(recipe, seed=seed), MOTS_TASKS)[0] for seed in (0, 0, 1)]
    first, same, other = (net.head.state_dict() | net.organ_decoder.state_dict() for net in nets)
    assert all((first[key] == same[key]).all() for key in first)
    assert (first["embedding"] != other["embedding"]).any()


def test_sides_are_mirrored_only_where_each_has_its_counterpart():
    everything = Augmentation(mirror=(0, 1, 2))
    assert mirroring(everything, MOTS_TASKS) == (everything, tuple(range(7)))
    assert mirroring(everything, LUNGS) == (everything, (1, 0))
    kept, sides = mirroring(everything, LUNGS[:1])
    assert (kept.mirror, sides) == ((0, 1), None)
    assert mirroring(None, LUNGS[:1]) == (None, None)


def saved(folder, architecture="transdodnet", tasks=(LIVER, SPLEEN)):
    net = METHODS[architecture](small(architecture, tasks=tasks))
    net.save_pretrained(folder)
    return net


@pytest.mark.parametrize("architecture", ["transdodnet", "dodnet"])
def test_old_tasks_keep_their_places_and_weights(tmp_path, architecture):
    old = saved(tmp_path, architecture)
    new, carried = network_from(str(tmp_path), (SPLEEN, KIDNEY, GALLBLADDER))
    names = [task.name for task in new.config.tasks]
    assert names == ["liver", "spleen", "kidney", "gallbladder"]
    assert carried.made == ()
    assert {*carried.kept} | {*carried.widened} == {*old.state_dict()}
    for key, value in old.state_dict().items():
        now = new.state_dict()[key]
        assert (now.shape == value.shape) == (key in carried.kept)
        torch.testing.assert_close(now[tuple(map(slice, value.shape))], value, rtol=0, atol=0)
    assert "widened" in str(carried)


def test_dodnets_old_tasks_answer_as_before(tmp_path):
    """Its tasks do not see each other, so a further one changes nothing."""
    old = saved(tmp_path, "dodnet").eval()
    new, _ = network_from(str(tmp_path), (GALLBLADDER,))
    image = torch.rand(1, 1, 16, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = (net(image, ["liver", "spleen"]) for net in (old, new.eval()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_thresholds_end_with_the_weights_that_they_are_of(tmp_path):
    old = saved(tmp_path)
    config = dataclasses.replace(old.config, thresholds={"liver_tumour": 0.99})
    METHODS["transdodnet"](config).save_pretrained(tmp_path)
    new, _ = network_from(str(tmp_path), (LIVER,))
    assert new.config == old.config


def test_the_same_tasks_give_the_same_network(tmp_path):
    old = saved(tmp_path)
    new, carried = network_from(str(tmp_path), (LIVER,))
    assert new.config == old.config
    assert (len(carried.kept), carried.widened) == (len(old.state_dict()), ())


def test_what_does_not_go_is_told(tmp_path):
    saved(tmp_path / "method")
    other = dataclasses.replace(SPLEEN, tumour="spleen_tumour")
    with pytest.raises(ValueError, match="'spleen' labels spleen and spleen_tumour here and sple"):
        network_from(str(tmp_path / "method"), (other,))
    build(small("segmenter")).save_pretrained(tmp_path / "segmenter")
    with pytest.raises(ValueError, match="is a segmenter, which pretraining can't go on from"):
        network_from(str(tmp_path / "segmenter"), (LIVER,))
    net = METHODS["transdodnet"](small("transdodnet"))
    for state in ({"strange": torch.zeros(2)}, {"organ_decoder.embedding": torch.zeros(9, 12)}):
        with pytest.raises(ValueError, match="weights hold"):
            carry(net, state)


SCRIPT = """
import sys, torch
from mots_pretrained.config import ModelConfig
from mots_pretrained.training.machine import prepare_machine
from mots_pretrained.training.pretrain import pretrain
from mots_pretrained.training.recipe import Recipe, Run
if __name__ == "__main__":
    config, folder = sys.argv[1:]
    torch.set_num_threads(1)
    prepare_machine("cpu")
    network = ModelConfig.from_json(open(config).read())
    pretrain(folder, Recipe(network=network, rate=3e-3, steps=60, ema=0.99),
             run=Run(workers=1, resume=True, checkpoint_minutes=0,
                     on_log=lambda row: print(row.step, flush=True)))
"""


@pytest.mark.long
def test_killed_and_resumed_it_ends_with_the_same_bits(tiny, tmp_path):
    (tmp_path / "config.json").write_text(tiny.to_json())
    both = whole_and_killed(SCRIPT, tmp_path, tmp_path / "config.json")
    one, other = (folder / "model.safetensors" for folder in both)
    assert one.read_bytes() == other.read_bytes()
    logs = [(folder / "log.csv").read_text().splitlines() for folder in both]
    without_time = [[line.rsplit(",", 1)[0] for line in log] for log in logs]
    assert without_time[0] == without_time[1]
