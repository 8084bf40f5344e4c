"""TAL's merging of unlabelled classes with the background, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mots_pretrained.losses.target_adaptive import target_adaptive
from mots_pretrained.tasks import IGNORED


def one_voxel(
    q: list[float], target: int, labelled: list[bool]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a voxel's logits, whose softmax is ``q``, and the cross-entropy's gradient by them."""
    logits = torch.tensor(q, dtype=torch.float64).log().reshape(1, -1, 1).requires_grad_()
    ce = target_adaptive(logits, torch.tensor([[target]]), torch.tensor([labelled])).ce
    ce.backward()
    return ce.detach(), logits.grad.flatten()


def test_background_may_be_anything_that_is_not_labelled():
    """q_0 + q_2 = 0.6; the slope is q - (q_0, 0, q_2) / 0.6."""
    ce, slope = one_voxel([0.5, 0.4, 0.1], 0, [True, False])
    assert ce.item() == pytest.approx(-math.log(0.6))
    assert slope.tolist() == pytest.approx([0.5 - 0.5 / 0.6, 0.4, 0.1 - 0.1 / 0.6])


def test_a_labelled_class_is_an_ordinary_softmax():
    ce, slope = one_voxel([0.5, 0.4, 0.1], 1, [True, False])
    assert ce.item() == pytest.approx(-math.log(0.4))
    assert slope.tolist() == pytest.approx([0.5, 0.4 - 1, 0.1])


def test_a_class_may_count_more():
    q = torch.tensor([[0.5, 0.4, 0.1], [0.2, 0.7, 0.1]], dtype=torch.float64).log().T[None]
    labelled = torch.tensor([[True, True]])
    loss = target_adaptive(q, torch.tensor([[1, 0]]), labelled, class_weight=(1.0, 10.0, 1.0))
    assert loss.ce.item() == pytest.approx(-(10 * math.log(0.4) + math.log(0.2)) / 2)


def test_background_and_unlabelled_classes_keep_their_proportion():
    """On background the loss moves both by one factor: neither is preferred."""
    _, slope = one_voxel([0.3, 0.2, 0.4, 0.1], 0, [True, False, False])
    assert slope[0] / 0.3 == pytest.approx((slope[2] / 0.4).item())
    assert slope[0] / 0.3 == pytest.approx((slope[3] / 0.1).item())
    assert slope.sum().item() == pytest.approx(0)


def test_a_target_of_an_unlabelled_class_is_background():
    same = [one_voxel([0.5, 0.4, 0.1], target, [True, False]) for target in (0, 2)]
    assert torch.equal(same[0][0], same[1][0])
    assert torch.equal(same[0][1], same[1][1])


def test_with_all_classes_labelled_it_is_plain_cross_entropy():
    logits = torch.randn(2, 4, 5, 6, 7, dtype=torch.float64)
    target = torch.randint(0, 4, (2, 5, 6, 7))
    every = torch.ones(2, 3, dtype=torch.bool)
    torch.testing.assert_close(
        target_adaptive(logits, target, every).ce,
        torch.nn.functional.cross_entropy(logits, target),
    )


def test_dice_is_of_the_labelled_classes_only():
    """Class 1 in two voxels with q = 0.8 and 0.4, of which the first is its own."""
    q = torch.tensor([[0.1, 0.8, 0.1], [0.5, 0.4, 0.1]], dtype=torch.float64)
    loss = target_adaptive(q.log().T[None], torch.tensor([[1, 0]]), torch.tensor([[True, False]]))
    assert loss.dice.item() == pytest.approx(1 - 2 * 0.8 / (1.2 + 1 + 1))
    assert loss.total.item() == pytest.approx(loss.dice.item() + loss.ce.item())
    assert loss.ce.item() == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)


def test_a_sample_without_labels_takes_no_part():
    logits = torch.randn(2, 3, 8, requires_grad=True)
    target = torch.randint(0, 3, (2, 8))
    both = target_adaptive(logits, target, torch.tensor([[True, True], [False, False]]))
    both.total.backward()
    assert torch.equal(logits.grad[1], torch.zeros(3, 8))
    alone = target_adaptive(logits[:1], target[:1], torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(both.total, alone.total)


def test_ignored_voxels_take_no_part():
    logits, target = torch.randn(2, 3, 8), torch.randint(0, 3, (2, 8))
    labelled = torch.tensor([[True, False], [True, True]])
    expected = target_adaptive(logits[..., 1:], target[..., 1:], labelled)
    logits[..., 0], target[..., 0] = math.nan, IGNORED
    logits.requires_grad_()
    loss = target_adaptive(logits, target, labelled)
    loss.total.backward()
    torch.testing.assert_close(loss, expected)
    assert torch.equal(logits.grad[..., 0], torch.zeros(2, 3))


def test_dice_of_an_empty_target_and_weight_by_hand():
    """q = 0.25 in two voxels of background: 0.5 / (0.5 + 1); half of it is merged class 0."""
    q = torch.tensor([[0.5, 0.25, 0.25]] * 2, dtype=torch.float64)
    labelled = torch.tensor([[True, False]])
    loss = target_adaptive(
        q.log().T[None], torch.tensor([[0, 0]]), labelled, form="empty", empty_size=1.0, ce_weight=5
    )
    assert loss.dice.item() == pytest.approx(1 - 1 / 1.5)
    assert loss.total.item() == pytest.approx(1 - 1 / 1.5 - 5 * math.log(0.75))


def test_it_compiles_without_a_graph_break():
    logits, target = torch.randn(2, 3, 8), torch.randint(0, 3, (2, 8))
    labelled = torch.tensor([[True, False], [False, False]])
    compiled = torch.compile(target_adaptive, fullgraph=True, backend="eager")
    expected = target_adaptive(logits, target, labelled)
    torch.testing.assert_close(compiled(logits, target, labelled), expected)


def test_the_forms_are_those_of_binary_outputs_but_eq_16_as_printed():
    """A softmax of thirds: of the first class 4 voxels in 12, of the second none."""
    logits, target = torch.zeros(1, 3, 12).double(), torch.tensor([[1] * 4 + [0] * 8])
    both = torch.tensor([[True, True]])
    dice = {form: target_adaptive(logits, target, both, form=form, empty_size=6).dice.item()
            for form in ("published", "empty", "log")}  # fmt: skip
    assert dice["published"] == pytest.approx((1 - 2 * (4 / 3) / 9 + 1) / 2)
    assert dice["empty"] == pytest.approx((1 - 2 * (4 / 3) / 9 + 4 / 10) / 2)
    assert dice["log"] == pytest.approx((math.log(9 / (8 / 3 + 1)) + 4 / 10) / 2)
    with pytest.raises(ValueError, match="'published', 'empty' and 'log', not 'equation'"):
        target_adaptive(logits, target, both, form="equation")


@pytest.mark.parametrize(
    ("logits", "target", "labelled"),
    [((1, 3, 8), (1, 9), (1, 2)), ((1, 3, 8), (1, 8), (1, 3)), ((1, 3), (1,), (1, 2))],
)
def test_shapes_that_do_not_fit_are_named(logits, target, labelled):
    with pytest.raises(ValueError, match="logits must be"):
        target_adaptive(
            torch.zeros(logits),
            torch.zeros(target, dtype=torch.int64),
            torch.zeros(labelled, dtype=torch.bool),
        )
