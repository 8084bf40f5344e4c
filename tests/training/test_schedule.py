"""The polynomial decay, by hand."""

import pytest
import torch

from mots_pretrained.training.schedule import PolySchedule


def optimizer(*rates, **group):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": r, **group} for r in rates]
    return torch.optim.AdamW(groups, lr=rates[0])


def test_decays_by_the_step_to_zero():
    schedule = PolySchedule(optimizer(2e-4), 1000)
    assert schedule.set(0) == pytest.approx(2e-4)
    assert schedule.set(500) == pytest.approx(2e-4 * 0.5**0.9)
    assert schedule.set(999) == pytest.approx(2e-4 * 0.001**0.9)
    assert schedule.set(1000) == 0
    assert schedule.set(0) == pytest.approx(2e-4)  # the step alone decides


def test_decays_by_the_epoch_as_published():
    schedule = PolySchedule(optimizer(2e-4), 460 * 1000, steps_per_epoch=460)
    assert schedule.set(459) == pytest.approx(2e-4)
    assert schedule.set(460) == schedule.set(919) == pytest.approx(2e-4 * 0.999**0.9)
    assert schedule.set(460 * 1000 - 1) == pytest.approx(2e-4 * 0.001**0.9)


def test_published_warm_up_rises_from_one_percent():
    schedule = PolySchedule(optimizer(2e-4), 4600, steps_per_epoch=46, warm_up=10)
    assert schedule.set(0) == pytest.approx(2e-6)
    assert schedule.set(5 * 46) == pytest.approx(2e-6 + 0.5 * 198e-6)
    assert schedule.set(10 * 46) == pytest.approx(2e-4 * 0.9**0.9)


def test_groups_keep_their_own_rates():
    groups = optimizer(2e-4, 1e-4)
    PolySchedule(groups, 10).set(5)
    assert [g["lr"] for g in groups.param_groups] == pytest.approx(
        [2e-4 * 0.5**0.9, 1e-4 * 0.5**0.9]
    )
    scaled = optimizer(1e-3, lr_scale=0.25)
    assert PolySchedule(scaled, 10).set(5) == pytest.approx(2.5e-4 * 0.5**0.9)


@pytest.mark.parametrize(("steps", "warm_up"), [(0, 0), (10, 10), (10, -1)])
def test_impossible_lengths_are_told(steps, warm_up):
    with pytest.raises(ValueError, match=r"at least 1 step|warm-up must be"):
        PolySchedule(optimizer(1e-3), steps, warm_up=warm_up)
