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
