"""Fine-tuning: the loss falls, parts stay frozen, the best weights are kept, sides stay sides."""

import dataclasses

import numpy as np
import pytest
import torch

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.training import history as module
from mots_pretrained.training.finetune import (
    Finetuning,
    default_rate,
    finetune,
    patch_stream,
    unfreezing,
)


def case_of(seed):
    """A bright box in noise; the box is class 1."""
    rng = np.random.default_rng(seed)
    image = rng.normal(-0.5, 0.1, (1, 36, 36, 36)).astype(np.float32)
    target = np.zeros((1, 36, 36, 36), np.uint8)
    z, y, x = rng.integers(2, 14, 3)
    target[0, z : z + 20, y : y + 20, x : x + 20] = 1
    image[target == 1] += 1
    return Case(image, target, name=f"case {seed}")


@pytest.fixture
def segmenter(tiny):
    torch.manual_seed(0)
    return Segmenter.from_scratch(tiny, classes=("box",))


def test_it_learns_a_box_and_keeps_its_best_weights(segmenter):
    seen = []
    history = finetune(
        segmenter,
        [case_of(0), case_of(1)],
        Finetuning(steps=40, rate=3e-3, validate_every=20),
        validation=[case_of(2)],
        on_step=seen.append,
    )
    assert [now.step for now in seen] == list(range(10, 41, 10))
    assert history.progress == seen
    assert seen[-1].losses["total"] < 0.6 * seen[0].losses["total"]
    assert [step for step, _ in history.validations] == [20, 40]
    means = [table.mean_dice for _, table in history.validations]
    assert max(means) > 0.7
    assert history.best.mean_dice == max(means)
    assert history.best_step == 20 * (1 + int(np.argmax(means)))
    assert not segmenter.training


@pytest.mark.parametrize("freeze", [(), ("encoder",), ("encoder", "transformer", "decoder")])
def test_frozen_parts_stay_as_they_are(segmenter, freeze):
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    finetune(segmenter, [case_of(0)], Finetuning(steps=2, freeze=freeze))
    moved = {n.split(".")[1] for n, v in segmenter.state_dict().items()
             if n.startswith("backbone") and not torch.equal(v, before[n])}  # fmt: skip
    assert moved == {"encoder", "transformer", "decoder"} - {*freeze}
    assert not torch.equal(segmenter.head.weight, before["head.weight"])
    assert all(parameter.requires_grad for parameter in segmenter.parameters())


def test_the_best_and_not_the_last_weights_are_kept_and_patience_ends_it(segmenter, monkeypatch):
    scores = iter([0.2, 0.6, 0.5, 0.4, 0.9])
    weights = []

    def score(net, case, overlap):
        weights.append(net.head.weight.detach().clone())
        return {"box": {"dice": next(scores)}}

    monkeypatch.setattr(module, "score_case", score)
    settings = Finetuning(steps=50, batch=1, validate_every=10, patience=2)
    history = finetune(segmenter, [case_of(0)], settings, validation=[case_of(1)])
    assert [step for step, _ in history.validations] == [10, 20, 30, 40]
    assert history.best_step == 20
    assert torch.equal(segmenter.head.weight, weights[1])
    assert not torch.equal(weights[1], weights[3])


def test_the_same_seed_gives_the_same_weights(tiny):
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        net = Segmenter.from_scratch(tiny, classes=("box",))
        finetune(net, [case_of(0), case_of(1)], Finetuning(steps=3, seed=4))
        results.append(net.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_mirroring_spares_sides(tiny):
    """Left and right change places where both have a class; one alone is never mirrored."""
    for classes, mirrored, sides in (
        (("liver",), (2,), (0,)),
        (("left_kidney",), (), None),
        (("class_1",), (), None),
        (("left_kidney", "liver", "right_kidney"), (2,), (2, 1, 0)),
    ):
        net = Segmenter.from_scratch(tiny, classes=classes)
        stream = patch_stream(net, [case_of(0)], Finetuning(patch=(16, 32, 32)))
        assert (stream.sampling.augmentation.mirror, stream.sampling.sides) == (mirrored, sides)
        assert next(stream.batches(1)).image.shape == (1, 1, 16, 32, 32)
    assert patch_stream(net, [case_of(0)], Finetuning(augment=False)).sampling.augmentation is None


def test_rates_by_size(segmenter):
    assert default_rate(segmenter) == 1e-3
    assert default_rate(torch.nn.Linear(4000, 4000)) == 2e-4


def test_wrong_input_is_told(segmenter, tiny):
    with pytest.raises(ValueError, match="at least one labelled case"):
        finetune(segmenter, [])
    two = Case(np.zeros((2, 8, 8, 8), np.float32), np.zeros((1, 8, 8, 8), np.uint8), name="x")
    with pytest.raises(ValueError, match="x has 2 channels, the network 1"):
        finetune(segmenter, [two])
    high = case_of(0)
    high.target[:] = 5
    with pytest.raises(ValueError, match="case 0 has class 5; the network has 1 classes"):
        finetune(segmenter, [high])
    for values in ({"steps": 0}, {"rate": 2.0}, {"layer_decay": 0.0}, {"patience": -1}):
        with pytest.raises(ValueError, match=r"at least 1|between 0 and 1|be 0 to 1|0 or more"):
            Finetuning(**values)
    with pytest.raises(ValueError, match="no part 'neck'; it has encoder"):
        finetune(segmenter, [case_of(0)], Finetuning(freeze=("neck",)))


def test_parts_open_one_after_another(segmenter):
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    settings = Finetuning(steps=3, batch=1, unfreeze=2, freeze=("transformer",))
    finetune(segmenter, [case_of(0)], settings)
    moved = {n.removeprefix("backbone.").split(".")[0] for n, v in segmenter.state_dict().items()
             if not torch.equal(v, before[n])}  # fmt: skip
    assert moved == {"head", "decoder"}  # the encoder's turn would come at step 4
    plan = unfreezing(segmenter, Finetuning(unfreeze=2, freeze=("transformer",)))
    assert (plan.opened(1), plan.opened(2)) == ((), ("decoder",))
    assert plan.opened(4) == ("decoder", "encoder")


def test_rates_fall_towards_the_input(segmenter, monkeypatch):
    seen = {}

    def remember(groups, rate, **options):
        seen.update(groups=groups, rate=rate)
        return torch.optim.SGD(groups, rate)

    monkeypatch.setattr(torch.optim, "AdamW", remember)
    finetune(segmenter, [case_of(0)], Finetuning(steps=1, batch=1, layer_decay=0.5))
    scales = {group["lr_scale"] for group in seen["groups"]}
    assert max(scales) == 1
    assert min(scales) < 0.1
    assert all(group["lr"] <= group["lr_scale"] * seen["rate"] for group in seen["groups"])


@pytest.mark.long
def test_a_killed_training_resumes_to_the_same_weights(tiny, tmp_path):
    results = []
    for interrupted in (False, True):
        torch.manual_seed(0)
        net = Segmenter.from_scratch(tiny, classes=("box",))
        folder = tmp_path / str(interrupted)
        settings = Finetuning(steps=20, batch=1, validate_every=10, rate=3e-3)

        def run(interrupted=interrupted, net=net, folder=folder, settings=settings, **more):
            return finetune(
                net, [case_of(0)], settings, validation=[case_of(1)], folder=folder, **more
            )

        if interrupted:
            first = run(max_minutes=0)  # ends with the first line of the log
            assert not first.complete
            assert (folder / "checkpoint.pt").exists()
            with pytest.raises(ValueError, match="holds an unfinished training; resume it"):
                run()
            torch.manual_seed(0)
            net = Segmenter.from_scratch(tiny, classes=("box",))
            with pytest.raises(ValueError, match="with other settings"):
                run(net=net, settings=dataclasses.replace(settings, rate=2e-3), resume=True)
            history = run(net=net, resume=True)
        else:
            history = run(resume=True)  # there is nothing to resume, so it begins
        assert history.complete
        assert not (folder / "checkpoint.pt").exists()
        results.append((net.state_dict(), history))
    (straight, one), (resumed, two) = results
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())
    assert one.best_step == two.best_step
    assert [table.cases for _, table in one.validations] == [t.cases for _, t in two.validations]
    assert [p.losses for p in one.progress] == [p.losses for p in two.progress]
    assert (tmp_path / "True/log.csv").read_text().count("\n") == 3


def test_steps_for_epochs():
    assert Finetuning(steps=7).steps_for(100) == 7
    assert Finetuning(epochs=3, batch=4).steps_for(5) == 8  # 30 patches
