"""The loss of Eq. 16 against numbers of the published code, and what unlabelled channels may do."""

import math

import pytest
import torch

from mots_pretrained.losses import dice_bce
from mots_pretrained.tasks import IGNORED

# (fills (sample, channel, value), dice, bce, gradient norm a sample and channel), computed with
# the authors' public code in float64; a fill of None means unlabelled.
UNLABELLED = None
PUBLISHED = {
    "all_labelled": (
        [],
        0.6222357411198103,
        1.0818838291442066,
        [[0.008285559137587746, 0.008383121941137656], [0.00802448937433041, 0.008626681924122841]],
    ),
    "sample0_organ_ignored": (
        [(0, 0, UNLABELLED)],
        0.618791598338726,
        1.069569235814959,
        [[0.0, 0.008383121941137656], [0.01604897874866082, 0.008626681924122841]],
    ),
    "both_organ_ignored": (
        [(0, 0, UNLABELLED), (1, 0, UNLABELLED)],
        0.6549328318552754,
        1.1301011338681886,
        [[0.0, 0.016766243882275312], [0.0, 0.017253363848245683]],
    ),
    "sample0_organ_and_sample1_tumour_ignored": (
        [(0, 0, UNLABELLED), (1, 1, UNLABELLED)],
        0.6077151836067677,
        1.0622490415611807,
        [[0.0, 0.016766243882275312], [0.01604897874866082, 0.0]],
    ),
    "both_tumour_ignored": (
        [(0, 1, UNLABELLED), (1, 1, UNLABELLED)],
        0.5895386503843452,
        1.0336665244202243,
        [[0.016571118275175493, 0.0], [0.01604897874866082, 0.0]],
    ),
    "sample0_tumour_empty": (
        [(0, 1, 0)],
        0.7140407405219705,
        1.0750016310565829,
        [[0.008285559137587746, 0.006695584604433221], [0.00802448937433041, 0.008626681924122841]],
    ),
    "everything_empty": (
        [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)],
        1.0,
        1.0983361288272846,
        [
            [0.006944235085211979, 0.006695584604433221],
            [0.006928851277494088, 0.006554815844373923],
        ],
    ),
    "single_sample_organ_ignored_batch1_repeat": (
        [(0, 0, UNLABELLED), (1, 0, UNLABELLED)],
        0.6549328318552754,
        1.1301011338681886,
        [[0.0, 0.016766243882275312], [0.0, 0.017253363848245683]],
    ),
}


def published_input():
    shape = (2, 2, 6, 8, 10)
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 2
    target = (torch.rand(shape, generator=torch.Generator().manual_seed(1)) > 0.7).double()
    return logits.double().requires_grad_(), target


@pytest.mark.parametrize("case", PUBLISHED)
def test_values_and_gradients_are_those_of_the_published_code(case):
    fills, dice, bce, norms = PUBLISHED[case]
    logits, target = published_input()
    labelled = torch.ones(2, 2, dtype=torch.bool)
    for sample, channel, value in fills:
        labelled[sample, channel] = value is not UNLABELLED
        target[sample, channel] = -1 if value is UNLABELLED else value
    loss = dice_bce(logits, target, labelled)
    loss.total.backward()
    assert loss.dice.item() == pytest.approx(dice, abs=1e-12)
    assert loss.bce.item() == pytest.approx(bce, abs=1e-12)
    assert loss.total.item() == pytest.approx(dice + bce, abs=1e-12)
    norm = logits.grad.flatten(2).norm(dim=2)
    torch.testing.assert_close(norm, torch.tensor(norms).double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("form", ["published", "equation"])
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30, 255.0])
def test_unlabelled_channels_get_no_gradient_whatever_they_hold(form, garbage):
    logits, target = published_input()
    clean = dice_bce(logits, target, torch.tensor([[False, True], [True, True]]), form=form)
    target[0, 0] = garbage
    with torch.no_grad():
        logits[0, 0, 0] = garbage
    loss = dice_bce(logits, target, torch.tensor([[False, True], [True, True]]), form=form)
    loss.total.backward()
    assert loss.total.item() == clean.total.item()
    assert torch.equal(logits.grad[0, 0], torch.zeros_like(logits[0, 0]))
    assert logits.grad.isfinite().all()
    assert (logits.grad.flatten(2).abs().sum(2) > 0).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("form", ["published", "equation"])
def test_no_label_at_all_is_a_zero_loss_that_can_be_stepped(form):
    logits, target = published_input()
    loss = dice_bce(logits, target * math.nan, torch.zeros(2, 2, dtype=torch.bool), form=form)
    loss.total.backward()
    assert loss.total.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_equation_form_by_hand():
    # One sample, two voxels a channel, p = 1/2 everywhere; organ (1, 0), tumour (1, 1).
    target = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]], dtype=torch.float64)
    loss = dice_bce(torch.zeros_like(target), target, torch.tensor([[True, True]]), form="equation")
    organ, tumour = -2 * 0.5 / (1 + 1 + 2e-6), -2 * 1.0 / (1 + 2 + 2e-6)
    assert loss.dice.item() == pytest.approx(organ + tumour, abs=1e-12)
    assert loss.bce.item() == pytest.approx(4 * math.log(2), abs=1e-12)
    one = dice_bce(torch.zeros_like(target), target, torch.tensor([[False, True]]), form="equation")
    assert one.dice.item() == pytest.approx(tumour, abs=1e-12)


def test_labelled_voxels_may_count_more_in_the_cross_entropy():
    """As torch's pos_weight, a channel each; Dice stays what it is."""
    logits, target = published_input()
    labelled = torch.ones(2, 2, dtype=torch.bool)
    once = dice_bce(logits, target, labelled)
    more = dice_bce(logits, target, labelled, pos_weight=(1.0, 50.0))
    expected = torch.stack(
        [
            torch.nn.functional.binary_cross_entropy_with_logits(
                logits[:, c], target[:, c].to(logits), pos_weight=torch.tensor(weight).to(logits)
            )
            for c, weight in enumerate((1.0, 50.0))
        ]
    ).mean()
    assert more.dice == once.dice
    assert more.bce.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("form", ["published", "empty", "log", "equation"])
@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e30, 3.0])
def test_ignored_voxels_take_no_part_whatever_logits_hold_there(form, garbage):
    logits, target = published_input()
    labelled = torch.tensor([[True, True], [False, True]])
    fewer = logits.detach()[:, :, 1:].clone().requires_grad_()  # without the first plane
    expected = dice_bce(fewer, target[:, :, 1:], labelled, form=form)
    expected.total.backward()
    with torch.no_grad():
        logits[:, :, 0] = garbage
    target[:, :, 0] = IGNORED
    loss = dice_bce(logits, target.to(torch.uint8), labelled, form=form)
    loss.total.backward()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(logits.grad[:, :, 1:], fewer.grad, rtol=0, atol=1e-12)
    assert torch.equal(logits.grad[:, :, 0], torch.zeros_like(logits[:, :, 0]))


def test_ignored_voxels_by_hand():
    # p = 1/2 everywhere; known are the labels 1, 0 of the organ and nothing of the tumour.
    target = torch.tensor([[[1, 0, IGNORED], [IGNORED] * 3]], dtype=torch.uint8)
    loss = dice_bce(torch.zeros(1, 2, 3).double(), target, torch.tensor([[True, True]]))
    assert loss.dice.item() == pytest.approx(1 - 2 * 0.5 / (1 + 1 + 1), abs=1e-12)
    assert loss.bce.item() == pytest.approx(math.log(2), abs=1e-12)


def test_the_form_of_empty_targets_by_hand():
    """p = 1/2 in four voxels: an empty target costs 2 / (2 + s), one of a voxel what it did."""
    target = torch.tensor([[[0, 0, 0, 0], [1, 0, 0, 0]]], dtype=torch.uint8)
    labelled = torch.tensor([[True, True]])
    logits = torch.zeros(1, 2, 4).double()
    loss = dice_bce(logits, target, labelled, form="empty", empty_size=6)
    assert loss.dice.item() == pytest.approx((2 / (2 + 6) + 1 - 2 * 0.5 / (2 + 1 + 1)) / 2)
    assert loss.bce.item() == pytest.approx(math.log(2), abs=1e-12)
    known = torch.tensor([[False, True]])
    there = dice_bce(logits, target, known, form="empty", empty_size=6)
    assert there == dice_bce(logits, target, known)
    ignored = torch.full_like(target, IGNORED)
    assert dice_bce(logits, ignored, labelled, form="empty").total == 0


def test_only_that_form_pushes_false_voxels_down_by_dice():
    """Of a sure voxel's slope 1 / s is left where nothing else is predicted."""
    slopes = {}
    for form in ("published", "empty"):
        logits = torch.full((1, 1, 8), -20.0, dtype=torch.float64, requires_grad=True)
        target = torch.zeros(1, 1, 8, dtype=torch.uint8)
        dice_bce(logits, target, torch.tensor([[True]]), form=form, empty_size=4).dice.backward()
        slopes[form] = logits.grad
    assert torch.equal(slopes["published"], torch.zeros(1, 1, 8))
    torch.testing.assert_close(slopes["empty"], torch.full((1, 1, 8), math.exp(-20) / 4).double())


def test_the_logarithmic_form_by_hand():
    """p = 1/2 in four voxels: of one labelled voxel 2 sum(p y) + 1 is 2, and 3 + 1 the rest."""
    target = torch.tensor([[[0, 0, 0, 0], [1, 0, 0, 0]]], dtype=torch.uint8)
    logits, labelled = torch.zeros(1, 2, 4).double(), torch.tensor([[True, True]])
    loss = dice_bce(logits, target, labelled, form="log", empty_size=6)
    assert loss.dice.item() == pytest.approx((2 / (2 + 6) + math.log(4 / 2)) / 2)
    sure = torch.where(target == 1, 50.0, -50.0).double()
    assert dice_bce(sure, target, labelled, form="log").dice.item() == pytest.approx(0, abs=1e-12)


def test_only_the_logarithm_pulls_a_target_up_that_was_given_up():
    """At p = 1e-4 all over a target of 200 voxels Dice has 1 / 100 of p's slope, the log 1.92."""
    slopes = {}
    for form in ("empty", "log"):
        logits = torch.full((1, 1, 200), math.log(1e-4), dtype=torch.float64, requires_grad=True)
        target = torch.ones(1, 1, 200, dtype=torch.uint8)
        dice_bce(logits, target, torch.tensor([[True]]), form=form).dice.backward()
        slopes[form] = -logits.grad.mean().item()
    assert slopes["empty"] == pytest.approx(1e-4 * 2 / 201, rel=1e-3)
    assert slopes["log"] == pytest.approx(1e-4 * (2 / 1.04 - 1 / 201), rel=1e-3)


def test_the_cross_entropy_has_a_weight():
    logits, target = published_input()
    labelled = torch.ones(2, 2, dtype=torch.bool)
    once, more = (
        dice_bce(logits, target, labelled),
        dice_bce(logits, target, labelled, bce_weight=5),
    )
    assert (more.dice, more.bce) == (once.dice, once.bce)
    assert more.total.item() == pytest.approx((once.dice + 5 * once.bce).item(), abs=1e-12)


@pytest.mark.parametrize("form", ["published", "empty", "log", "equation"])
def test_it_compiles_without_a_graph_break(form):
    logits, target = published_input()
    target, labelled = target.to(torch.uint8), torch.tensor([[True, False], [True, True]])
    compiled = torch.compile(dice_bce, fullgraph=True, backend="eager")
    expected = dice_bce(logits, target, labelled, form=form)
    torch.testing.assert_close(compiled(logits, target, labelled, form=form), expected)


def test_large_logits_stay_finite_in_half_precision():
    logits = torch.tensor([[[60.0, -60.0, 3e4]]], dtype=torch.float16).requires_grad_()
    loss = dice_bce(logits, torch.tensor([[[0, 1, 1]]]), torch.tensor([[True]]))
    loss.total.backward()
    assert loss.total.dtype == torch.float32
    assert loss.bce.item() == pytest.approx(40.0)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("shapes", "form", "message"),
    [
        (((1, 2, 4), (1, 1, 4), (1, 2)), "published", "alike"),
        (((1, 2, 4), (1, 2, 4), (1, 1)), "published", "alike"),
        (((1, 2, 4), (1, 2, 4), (1, 2)), "printed", "unknown form 'printed'"),
    ],
)
def test_wrong_input_is_told(shapes, form, message):
    logits, target, labelled = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=message):
        dice_bce(logits, target, labelled.bool(), form=form)
