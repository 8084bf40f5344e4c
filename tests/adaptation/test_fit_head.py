"""Fitting a head on frozen features: the backbone stays, the classes are found, seeds rule."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.adaptation import fit_head as module
from mots_pretrained.adaptation.fit_head import _moments, fit_head
from mots_pretrained.adaptation.head_samples import Samples
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.errors import UserError
from mots_pretrained.tasks import IGNORED


def case(exclusive: bool = True, seed: int = 0) -> Case:
    """A bright and a dark box, which a head can tell from the image alone."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 0.05, (1, *SIZE)).astype(np.float32)
    target = np.zeros((1, *SIZE), np.uint8)
    image[0, 2:10, 4:20, 8:28] += 0.8
    target[0, 2:10, 4:20, 8:28] = 1
    image[0, 4:14, 12:28, 34:60] -= 0.8
    target[0, 4:14, 12:28, 34:60] = 2
    if not exclusive:
        target = np.stack([target[0] == 1, target[0] > 0]).astype(np.uint8)
    return Case(image, target, (True,) * len(target), (), "boxes")


def network(head: str, exclusive: bool = True) -> Segmenter:
    torch.manual_seed(1)
    config = small()
    return Segmenter.from_scratch(config, classes=("a", "b"), exclusive=exclusive, head=head)


@pytest.mark.parametrize("head", ["linear", "levels"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_a_fitted_head_finds_what_it_was_fitted_to(head, exclusive):
    net, one = network(head, exclusive), case(exclusive)
    before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    fitted = fit_head(net, [one], steps=200)
    assert fitted.voxels > 1000
    assert all(
        torch.equal(value, before[name]) for name, value in net.backbone.state_dict().items()
    )
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy(one.image)[None])[0]
    found = logits.argmax(0).numpy() if exclusive else (logits > 0).numpy()
    for number in (1, 2):
        mask, truth = (found == number, one.target[0] == number) if exclusive else (
            found[number - 1], one.target[number - 1] == 1
        )  # fmt: skip
        overlap = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
        assert overlap > {"levels": 0.8, "linear": 0.3}[head]  # random features of 4 channels


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_a_network_in_half_precision_gets_a_head_of_its_own_type(dtype):
    net, one = network("levels").to(dtype), case()
    fit_head(net, [one], steps=200)
    assert {value.dtype for value in net.parameters()} == {dtype}
    found = net.eval()(torch.from_numpy(one.image)[None].to(dtype))[0].argmax(0).numpy()
    for number in (1, 2):
        mask, truth = found == number, one.target[0] == number
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8


def test_the_same_seed_gives_the_same_head_and_leaves_torchs_generator_alone():
    heads = []
    for _ in range(2):
        net = network("levels")
        torch.manual_seed(5)
        fit_head(net, [case()], steps=20, seed=3)
        heads.append((net.head.state_dict(), torch.rand(1)))
    torch.manual_seed(5)
    assert torch.equal(heads[0][1], torch.rand(1))
    for name, value in heads[0][0].items():
        assert torch.equal(value, heads[1][0][name])


def test_voxels_of_unknown_label_are_not_learned_from():
    one = case()
    one.target[one.target == 2] = IGNORED
    fitted = fit_head(net := network("levels"), [one], steps=100)
    with torch.no_grad():
        found = net.eval()(torch.from_numpy(one.image)[None])[0].argmax(0)
    assert (found == 2).float().mean() < 0.01
    assert np.isfinite(fitted.loss)


def test_a_linear_head_keeps_the_sampled_frequencies_and_one_on_levels_does_not(monkeypatch):
    """Moved to the true ones, a linear head's mean Dice fell from 0.41 to 0.37."""
    moved = {}
    for head in ("linear", "levels"):
        biases = []
        for shift in (0.0, 1.0):
            monkeypatch.setattr(module, "_prior_shift", lambda *_, shift=shift: torch.tensor(shift))
            net = network(head)
            fit_head(net, [case()], steps=5)
            biases.append((net.head if head == "linear" else net.head.last).bias.detach().clone())
        moved[head] = (biases[1] - biases[0]).tolist()
    assert moved["linear"] == [0, 0, 0]
    assert moved["levels"] == pytest.approx([0.4] * 3)
    nets = [network("levels") for _ in range(2)]
    fit_head(nets[0], [case()], steps=5, prior=0.0)
    fit_head(nets[1], [case()], steps=5, prior=1.0)
    apart = nets[1].head.last.bias - nets[0].head.last.bias
    assert apart.tolist() == pytest.approx([1.0] * 3)


def halves(exclusive: bool, *, known: bool) -> list[Case]:
    """The boxes twice; of one only the first class is labelled, of the other the second."""
    cases = []
    for number in (0, 1):
        whole = case(exclusive, seed=number)
        target = whole.target.copy()
        if exclusive:
            target[target == 2 - number] = 0
        else:
            target[1 - number] = 0
        labelled = (number == 0, number == 1) if known else (True, True)
        cases.append(Case(whole.image, target, labelled, (), f"half {number}"))
    return cases


@pytest.mark.parametrize("exclusive", [True, False])
def test_what_a_case_does_not_label_is_learned_from_the_others(exclusive):
    """As background it is lost by half: both cases show both boxes."""
    truth = case(exclusive, seed=0)
    found = {}
    for known in (True, False):
        fit_head(net := network("levels", exclusive), halves(exclusive, known=known), steps=200)
        with torch.no_grad():
            logits = net.eval()(torch.from_numpy(truth.image)[None])[0]
        masks = (
            [logits.argmax(0).numpy() == c for c in (1, 2)]
            if exclusive
            else list((logits > 0).numpy())
        )
        both = truth.target[0] == np.array([1, 2])[:, None, None, None]
        true = both if exclusive else truth.target == 1
        found[known] = [
            2 * (m & t).sum() / (m.sum() + t.sum()) for m, t in zip(masks, true, strict=True)
        ]
    assert min(found[True]) > 0.75
    assert sum(found[True]) > sum(found[False]) + 0.2


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_loss_of_a_voxel_is_by_what_its_case_labels(exclusive):
    """Softmax 0.5, 0.4, 0.1, class 2 unlabelled; sigmoids of 0.8, of which one counts."""
    if exclusive:
        logits = torch.tensor([[0.5, 0.4, 0.1]]).log().requires_grad_()
        loss = module._loss(logits, torch.tensor([[0]]), torch.tensor([[True, False]]), True)
        expected = [0.5 - 0.5 / 0.6, 0.4, 0.1 - 0.1 / 0.6]
    else:
        logits = torch.full((1, 2), 4.0).log().requires_grad_()
        loss = module._loss(logits, torch.tensor([[1, 0]]), torch.tensor([[True, False]]), False)
        expected = [0.8 - 1, 0.0]
    loss.backward()
    assert logits.grad[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_frequencies_are_those_of_the_cases_that_label_a_class():
    """Class 1: 10 of 110 voxels, sampled 5 beside 5; class 2: 40 of 440, sampled 5 beside 20."""
    counts = np.array([[100, 10, 0], [400, 0, 40]])
    target = torch.tensor([0] * 5 + [1] * 5 + [0] * 20 + [2] * 5, dtype=torch.uint8)[:, None]
    drawn = torch.tensor([0] * 10 + [1] * 25)
    labelled = torch.tensor([[True, False], [False, True]])
    samples = Samples(torch.zeros(35, 1), target, drawn, labelled, counts)
    shift = module._prior_shift(samples, True).exp().tolist()
    assert shift == pytest.approx([1, (10 / 100) / (5 / 5), (40 / 400) / (5 / 20)])
    regions = torch.cat([target == 1, target == 2], 1).to(torch.uint8)
    samples = Samples(torch.zeros(35, 1), regions, drawn, labelled, counts)
    shift = module._prior_shift(samples, False).exp().tolist()
    assert shift == pytest.approx([(10 / 90) / (5 / 5), (40 / 360) / (5 / 20)])


def test_a_class_that_no_case_labels_is_refused():
    one = Case(case().image, case().target, (True, False), (), "one")
    with pytest.raises(UserError, match="none of the 1 training cases labels b; leave that out"):
        fit_head(network("linear"), [one], steps=5)
    odd = Case(case().image, case().target, (True, False, True), (), "odd")
    with pytest.raises(UserError, match="odd says of 3 classes whether it labels them; there are"):
        fit_head(network("linear"), [odd], steps=5)


def test_a_head_of_incomplete_labels_keeps_the_sampled_frequencies(monkeypatch):
    """Moved towards the true ones, it missed what few cases had labelled."""
    biases = []
    for shift in (0.0, 1.0):
        monkeypatch.setattr(module, "_prior_shift", lambda *_, shift=shift: torch.tensor(shift))
        fit_head(net := network("levels"), halves(True, known=True), steps=5)
        biases.append(net.head.last.bias.detach().clone())
    assert torch.equal(*biases)


def test_what_cannot_be_fitted_to_is_refused():
    for cases, steps, message in (
        ([], 5, "at least one labelled case is needed"),
        ([case()], 0, "steps must be 1 or more, not 0"),
        ([case(exclusive=False)], 5, "boxes has 2 targets, the network 1"),
    ):
        with pytest.raises(UserError, match=message):
            fit_head(network("linear"), cases, steps=steps)
    one = Segmenter.from_scratch(small(), classes=("a",))
    with pytest.raises(UserError, match="boxes has class 2; the network has 1 classes"):
        fit_head(one, [case()], steps=5)


def test_nothing_but_background_is_refused():
    one = case()
    one.target[:] = 0
    with pytest.raises(UserError, match="nothing but background"):
        fit_head(network("linear"), [one], steps=5)
    one.target[:] = IGNORED
    with pytest.raises(UserError, match="nothing but background"):
        fit_head(network("linear"), [one], steps=5)


@pytest.mark.parametrize("head", ["linear", "levels"])
def test_an_image_that_is_not_finite_leaves_the_head_as_it_was(head):
    """One such voxel made every weight of the head NaN."""
    net, one = network(head), case()
    before = {name: value.clone() for name, value in net.head.state_dict().items()}
    one.image[0, 3, 5, 9] = np.nan
    with pytest.raises(UserError, match="loss is not finite: look for NaN or infinite values in"):
        fit_head(net, [one], steps=5)
    for name, value in net.head.state_dict().items():
        assert torch.equal(value, before[name])


def test_moments_are_of_all_voxels():
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0]]).half()
    mean, deviation = _moments(x)
    torch.testing.assert_close(mean, torch.tensor([2.0, 5.0]))
    assert deviation.tolist() == [1.0, torch.inf]


@pytest.mark.parametrize("head", ["linear", "levels"])
def test_a_feature_that_never_varied_gets_no_weight(head, monkeypatch):
    """It kept the weight it was drawn with, times ten thousand, for scans in which it varies."""
    net, sample = network(head), module.sample_voxels

    def with_a_dead_feature(*args):
        samples = sample(*args)
        features = samples.features.clone()
        features[:, 0] = 0.5
        return dataclasses.replace(samples, features=features)

    monkeypatch.setattr(module, "sample_voxels", with_a_dead_feature)
    fit_head(net, [case()], steps=20)
    first = net.head if head == "linear" else net.head.levels[0]
    strongest = first.weight.detach().abs().amax(dim=(0, 2, 3, 4))
    assert strongest[0] == 0
    assert strongest[1:].min() > 0
