"""Dice and binary cross-entropy with unlabelled channels ignored (Sec. 3.6, Eq. 16)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mots_pretrained.errors import UserError
from mots_pretrained.losses.channel_sums import channel_sums

Form = Literal["published", "empty", "log", "equation"]

EPSILON = 1e-6
"""The smoothing factor of Eq. 16; the paper gives no value. About 1 / voxels of a patch."""


EMPTY_SIZE = 500.0
"""Voxels predicted on an empty target that cost a half; at 4 x 3 x 3 mm, 18 ml."""


class DiceBCE(NamedTuple):
    """The loss and its two parts, each a scalar: ``total = dice + bce_weight * bce``."""

    dice: Tensor
    bce: Tensor
    total: Tensor


def dice_bce(
    logits: Tensor,
    target: Tensor,
    labelled: Tensor,
    *,
    form: Form = "published",
    bce_weight: float = 1.0,
    empty_size: float = EMPTY_SIZE,
    pos_weight: Sequence[float] | None = None,
) -> DiceBCE:
    """Compare organ and tumour logits with their labels, where there are labels.

    Unlabelled channels and voxels of value ``IGNORED`` take no part: their gradient is exactly
    zero whatever logits and target hold there, NaN included. Without any labelled voxel the loss
    is zero, with a gradient. No form waits for the device.

    The forms differ in how one channel of one sample is scored and how those are reduced:

    - ``"published"``, as in the published code: Dice is ``1 - 2 sum(p y) / (sum(p) + sum(y) + 1)``,
      so an empty target costs 1 whatever is predicted; cross-entropy is the mean over voxels. Both
      are averaged over the samples whose channel is labelled, then over channels with any.
    - ``"empty"``: the same, but an empty target costs ``sum(p) / (sum(p) + s)``: nothing without
      false voxels, a half at ``s`` of them. For data with complete labels, where an empty target
      says that the organ or tumour is not there. A voxel of a lesion of ``n`` voxels is worth
      ``2 / n`` and a false one ``1 / s`` at most, so ``s`` is a few times the size of the lesions
      that are to be found; a constant on both sides of all targets (smooth Dice) would have them
      left out.
    - ``"log"``: as "empty", but a target that is there costs
      ``-log((2 sum(p y) + 1) / (sum(p) + sum(y) + 1))``, as in Wong et al. (2018). Where ``p`` is
      near 0 all over a target the slope of Dice is as small as ``p``, and what was once given up
      is not learned again; the logarithm's is not.
    - ``"equation"``, Eq. 16 as printed: ``-2 sum(p y) / sum(p + y + epsilon)``, without the
      constant 1 (which has no gradient), so perfect masks reach -1; cross-entropy is a sum over
      voxels, its sign read as the leading minus says. Both are summed over channels; over
      samples, of which Eq. 16 has one, they are averaged.

    Args:
        logits: ``(B, C, ...)``, before the sigmoid; half precision is computed in float32.
        target: ``(B, C, ...)`` in {0, 1, IGNORED}, of any dtype; uint8 is the smallest.
        labelled: ``(B, C)`` bool, which channels of which sample are annotated.
        form: Which of the four.
        bce_weight: Weight of the cross-entropy in the total; 1 in the paper.
        empty_size: The constant ``s`` of the forms "empty" and "log", in voxels.
        pos_weight: How often a voxel of each channel's label counts in the cross-entropy, as in
            torch's ``binary_cross_entropy_with_logits``; None: once, as in the paper. Where Dice
            has given up a small target, nothing but the cross-entropy brings it back, and a mean
            over all voxels is too weak to.

    Raises:
        ValueError: If the shapes don't agree or the form is unknown.

    Example:
        >>> logits, target = torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 4, 4, 4)
        >>> round(dice_bce(logits, target, torch.tensor([[True, False]])).bce.item(), 4)
        0.6931
    """
    _check(logits, target, labelled, form)
    overlap, size, bce, missed, voxels, positive = channel_sums(logits, target, labelled)  # (B, C)
    if pos_weight is not None:
        more = zip(pos_weight, missed.unbind(1), strict=True)
        bce = bce + torch.stack([(weight - 1) * one for weight, one in more], dim=1)
    weight = (voxels > 0).to(size.dtype)
    if form == "equation":
        terms = -2 * overlap / (size + EPSILON * voxels.clamp(min=1))
        dice, bce = (terms * weight).sum(1).mean(), (bce * weight).sum(1).mean()
    else:
        terms = dice_terms(overlap, size, positive, form, empty_size)
        dice = labelled_mean(terms, weight)
        bce = labelled_mean(bce / voxels.clamp(min=1), weight)
    return DiceBCE(dice, bce, dice + bce_weight * bce)


def dice_terms(
    overlap: Tensor, size: Tensor, positive: Tensor, form: Form, empty_size: float
) -> Tensor:
    """Return what each channel's overlap costs by any form but "equation", see `dice_bce`.

    Args:
        overlap: Sums of p y, of any shape.
        size: Sums of p + y.
        positive: Sums of y; the target is empty where it is 0.
        form: Which of the four.
        empty_size: Voxels on an empty target that cost a half; unused by "published".
    """
    if form == "log":
        terms = ((size + 1) / (2 * overlap + 1)).log()
    else:
        terms = 1 - 2 * overlap / (size + 1)
    if form == "published":
        return terms
    return torch.where(positive > 0, terms, size / (size + empty_size))


def labelled_mean(terms: Tensor, weight: Tensor) -> Tensor:
    """Average ``(B, C)`` terms over samples of weight 1, then over channels that have any."""
    samples = weight.sum(0)
    means = (terms * weight).sum(0) / samples.clamp(min=1)
    return means.sum() / (samples > 0).sum().clamp(min=1)


def _check(logits: Tensor, target: Tensor, labelled: Tensor, form: str) -> None:
    if logits.shape != target.shape or logits.shape[:2] != labelled.shape or logits.ndim < 3:
        raise UserError(
            f"logits and target must be (B, C, ...) alike and labelled (B, C), not "
            f"{tuple(logits.shape)}, {tuple(target.shape)} and {tuple(labelled.shape)}"
        )
    if labelled.dtype != torch.bool:
        raise UserError(f"labelled must be bool, not {labelled.dtype}")
    if form not in get_args(Form):
        raise UserError(
            f"unknown form {form!r} of the loss; allowed are {', '.join(map(repr, get_args(Form)))}"
        )
