"""Dice and binary cross-entropy with unlabelled channels ignored (Sec. 3.6, Eq. 16)."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mots_pretrained.errors import UserError
from mots_pretrained.losses.channel_sums import channel_sums

Form = Literal["published", "smooth", "equation"]

EPSILON = 1e-6
"""The smoothing factor of Eq. 16; the paper gives no value. About 1 / voxels of a patch."""


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
    smoothing: float = 1.0,
) -> DiceBCE:
    """Compare organ and tumour logits with their labels, where there are labels.

    Unlabelled channels and voxels of value ``IGNORED`` take no part: their gradient is exactly
    zero whatever logits and target hold there, NaN included. Without any labelled voxel the loss
    is zero, with a gradient. No form waits for the device.

    The forms differ in how one channel of one sample is scored and how those are reduced:

    - ``"published"``, as in the published code: Dice is ``1 - 2 sum(p y) / (sum(p) + sum(y) + 1)``,
      so an empty target costs 1 whatever is predicted; cross-entropy is the mean over voxels. Both
      are averaged over the samples whose channel is labelled, then over channels with any.
    - ``"smooth"``: the same with ``(2 sum(p y) + s) / (sum(p) + sum(y) + s)``, so that on an empty
      target false voxels cost and their absence is rewarded. For data with complete labels. With
      ``s`` of 1 whoever is not sure of a small lesion has to say nothing; with the size of a small
      one a missed and a false one cost alike.
    - ``"equation"``, Eq. 16 as printed: ``-2 sum(p y) / sum(p + y + epsilon)``, without the
      constant 1 (which has no gradient), so perfect masks reach -1; cross-entropy is a sum over
      voxels, its sign read as the leading minus says. Both are summed over channels; over
      samples, of which Eq. 16 has one, they are averaged.

    Args:
        logits: ``(B, C, ...)``, before the sigmoid; half precision is computed in float32.
        target: ``(B, C, ...)`` in {0, 1, IGNORED}, of any dtype; uint8 is the smallest.
        labelled: ``(B, C)`` bool, which channels of which sample are annotated.
        form: Which of the three.
        bce_weight: Weight of the cross-entropy in the total; 1 in the paper.
        smoothing: The constant ``s`` of the form "smooth", in voxels.

    Raises:
        ValueError: If the shapes don't agree or the form is unknown.

    Example:
        >>> logits, target = torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 4, 4, 4)
        >>> round(dice_bce(logits, target, torch.tensor([[True, False]])).bce.item(), 4)
        0.6931
    """
    _check(logits, target, labelled, form)
    overlap, size, bce, voxels = channel_sums(logits, target, labelled)  # (B, C) each
    weight = (voxels > 0).to(size.dtype)
    if form == "equation":
        terms = -2 * overlap / (size + EPSILON * voxels.clamp(min=1))
        dice, bce = (terms * weight).sum(1).mean(), (bce * weight).sum(1).mean()
    else:
        above, below = (smoothing, smoothing) if form == "smooth" else (0, 1)
        terms = 1 - (2 * overlap + above) / (size + below)
        dice = labelled_mean(terms, weight)
        bce = labelled_mean(bce / voxels.clamp(min=1), weight)
    return DiceBCE(dice, bce, dice + bce_weight * bce)


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
