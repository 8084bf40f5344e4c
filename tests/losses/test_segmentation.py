"""Dice and cross-entropy of downstream heads, by hand and against MONAI's Dice."""

import math

import pytest
import torch
from monai.losses import DiceLoss
from torch.utils._python_dispatch import TorchDispatchMode

from mots_pretrained.losses import dice_ce


def test_uniform_logits_by_hand():
    # Three classes, p = 1/3; voxels of the classes 0, 1, 1, 2.
    target = torch.tensor([[[0, 1, 1, 2]]])
    loss = dice_ce(torch.zeros(1, 3, 4), target)
    one, two = 2 * (2 / 3) / (4 / 3 + 2), 2 * (1 / 3) / (4 / 3 + 1)
    assert loss.ce.item() == pytest.approx(math.log(3), abs=1e-6)
    assert loss.dice.item() == pytest.approx(1 - (one + two) / 2, abs=1e-5)
    assert loss.total.item() == pytest.approx(loss.dice.item() + loss.ce.item())


@pytest.mark.parametrize("exclusive", [True, False])
def test_dice_is_monais(exclusive):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, 6, 7, generator=generator)
    if exclusive:
        target = torch.randint(0, 4, (2, 1, 5, 6, 7), generator=generator)
        oracle = DiceLoss(include_background=False, softmax=True, to_onehot_y=True, batch=True)
    else:
        target = (torch.rand(2, 4, 5, 6, 7, generator=generator) > 0.5).float()
        oracle = DiceLoss(sigmoid=True, batch=True)
    mine = dice_ce(logits, target, exclusive=exclusive).dice
    torch.testing.assert_close(mine, oracle(logits, target), atol=1e-6, rtol=0)


def test_nested_regions_may_be_true_together():
    whole = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]])
    perfect = dice_ce((whole * 2 - 1) * 50, whole, exclusive=False)
    assert perfect.total.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_ignored_voxels_count_neither_way(exclusive):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, 4, requires_grad=True)
    target = torch.randint(0, 2, (2, 1 if exclusive else 3, 4, 4, 4)).float()
    kept = dice_ce(logits[:, :, :3], target[:, :, :3], exclusive=exclusive)
    target[:, :, 3] = 255
    loss = dice_ce(logits, target, exclusive=exclusive)
    torch.testing.assert_close(loss, kept)
    loss.total.backward()
    assert not logits.grad[:, :, 3].any()
    assert logits.grad[:, :, :3].all()
    everything = dice_ce(logits, torch.full_like(target, 255), exclusive=exclusive)
    assert everything.ce.item() == 0


@pytest.mark.parametrize("exclusive", [True, False])
def test_logits_of_ignored_voxels_may_be_anything(exclusive):
    logits = torch.randn(1, 3, 4, 4, 4)
    target = torch.zeros(1, 1 if exclusive else 3, 4, 4, 4, dtype=torch.uint8)
    target[:, :, 0] = 255
    expected = dice_ce(logits, target, exclusive=exclusive)
    logits[:, :, 0] = math.nan
    logits.requires_grad_()
    loss = dice_ce(logits, target, exclusive=exclusive)
    loss.total.backward()
    torch.testing.assert_close(loss, expected)
    assert torch.equal(logits.grad[:, :, 0], torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("exclusive", [True, False])
def test_it_compiles_without_a_graph_break(exclusive):
    logits = torch.randn(2, 3, 4, 4, 4)
    target = torch.randint(0, 2, (2, 1 if exclusive else 3, 4, 4, 4), dtype=torch.uint8)
    target[:, :, 0] = 255
    compiled = torch.compile(dice_ce, fullgraph=True, backend="eager")
    expected = dice_ce(logits, target, exclusive=exclusive)
    torch.testing.assert_close(compiled(logits, target, exclusive=exclusive), expected)


class Largest(TorchDispatchMode):
    """Keeps the size of the largest integer tensor that is made, in bytes."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and not out.is_floating_point():
            self.bytes = max(self.bytes, out.numel() * out.element_size())
        return out


def test_labels_take_a_byte_a_class_and_voxel_at_most():
    """A one-hot of int64 would take 8 x 14."""
    target = torch.randint(0, 14, (1, 1, 8, 8, 8), dtype=torch.uint8)
    with Largest() as largest:
        dice_ce(torch.randn(1, 14, 8, 8, 8), target)
    assert largest.bytes <= 13 * target.numel()


def test_wrong_input_is_told():
    with pytest.raises(ValueError, match="class values must be 0 to 2"):
        dice_ce(torch.zeros(1, 3, 4), torch.full((1, 1, 4), 3))
    with pytest.raises(ValueError, match=r"target must be \(1, 3, 4\)"):
        dice_ce(torch.zeros(1, 3, 4), torch.zeros(1, 1, 4), exclusive=False)


@pytest.mark.parametrize("place", [0, 1])
def test_an_unlabelled_class_keeps_its_proportion_to_the_background(place):
    """q = 0.5, 0.4, 0.1; class 2 unlabelled, so CE's slope on background is q - (q_0, 0, q_2)/0.6.

    Both grow by one factor, which is what the marginal form says; on class 1 it is plain.
    """
    q = torch.tensor([0.5, 0.4, 0.1], dtype=torch.float64)
    logits = q.log().reshape(1, 3, 1).clone().requires_grad_()
    labelled = torch.tensor([[True, False]])
    loss = dice_ce(logits, torch.tensor([[[place]]]), labelled=labelled)
    loss.ce.backward()
    slope = logits.grad.flatten()
    expected = [0.5 - 0.5 / 0.6, 0.4, 0.1 - 0.1 / 0.6] if place == 0 else [0.5, 0.4 - 1, 0.1]
    assert slope.tolist() == pytest.approx(expected)
    if place == 0:
        assert (slope[2] / slope[0]).item() == pytest.approx(0.1 / 0.5)
    dice = 1 if place == 0 else 1 - 0.8 / 1.4  # of class 1 alone
    assert loss.dice.item() == pytest.approx(dice, abs=1e-4)


def test_an_unlabelled_region_has_no_gradient_whatever_its_logits():
    logits = torch.randn(2, 3, 4, 4)
    logits[1, 2] = math.nan
    logits.requires_grad_()
    target = torch.randint(0, 2, (2, 3, 4, 4))
    labelled = torch.tensor([[True, True, True], [True, False, False]])
    loss = dice_ce(logits, target, exclusive=False, labelled=labelled)
    loss.total.backward()
    assert loss.total.isfinite()
    assert torch.equal(logits.grad[1, 1:], torch.zeros(2, 4, 4))
    assert logits.grad[0].all()
    assert logits.grad[1, 0].all()
    ce = torch.nn.functional.binary_cross_entropy_with_logits
    four = [
        ce(logits[i, k], target[i, k].float()).item() for i, k in ((0, 0), (0, 1), (0, 2), (1, 0))
    ]
    assert loss.ce.item() == pytest.approx(sum(four) / 4, rel=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_with_all_classes_labelled_nothing_changes(exclusive):
    logits = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    target = torch.randint(0, 2, (2, 1 if exclusive else 4, 5, 6))
    target[:, :, 0] = 255
    every = torch.ones(2, 3 if exclusive else 4, dtype=torch.bool)
    same = dice_ce(logits, target, exclusive=exclusive, labelled=every)
    torch.testing.assert_close(same, dice_ce(logits, target, exclusive=exclusive))


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_sample_that_labels_nothing_takes_no_part(exclusive):
    logits = torch.randn(1, 3, 8, requires_grad=True)
    target = torch.ones(1, 1 if exclusive else 3, 8)
    nothing = torch.zeros(1, 2 if exclusive else 3, dtype=torch.bool)
    loss = dice_ce(logits, target, exclusive=exclusive, labelled=nothing)
    loss.total.backward()
    assert loss.total.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(logits.grad, torch.zeros(1, 3, 8))


@pytest.mark.parametrize("exclusive", [True, False])
def test_beside_others_it_takes_no_part_in_their_mean(exclusive):
    logits = torch.randn(2, 3, 8)
    target = torch.ones(2, 1 if exclusive else 3, 8)
    labelled = torch.zeros(2, 2 if exclusive else 3, dtype=torch.bool)
    labelled[0] = True
    both = dice_ce(logits, target, exclusive=exclusive, labelled=labelled)
    alone = dice_ce(logits[:1], target[:1], exclusive=exclusive, labelled=labelled[:1])
    torch.testing.assert_close(both, alone)


def test_labelled_must_fit_the_classes():
    with pytest.raises(ValueError, match=r"labelled must be \(1, 2\) bool, not \(1, 3\)"):
        dice_ce(torch.zeros(1, 3, 4), torch.zeros(1, 1, 4), labelled=torch.ones(1, 3).bool())
