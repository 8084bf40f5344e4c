"""One query more: old outputs to the bit, a file of a few kilobytes, refused elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_networks import SIZE, TRANSFORMER, small

import mots_pretrained as mots
from mots_pretrained.adaptation.extended import ExtendedTransDoDNet
from mots_pretrained.adaptation.new_task import add_task, load_task
from mots_pretrained.batch import Batch
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.outputs import save_prediction
from mots_pretrained.methods.dodnet import DoDNet
from mots_pretrained.methods.transdodnet import TransDoDNet
from mots_pretrained.tasks import MOTS_TASKS

OLD = [task.name for task in MOTS_TASKS]
X = torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))


def network(seed: int = 0, **changes) -> TransDoDNet:
    torch.manual_seed(seed)
    transformer = dataclasses.replace(TRANSFORMER, **changes)
    return TransDoDNet(small("transdodnet", transformer=transformer)).eval()


def learned(net: ExtendedTransDoDNet, name: str = "aorta", steps: int = 3) -> ExtendedTransDoDNet:
    """Train an added task a little, in training mode, on noise."""
    index = [task.name for task in net.config.tasks].index(name)
    batch = Batch(
        image=X,
        target=(torch.rand(1, 2, *SIZE) > 0.5).float(),
        labelled=torch.tensor([[True, False]]),
        task=torch.tensor([index]),
    )
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 0.1)
    net.train()
    for _ in range(steps):
        optimizer.zero_grad()
        net.loss(batch).total.backward()
        optimizer.step()
    return net.eval()


@pytest.mark.parametrize("changes", [{}, {"pre_norm": True, "decoder_layers": 2}])
@torch.no_grad()
def test_old_tasks_are_bit_identical_after_a_new_one_is_learned(changes: dict) -> None:
    net = network(**changes)
    questions = (None, OLD, ["liver"], ["spleen", "liver"], ["colon", "kidney", "lung"])
    before = [net(X, tasks) for tasks in questions]
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.enable_grad():
        extended = learned(add_task(net, "aorta", rank=2))
    for tasks, logits in zip(questions, before, strict=True):
        names = OLD if tasks is None else tasks
        assert torch.equal(net(X, tasks), logits)
        assert torch.equal(extended(X, names), logits)
        both = extended(X, [names[0], "aorta", *names[1:]])
        assert torch.equal(both[:, [0, *range(2, len(names) + 1)]], logits)
    assert torch.equal(extended(X)[:, :-1], before[0])
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())


@torch.no_grad()
def test_a_new_task_starts_as_another_and_then_learns() -> None:
    net = network()
    extended = add_task(net, "aorta", like="spleen")
    # Only the mask tells its query from the spleen's: it sees itself besides.
    assert torch.equal(extended.added[0].embedding[0], net.organ_decoder.embedding[6])
    assert torch.equal(extended.added[0].initial[0], net.organ_decoder.initial[6])
    assert not torch.equal(extended(X, ["aorta"]), net(X, ["spleen"]))
    first = extended(X, ["aorta"])
    with torch.enable_grad():
        learned(extended)
    assert not torch.equal(extended(X, ["aorta"]), first)


def test_only_the_new_task_learns() -> None:
    net = network()
    extended = add_task(net, "aorta", rank=2)
    names = {name for name, p in extended.named_parameters() if p.requires_grad}
    assert names == {f"added.0.{part}" for part in ("embedding", "initial", "row", "down", "up")}
    image = X.clone().requires_grad_()
    extended.task_logits(image, torch.tensor([[7, 0]])).sum().backward()
    assert image.grad is None  # nothing is computed backwards through the frozen network
    for name in names:
        assert extended.get_parameter(name).grad is not None
    extended.train()
    assert not any(m.training for m in extended.backbone.modules())
    further = add_task(extended, "stomach")
    learning = {name.split(".")[1] for name, p in further.named_parameters() if p.requires_grad}
    assert learning == {"1"}


def test_training_sees_what_inference_gives() -> None:
    extended = learned(add_task(network(), "aorta"))
    asked = extended.task_logits(X, torch.tensor([[7, 2]]))
    torch.testing.assert_close(asked, extended(X, ["aorta", "hepatic_vessel"]), rtol=0, atol=1e-4)


@torch.no_grad()
def test_added_tasks_do_not_touch_each_other(tmp_path: Path) -> None:
    net = network()
    with torch.enable_grad():
        aorta = learned(add_task(net, "aorta"))
        aorta.save_task("aorta", tmp_path / "aorta.safetensors")
        stomach = learned(add_task(net, "stomach", rank=1, row=False), "stomach", steps=4)
        stomach.save_task("stomach", tmp_path / "stomach.safetensors")
    for order in (("aorta", "stomach"), ("stomach", "aorta")):
        both = net
        for name in order:
            both = load_task(both, tmp_path / f"{name}.safetensors")
        assert [task.name for task in both.config.tasks] == [*OLD, *order]
        assert torch.equal(both(X, ["aorta"]), aorta(X, ["aorta"]))
        assert torch.equal(both(X, ["stomach"]), stomach(X, ["stomach"]))
        assert torch.equal(both(X, OLD), net(X))


@pytest.mark.parametrize("arguments", [{}, {"rank": 3}, {"row": False}])
@torch.no_grad()
def test_a_task_comes_back_as_it_was(tmp_path: Path, arguments: dict) -> None:
    with torch.enable_grad():
        net = learned(add_task(network(), "aorta", organ="aorta", tumour="clot", **arguments))
    path = net.save_task("aorta", tmp_path / "new" / "aorta.safetensors")
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    back = load_task(network(), path)  # the same seed, the same weights
    assert back.config == net.config
    assert back.config.tasks[-1].tumour_values == (2,)
    assert torch.equal(back(X), net(X))


@torch.no_grad()
def test_a_paper_sized_task_is_a_file_of_a_few_kilobytes(tmp_path: Path) -> None:
    config = mots.ModelConfig()
    assert config.transformer is not None
    wide = small("transdodnet", transformer=dataclasses.replace(config.transformer, feedforward=16))
    net = add_task(TransDoDNet(wide), "aorta", rank=4)
    assert net.save_task("aorta", tmp_path / "a").stat().st_size < 10_000
    assert add_task(net, "b").save_task("b", tmp_path / "b").stat().st_size < 4_000


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = add_task(network(), "aorta").save_task("aorta", tmp_path / "aorta.safetensors")
    other = network()
    with torch.no_grad():
        other.backbone.encoder.stem[0].weight[0, 0, 0, 0, 0] += 1e-3
    with pytest.raises(ValueError, match="was learned on weights with SHA-256"):
        load_task(other, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: m.update(format_version="2"), "format_version 2, this package reads up to 1"),
        (lambda m, t: m.update(kind="lora"), "holds no task"),
        (lambda m, t: m.update(facts="[1]"), "does not say what it holds"),
        (lambda m, t: m.update(facts='{"name": 3}'), "name must be str"),
        (lambda m, t: m.update(facts='{"name": "a", "organ": null, "tumour": null}'), "need names"),
        (
            lambda m, t: m.update(facts='{"name": "../a", "organ": "b", "tumour": null}'),
            "not allowed",
        ),
        (lambda m, t: t.pop("initial"), "1 missing .initial."),
        (lambda m, t: t.update(row=torch.zeros(3)), "1 of another shape .row"),
        (lambda m, t: t.update(down=torch.zeros(500, 12)), "rank 500"),
    ],
)
def test_a_strange_file_is_refused(tmp_path: Path, change, message: str) -> None:
    net, path = network(), tmp_path / "aorta.safetensors"
    add_task(net, "aorta").save_task("aorta", path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    change(metadata, tensors)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match=message):
        load_task(net, path)


def test_no_file_and_no_safetensors_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_task(network(), tmp_path / "none")
    (tmp_path / "text").write_text("aorta")
    with pytest.raises(ValueError, match="no readable safetensors file"):
        load_task(network(), tmp_path / "text")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "liver"}, ValueError, "has 'liver' already"),
        ({"name": "a", "organ": "spleen"}, ValueError, "has 'spleen' already"),
        ({"name": ""}, ValueError, "not allowed as a name"),
        ({"name": "a", "organ": "b", "tumour": "b"}, ValueError, "not both 'b'"),
        ({"name": "a", "rank": -1}, ValueError, "rank must be 0 to 162, not -1"),
        ({"name": "a", "like": "heart"}, KeyError, "unknown task 'heart'; this model has: liver"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        add_task(network(), **arguments)


def test_only_networks_with_queries_are_extended() -> None:
    with pytest.raises(ValueError, match="not to a DoDNet"):
        add_task(DoDNet(small("dodnet")), "aorta")


def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    net = add_task(network(), "aorta")
    with pytest.raises(ValueError, match="save_task"):
        net.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="save_task"):
        net.push_to_hub("a/b")
    with pytest.raises(KeyError, match="no task 'liver' was added here; added were: aorta"):
        net.save_task("liver", tmp_path / "x")
    with pytest.raises(KeyError, match="'aorta' was added itself"):
        add_task(net, "stomach", like="aorta")
    with pytest.raises(KeyError, match=r"unknown task 'heart'; this model has: .*, aorta"):
        net(X, ["heart"])


def test_a_tumour_alone_is_the_first_value() -> None:
    task = add_task(network(), "bone", tumour="metastasis").config.tasks[-1]
    assert task.labelled == (False, True)
    assert task.tumour_values == (1,)


def test_the_predictor_gives_the_new_organ_the_next_value(tmp_path: Path) -> None:
    net = network()
    extended = add_task(net, "aorta")
    with torch.no_grad():
        extended.added[0].row[-2] = 1e4  # the bias of the organ's logit: everything is aorta
    rng = np.random.default_rng(0)
    scan = Volume.with_spacing(rng.normal(0, 100, (20, 30, 40)).astype(np.float32), (6, 4, 4))
    old, new = mots.Predictor(net)(scan), mots.Predictor(extended)(scan)
    assert new.values == {**old.values, "aorta": 12}
    for name in old.names:
        assert np.array_equal(old.mask(name), new.mask(name))
    assert new.mask("aorta").all()
    report = save_prediction(new, tmp_path)
    assert report["labels"]["aorta"] == 12
    assert json.loads((tmp_path / "labels.json").read_text())["aorta"] == 12
    assert report["mask_volumes_ml"]["aorta"] > 0
    alone = mots.Predictor(extended, tasks=["aorta"])(scan)
    assert set(np.unique(alone.labels)) == {12}
