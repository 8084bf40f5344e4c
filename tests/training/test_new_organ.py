"""A query learns from a few cases, the same each time, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.adaptation.new_task import add_task
from mots_pretrained.data.case import Case
from mots_pretrained.data.stored_case import StoredCase, write_case
from mots_pretrained.methods.transdodnet import TransDoDNet
from mots_pretrained.training.new_organ import learn_task
from mots_pretrained.training.recipe import Recipe

RECIPE = Recipe(steps=30, batch=1, rate=0.03, weight_decay=0.0, augmentation="none")


def bright(channels: int = 1) -> list[Case]:
    """Cases in which the organ is what is bright."""
    cases = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        target = np.zeros((channels, *SIZE), np.uint8)
        d, h, w = (int(rng.integers(0, size // 2)) for size in SIZE)
        target[0, d : d + 8, h : h + 16, w : w + 32] = 1
        image = (target[:1] - 0.5 + rng.normal(0, 0.1, (1, *SIZE))).astype(np.float32)
        cases.append(Case(image, target, (True,) * channels, (), f"case {seed}"))
    return cases


def network() -> TransDoDNet:
    torch.manual_seed(0)
    return TransDoDNet(small("transdodnet")).eval()


def test_a_query_learns_and_nothing_else_changes() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    extended = add_task(net, "organ")
    log = learn_task(extended, bright(), RECIPE)
    assert log[-1].losses["total"] < 0.9 * log[0].losses["total"]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not extended.training
    again = add_task(network(), "organ")
    assert learn_task(again, bright(), RECIPE)[-1].losses == log[-1].losses


def test_a_task_with_a_tumour_learns_both(monkeypatch: pytest.MonkeyPatch) -> None:
    extended = add_task(network(), "organ", organ="organ", tumour="lesion")
    seen = []
    monkeypatch.setattr(
        extended, "loss", lambda batch: seen.append(batch) or type(extended).loss(extended, batch)
    )
    learn_task(extended, bright(2), replace(RECIPE, steps=1))
    assert seen[0].task.tolist() == [[7]]
    assert seen[0].labelled.tolist() == [[True, True]]
    extended = add_task(network(), "lesion", tumour="lesion")
    monkeypatch.setattr(
        extended, "loss", lambda batch: seen.append(batch) or type(extended).loss(extended, batch)
    )
    learn_task(extended, bright(), replace(RECIPE, steps=1))
    assert seen[1].labelled.tolist() == [[False, True]]
    assert not seen[1].target[:, 0].any()


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([], "at least one labelled case"),
        (bright(2), "2 target channels, task 'organ' has 1: organ"),
        ([Case(np.zeros((2, *SIZE), np.float32), np.zeros((1, *SIZE), np.uint8))], "2 channels"),
        ([Case(np.zeros((1, *SIZE), np.float32), np.full((1, *SIZE), 2, np.uint8))], "binary"),
    ],
)
def test_cases_that_do_not_fit_are_told(cases: list[Case], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learn_task(add_task(network(), "organ"), cases, RECIPE)


def test_a_stored_case_is_learned_from(tmp_path: Path) -> None:
    (case, _) = bright()
    (tmp_path / "case").mkdir()
    step, classes = write_case(tmp_path / "case", case)
    known = {"channels": 1, "shape": case.shape, "labelled": (True,), "tasks": ()}
    stored = StoredCase.at(tmp_path / "case", name="case", step=step, classes=classes, **known)
    both = [
        learn_task(add_task(network(), "organ"), [one], replace(RECIPE, steps=2))
        for one in (case, stored)
    ]
    losses = [rows[-1].losses["total"] for rows in both]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # images are stored in 1/4096


def test_fields_of_other_trainings_are_refused() -> None:
    with pytest.raises(ValueError, match="freeze has no part in learning a task"):
        learn_task(add_task(network(), "organ"), bright(), replace(RECIPE, freeze=("encoder",)))
