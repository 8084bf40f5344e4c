"""TAL's way from one softmax to the contract's logits, and from binary targets to classes."""

from __future__ import annotations

import pytest
import torch
from small_networks import small

from mots_pretrained.batch import Batch
from mots_pretrained.methods.tal import TAL, class_target, merged_classes, merged_log_odds
from mots_pretrained.tasks import MOTS_TASKS


def test_the_organ_includes_its_tumour_but_vessels_do_not():
    sets = {
        task.name: [row.nonzero().flatten().tolist() for row in rows]
        for task, rows in zip(MOTS_TASKS, merged_classes(MOTS_TASKS), strict=True)
    }
    assert sets == {
        "liver": [[1, 2], [2]],
        "kidney": [[3, 4], [4]],
        "hepatic_vessel": [[5], [6]],
        "pancreas": [[7, 8], [8]],
        "colon": [[9], [9]],
        "lung": [[10], [10]],
        "spleen": [[11], []],
    }


def test_log_odds_of_merged_classes_by_hand():
    q = torch.tensor([0.4, 0.35, 0.25], dtype=torch.float64)
    sets = torch.tensor([[False, True, True], [False, False, True], [False, False, False]])
    organ, tumour, nothing = merged_log_odds(q.log().reshape(1, 3, 1, 1, 1), sets).flatten()
    torch.testing.assert_close(organ.sigmoid().item(), 0.6)
    torch.testing.assert_close(tumour.sigmoid().item(), 0.25)
    assert nothing.item() < -80


def test_log_odds_stay_finite_and_exact_at_both_ends():
    logits = torch.tensor([0.0, 60.0, -400.0]).reshape(1, 3, 1, 1, 1)
    found = merged_log_odds(logits, torch.eye(3, dtype=torch.bool)).flatten()
    torch.testing.assert_close(found[:2], torch.tensor([-60.0, 60.0]))
    assert torch.isfinite(found).all()


def test_log_odds_are_the_same_under_autocast():
    logits = 6 * torch.randn(2, 12, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    sets = merged_classes(MOTS_TASKS).flatten(0, 1)
    with torch.autocast("cpu", torch.float16):
        found = merged_log_odds(logits, sets)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, merged_log_odds(logits, sets))


def test_targets_become_classes_the_tumour_before_its_organ():
    task = torch.tensor([0, 6])
    organ, tumour = [0, 1, 1, 0], [0, 0, 1, 0]
    target = torch.tensor([[organ, tumour], [organ, tumour]]).float().reshape(2, 2, 1, 1, 4)
    labelled = torch.tensor([[True, True], [True, False]])
    classes, known = class_target(Batch(torch.zeros(2, 1), target, labelled, task), MOTS_TASKS)
    assert classes.flatten(1).tolist() == [[0, 1, 2, 0], [0, 11, 11, 0]]
    assert [row.nonzero().flatten().tolist() for row in known] == [[0, 1], [10]]


def test_several_tasks_of_a_sample_share_the_softmax():
    """A tumour of one task wins over an organ of another, a later organ over an earlier one."""
    liver, kidney = [[1, 1, 0, 0], [0, 1, 0, 0]], [[0, 1, 1, 0], [0, 0, 1, 0]]
    target = torch.tensor([[*liver, *kidney]]).float().reshape(1, 4, 1, 1, 4)
    classes, known = class_target(
        Batch(
            torch.zeros(1, 1), target, torch.ones(1, 4, dtype=torch.bool), torch.tensor([[0, 1]])
        ),
        MOTS_TASKS,
    )
    assert classes.flatten().tolist() == [1, 2, 4, 0]
    assert known.sum() == 4


def test_voxels_that_a_labelled_channel_ignores_are_ignored():
    organ, tumour = [0, 1, 255, 1], [0, 255, 255, 0]
    target = torch.tensor([[organ, tumour], [organ, tumour]], dtype=torch.uint8)
    labelled = torch.tensor([[True, True], [True, False]])
    batch = Batch(torch.zeros(2, 1), target.reshape(2, 2, 1, 1, 4), labelled, torch.tensor([0, 6]))
    classes, _ = class_target(batch, MOTS_TASKS)
    assert classes.flatten(1).tolist() == [[0, 255, 255, 1], [0, 11, 255, 11]]


def test_eq_16_as_printed_is_of_binary_outputs_only():
    net = TAL(small("tal"))
    nothing = torch.zeros(1, 2, 16, 32, 64)
    one = Batch(nothing[:, :1], nothing, nothing[:, :, 0, 0, 0] > 0, torch.tensor([0]))
    with pytest.raises(ValueError, match="'published', 'empty' and 'log', not 'equation'"):
        net.loss(one, form="equation")
