"""Cases held out: their scores, which weights are the best, and when patience ends."""

import numpy as np
import pytest
import torch

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.training import validation as module
from mots_pretrained.training.finetune import finetune
from mots_pretrained.training.recipe import Recipe, Run
from mots_pretrained.training.validation import score_case


def bright_case():
    """A cube of value 0.5 of class 1 and one of value 1 of class 2, in a scan of -1."""
    image = np.full((1, 40, 40, 48), -1, np.float32)
    target = np.zeros((1, 40, 40, 48), np.uint8)
    image[0, 4:20, 4:20, 4:20], target[0, 4:20, 4:20, 4:20] = 0.5, 1
    image[0, 24:36, 8:36, 24:44], target[0, 24:36, 8:36, 24:44] = 1.0, 2
    return Case(image, target, name="bright")


class Threshold(Segmenter):
    """Tells the classes by the image's value."""

    def forward(self, image):
        values = torch.tensor([-1.0, 0.5, 1.0]).reshape(1, 3, 1, 1, 1)
        return -50 * (image - values).abs()


class Above(Segmenter):
    """Two nested regions: above 0, and above 0.75."""

    def forward(self, image):
        return 50 * (image - torch.tensor([0.0, 0.75]).reshape(1, 2, 1, 1, 1))


def test_a_network_that_is_right_scores_one(tiny):
    net = Threshold.from_scratch(tiny, classes=("a", "b")).eval()
    assert score_case(net, bright_case()) == {"a": {"dice": 1.0}, "b": {"dice": 1.0}}
    case = bright_case()
    false = (case.target == 2).sum() * np.prod(tiny.preprocessing.spacing) / 1000
    case.target[case.target == 2] = 0
    case.target[:, 4:12] = 0  # half of the other
    assert score_case(net, case) == {
        "a": {"dice": pytest.approx(2 / 3)},
        "b": {"dice": None, "false_ml": pytest.approx(false)},
    }


def test_nested_regions(tiny):
    net = Above.from_scratch(tiny, classes=("whole", "core"), exclusive=False).eval()
    case = bright_case()
    nested = np.concatenate([case.target > 0, case.target > 1]).astype(np.uint8)
    assert score_case(net, Case(case.image, nested)) == {
        "whole": {"dice": 1.0},
        "core": {"dice": 1.0},
    }


def test_a_class_that_is_not_labelled_is_not_scored(tiny):
    net = Threshold.from_scratch(tiny, classes=("a", "b")).eval()
    whole = bright_case()
    case = Case(whole.image, whole.target % 2, (True, False), name="some")
    assert score_case(net, case) == {"a": {"dice": 1.0}}


def test_the_best_and_not_the_last_weights_are_kept_and_patience_ends_it(tiny, monkeypatch):
    net, case = Segmenter.from_scratch(tiny, classes=("a", "b")), bright_case()
    scores = iter([0.2, 0.6, 0.5, 0.4, 0.9])
    weights = []

    def score(network, case, **options):
        weights.append(network.head.weight.detach().clone())
        return {"a": {"dice": next(scores)}}

    monkeypatch.setattr(module, "score_case", score)
    settings = Recipe(steps=50, batch=1, validate_every=10, patience=2)
    history = finetune(net, [case], settings, validation=[case])
    assert [step for step, _ in history.validations] == [10, 20, 30, 40]
    assert history.best_step == 20
    assert torch.equal(net.head.weight, weights[1])
    assert not torch.equal(weights[1], weights[3])


@pytest.mark.parametrize(
    ("steps", "every", "validated"),
    [(30, 3, [10, 20, 30]), (45, 15, [20, 40, 45]), (30, None, [10, 20, 30])],
)
def test_validations_fall_on_the_log_s_ten_steps(tiny, monkeypatch, steps, every, validated):
    net, case = Segmenter.from_scratch(tiny, classes=("a", "b")), bright_case()
    monkeypatch.setattr(module, "score_case", lambda *given, **options: {"a": {"dice": 0.5}})
    recipe = Recipe(steps=steps, batch=1, validate_every=every)
    history = finetune(net, [case], recipe, validation=[case])
    assert [step for step, _ in history.validations] == validated


def test_where_no_case_held_out_has_a_class_the_last_weights_are_kept(tiny, monkeypatch):
    net, case = Segmenter.from_scratch(tiny, classes=("a",)), bright_case()
    case.target[case.target == 2] = 0
    weights, told = [], []

    def score(network, case, **options):
        weights.append(network.head.weight.detach().clone())
        return {"a": {"dice": None, "false_ml": 1.0}}  # as of a scan without it

    monkeypatch.setattr(module, "score_case", score)
    settings = Recipe(steps=40, batch=1, validate_every=10, patience=2)
    history = finetune(net, [case], settings, validation=[case], run=Run(say=told.append))
    assert [step for step, _ in history.validations] == [10, 20, 30, 40]  # patience has no part
    assert (history.best_step, history.complete) == (40, True)
    assert torch.equal(net.head.weight, weights[-1])
    assert not torch.equal(net.head.weight, weights[0])
    assert sum("none can be scored" in message for message in told) == 1
