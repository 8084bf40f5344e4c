"""What every method promises: tasks in, binary logits out, gradients only from labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import SIZE, SMALLEST, small
from torch.utils._python_dispatch import TorchDispatchMode

from mots_pretrained.batch import Batch
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.losses.dice_bce import Form
from mots_pretrained.methods import METHODS
from mots_pretrained.methods.base import Method
from mots_pretrained.networks import ARCHITECTURES, build, load
from mots_pretrained.published.conference import ConferenceDoDNet
from mots_pretrained.tasks import IGNORED, MOTS_TASKS, Task

ALL = {**METHODS, "dodnet_conference": ConferenceDoDNet}
BINARY = [name for name in ALL if name != "tal"]


@pytest.fixture(params=ALL)
def net(request: pytest.FixtureRequest) -> Method:
    torch.manual_seed(0)
    built = build(small(request.param)).eval()
    assert isinstance(built, Method)
    return built


@pytest.fixture
def image(net: Method) -> torch.Tensor:
    return random_image(SMALLEST.get(net.config.backbone, SIZE))


def random_image(size: tuple[int, int, int]) -> torch.Tensor:
    return torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1))


def test_every_method_is_built_from_a_configuration(net: Method) -> None:
    assert type(net) is ARCHITECTURES[net.config.architecture]


def test_all_tasks_by_default_at_the_images_resolution(net: Method, image: torch.Tensor) -> None:
    assert net(image).shape == (2, 7, 2, *image.shape[2:])


def test_requested_tasks_are_a_slice_of_all(net: Method, image: torch.Tensor) -> None:
    with torch.no_grad():
        every, some = net(image), net(image, tasks=["spleen", "liver"])
    torch.testing.assert_close(some, every[:, [6, 0]], rtol=0, atol=1e-5)


def test_task_logits_are_forwards_own(net: Method, image: torch.Tensor) -> None:
    task = torch.tensor([[6, 2], [3, 3]])
    with torch.no_grad():
        every, own = net(image), net.task_logits(image, task)
    for sample in range(2):
        for place in range(2):
            expected = every[sample, task[sample, place]]
            torch.testing.assert_close(own[sample, place], expected, rtol=0, atol=1e-5)


def test_samples_do_not_touch_each_other(net: Method, image: torch.Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(net(image)[1:], net(image[1:]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        (["liver", "brain"], KeyError, "unknown task 'brain'; this model has: liver, kidney"),
        ([], ValueError, "at least one of"),
        ("liver", ValueError, "must be a list"),
    ],
)
def test_wrong_tasks_are_named(
    net: Method, image: torch.Tensor, tasks: list[str], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        net(image, tasks=tasks)


def batch(image: torch.Tensor, labelled: list[list[bool]], task: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(2)
    target = (torch.rand(2, 2, *image.shape[2:], generator=generator) > 0.7).float()
    return Batch(image, target, torch.tensor(labelled), torch.tensor(task))


def test_an_unlabelled_channel_gives_exactly_no_gradient(net: Method, image: torch.Tensor) -> None:
    """Colon's organ and spleen's tumour: whatever the targets hold there, nothing changes."""
    known = [[False, True], [True, False]]
    first = batch(image, known, [4, 6])
    other = dataclasses.replace(first, target=first.target.clone())
    other.target[0, 0] = float("nan")
    other.target[1, 1] = 1 - other.target[1, 1]
    slopes = []
    for one in (first, other):
        net.zero_grad(set_to_none=True)
        loss = net.loss(one).total
        loss.backward()
        slopes.append([p.grad for p in net.parameters() if p.grad is not None] + [loss.detach()])
    assert len(slopes[0]) > 10
    for a, b in zip(*slopes, strict=True):
        assert torch.equal(a, b)


def test_a_sample_without_labels_gives_exactly_no_gradient(
    net: Method, image: torch.Tensor
) -> None:
    image = image.clone().requires_grad_()
    net.loss(batch(image, [[True, True], [False, False]], [0, 4])).total.backward()
    assert image.grad is not None
    assert image.grad[0].abs().max() > 0
    assert torch.equal(image.grad[1], torch.zeros_like(image.grad[1]))


def test_a_sample_whose_voxels_are_all_ignored_gives_exactly_no_gradient(
    net: Method, image: torch.Tensor
) -> None:
    image = image.clone().requires_grad_()
    one = batch(image, [[True, True], [True, True]], [0, 3])
    target = one.target.to(torch.uint8)
    target[1] = IGNORED
    net.loss(dataclasses.replace(one, target=target)).total.backward()
    assert image.grad is not None
    assert image.grad[0].abs().max() > 0
    assert torch.equal(image.grad[1], torch.zeros_like(image.grad[1]))


@pytest.mark.parametrize("form", ["published", "empty"])
def test_a_recipe_may_choose_the_form_of_the_loss(
    net: Method, image: torch.Tensor, form: Form
) -> None:
    one = batch(image, [[True, True], [False, True]], [0, 4])
    one.target[0, 1] = 0  # no tumour of the liver
    dice, ce, total = net.loss(one, form=form, bce_weight=5.0)
    torch.testing.assert_close(total, dice + 5 * ce)
    published = net.loss(one).dice
    assert (dice < published) if form == "empty" else torch.equal(dice, published)


def test_a_recipe_may_weigh_tumours(net: Method, image: torch.Tensor) -> None:
    """In the cross-entropy alone, and by as much as their voxels cost."""
    one = batch(image, [[True, True], [False, True]], [0, 4])
    costs = [net.loss(one, tumour_weight=weight) for weight in (1.0, 2.0, 3.0)]
    first, second, third = (cost[1] for cost in costs)
    assert torch.equal(costs[0].dice, costs[1].dice)
    assert second > first
    torch.testing.assert_close(third - second, second - first)


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for an accelerator: numbers read back, tables sent there."""

    names = ("_local_scalar_dense", "lift_fresh", "nonzero", "_unique2")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.overloadpacket.__name__ in self.names:
            self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("multi_nets", "multi_head")])
def test_a_training_step_never_waits_for_the_device(name: str) -> None:
    """But for the methods whose tasks choose the network that is run."""
    net = build(small(name))
    assert isinstance(net, Method)
    image = random_image(SMALLEST.get(net.config.backbone, SIZE))
    one = batch(image, [[True, True], [False, True]], [0, 4])
    with Waits() as waits:
        net.loss(one).total.backward()
    assert waits.seen == []


def test_training_reaches_every_parameter_that_is_used(net: Method, image: torch.Tensor) -> None:
    """By samples of which all seven tasks are known."""
    net.train()
    known = torch.tensor([[known for task in MOTS_TASKS for known in task.labelled]] * 2)
    target = (torch.rand(2, 14, *image.shape[2:]) > 0.7).float()
    net.loss(Batch(image, target, known, torch.arange(7).expand(2, -1))).total.backward()
    without = [name for name, p in net.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize("net", BINARY, indirect=True)
def test_no_binary_loss_pushes_an_unlabelled_category(
    net: Method, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of the loss by the prediction is exactly zero there, and nowhere else."""
    predicted: list[torch.Tensor] = []
    task_logits = net.task_logits

    def kept(image: torch.Tensor, task: torch.Tensor) -> torch.Tensor:
        predicted.append(task_logits(image, task))
        predicted[0].retain_grad()
        return predicted[0]

    monkeypatch.setattr(net, "task_logits", kept)
    net.loss(batch(image, [[False, True], [True, False]], [4, 6])).total.backward()
    slope = predicted[0].grad
    assert slope is not None
    assert slope.shape[:3] == (2, 1, 2)  # of each sample its own task only is predicted
    assert [[bool(slope[b, 0, k].any()) for k in (0, 1)] for b in (0, 1)] == [
        [False, True],
        [True, False],
    ]


@pytest.mark.parametrize("net", BINARY, indirect=True)
def test_training_follows_the_published_average(net: Method, image: torch.Tensor) -> None:
    """Over the samples that label a channel, then over channels; Dice plus cross-entropy."""
    one = batch(image, [[False, True], [True, True]], [4, 0])
    with torch.no_grad():
        logits = net.task_logits(image, one.task[:, None])[:, 0]
        p, y = logits.sigmoid().flatten(2), one.target.flatten(2)
        dice = 1 - 2 * (p * y).sum(2) / (p.sum(2) + y.sum(2) + 1)
        bce = -(y * p.log() + (1 - y) * (1 - p).log()).mean(2)
        expected = sum((x[1, 0] + x[:, 1].mean()) / 2 for x in (dice, bce))
        torch.testing.assert_close(net.loss(one).total, expected, rtol=1e-4, atol=1e-4)


def test_save_and_load_bit_for_bit(net: Method, image: torch.Tensor, tmp_path: Path) -> None:
    net.save_pretrained(tmp_path / "net")
    back = load(tmp_path / "net")
    assert type(back) is type(net)
    assert back.config == net.config
    own, loaded = net.state_dict(), back.state_dict()
    assert list(own) == list(loaded)
    assert all(torch.equal(loaded[name], own[name]) for name in own)
    with torch.no_grad():  # rounding may depend on where in memory weights lie
        torch.testing.assert_close(back(image), net(image), rtol=0, atol=1e-5)
    assert type(type(net).from_pretrained(tmp_path / "net")) is type(net)


def test_the_task_makes_a_difference(net: Method, image: torch.Tensor) -> None:
    with torch.no_grad():
        logits = net(image).flatten(3)
    for one in range(7):
        for other in range(one):
            assert not torch.allclose(logits[:, one], logits[:, other], rtol=0, atol=1e-4)


def test_segmenting_is_a_threshold_of_one_half(net: Method, image: torch.Tensor) -> None:
    masks = net.segment(image, ["pancreas"])
    assert masks.dtype == torch.bool
    with torch.no_grad():
        assert torch.equal(masks, net(image, tasks=["pancreas"]).sigmoid() > 0.5)


@pytest.mark.parametrize("name", METHODS)
def test_double_precision_runs_throughout(name: str) -> None:
    net, image = build(small(name)).eval(), random_image(SIZE)
    with torch.no_grad():
        single, double = net(image), net.double()(image.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-2)


def test_other_tasks_and_heads() -> None:
    image = random_image(SIZE)
    tasks = (*MOTS_TASKS[:2], Task("mine", "mine", "mine_tumour"))
    for name in METHODS:
        net = build(small(name, tasks=tasks))
        assert net(image, tasks=["mine"]).shape == (2, 1, 2, *SIZE)


@pytest.mark.parametrize("name", METHODS)
def test_a_scan_is_segmented_by_sliding_windows(name: str) -> None:
    """Larger than a window and on another grid: what the predictor asks of a network."""
    net = build(small(name)).eval()
    spacing = (6.0, 3.0, 4.0)
    scan = np.random.default_rng(0).normal(0, 200, (20, 50, 70)).astype(np.int16)
    prediction = Predictor(net, tasks=["liver", "colon"])(Volume.with_spacing(scan, spacing))
    assert prediction.labels.shape == scan.shape
    assert prediction.names == ("liver", "liver_tumour", "colon_tumour")
    assert {*np.unique(prediction.labels)} <= {0, 1, 2, 9}


def test_masks_take_the_thresholds_of_the_configuration():
    net = build(small(thresholds={"liver_tumour": 0.75, "spleen": 0.4})).eval()
    logits = net(torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(0)))
    net.forward = lambda image, tasks=None: logits[:, [0, 6]]  # liver and spleen
    masks = net.segment(torch.zeros(1, 1, *SIZE), ["liver", "spleen"])
    probability = logits.sigmoid()
    assert torch.equal(masks[:, 0, 0], probability[:, 0, 0] > 0.5)
    assert torch.equal(masks[:, 0, 1], probability[:, 0, 1] > 0.75)
    assert torch.equal(masks[:, 1, 0], probability[:, 6, 0] > 0.4)
