"""Dice and binary cross-entropy with unlabelled channels ignored (Sec. 3.6, Eq. 16)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mots_pretrained.errors import UserError

Form = Literal["published", "equation"]

EPSILON = 1e-6
"""The smoothing factor of Eq. 16; the paper gives no value. About 1 / voxels of a patch."""


class DiceBCE(NamedTuple):
    """The loss and its two parts, each a scalar: ``total = dice + bce``."""

    dice: Tensor
    bce: Tensor
    total: Tensor


def dice_bce(
    logits: Tensor, target: Tensor, labelled: Tensor, *, form: Form = "published"
) -> DiceBCE:
    """Compare organ and tumour logits with their labels, where there are labels.

    An unlabelled channel takes no part: its gradient is exactly zero whatever logits and target
    hold there, NaN included. Without any labelled channel the loss is zero, with a gradient.

    The two forms differ as the published code differs from the paper:

    - ``"published"``: a channel's Dice term is ``1 - 2 sum(p y) / (sum(p) + sum(y) + 1)``, so an
      empty target costs 1; its cross-entropy is the mean over voxels. Both are averaged over the
      samples whose channel is labelled, then over the channels with any such sample.
    - ``"equation"``: Eq. 16 as printed. The Dice term is ``-2 sum(p y) / sum(p + y + epsilon)``,
      without the constant 1 (which has no gradient), so perfect masks reach -1; the cross-entropy
      is a sum over voxels, its sign read as the leading minus says. Both are summed over
      channels; over samples, of which Eq. 16 has one, they are averaged.

    Args:
        logits: ``(B, C, ...)``, before the sigmoid; half precision is computed in float32.
        target: ``(B, C, ...)`` in {0, 1}, of any dtype.
        labelled: ``(B, C)`` bool, which channels of which sample are annotated.
        form: Which of the two.

    Raises:
        ValueError: If the shapes don't agree or the form is unknown.

    Example:
        >>> logits, target = torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 4, 4, 4)
        >>> round(dice_bce(logits, target, torch.tensor([[True, False]])).bce.item(), 4)
        0.6931
    """
    _check(logits, target, labelled)
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    known = labelled.reshape(*labelled.shape, *[1] * (logits.ndim - 2))
    logits = torch.where(known, logits, torch.zeros_like(logits)).flatten(2)
    target = torch.where(known, target.to(logits.dtype), torch.zeros_like(target)).flatten(2)
    weight = labelled.to(logits.dtype)
    if form == "published":
        return _published(logits, target, weight)
    if form == "equation":
        return _equation(logits, target, weight)
    raise UserError(f"unknown form {form!r} of the loss; allowed are 'published', 'equation'")


def _published(logits: Tensor, target: Tensor, weight: Tensor) -> DiceBCE:
    """Mean over labelled samples, then over labelled channels; all tensors (B, C, N) or (B, C)."""
    p = logits.sigmoid()
    overlap, size = (p * target).sum(2), p.sum(2) + target.sum(2)
    dice_terms = 1 - 2 * overlap / (size + 1)
    bce_terms = binary_cross_entropy_with_logits(logits, target, reduction="none").mean(2)
    samples = weight.sum(0)
    channels = (samples > 0).sum().clamp(min=1)

    def reduce(terms: Tensor) -> Tensor:
        return ((terms * weight).sum(0) / samples.clamp(min=1)).sum() / channels

    dice, bce = reduce(dice_terms), reduce(bce_terms)
    return DiceBCE(dice, bce, dice + bce)


def _equation(logits: Tensor, target: Tensor, weight: Tensor) -> DiceBCE:
    """Sum over labelled channels, mean over samples; all tensors (B, C, N) or (B, C)."""
    p = logits.sigmoid()
    dice_terms = -2 * (p * target).sum(2) / (p + target + EPSILON).sum(2)
    bce_terms = binary_cross_entropy_with_logits(logits, target, reduction="none").sum(2)
    dice, bce = (dice_terms * weight).sum(1).mean(), (bce_terms * weight).sum(1).mean()
    return DiceBCE(dice, bce, dice + bce)


def _check(logits: Tensor, target: Tensor, labelled: Tensor) -> None:
    if logits.shape != target.shape or logits.shape[:2] != labelled.shape or logits.ndim < 3:
        raise UserError(
            f"logits and target must be (B, C, ...) alike and labelled (B, C), not "
            f"{tuple(logits.shape)}, {tuple(target.shape)} and {tuple(labelled.shape)}"
        )
    if labelled.dtype != torch.bool:
        raise UserError(f"labelled must be bool, not {labelled.dtype}")
