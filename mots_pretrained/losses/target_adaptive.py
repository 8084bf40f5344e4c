"""Target adaptive loss: classes without labels count as background (Fang and Yan [12], Table 9)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mots_pretrained.errors import UserError
from mots_pretrained.losses.dice_bce import EMPTY_SIZE, Form, dice_terms, labelled_mean
from mots_pretrained.losses.marginal import marginal_cross_entropy
from mots_pretrained.losses.segmentation import DiceCE
from mots_pretrained.tasks import IGNORED


def target_adaptive(
    logits: Tensor,
    target: Tensor,
    labelled: Tensor,
    *,
    form: Form = "published",
    empty_size: float = EMPTY_SIZE,
    ce_weight: float = 1.0,
    class_weight: Sequence[float] | None = None,
) -> DiceCE:
    """Compare one softmax over all classes with labels of some of them.

    The two terms have the published form of Eq. 16 (``losses.dice_bce``): cross-entropy with
    unlabelled classes merged with the background (``losses.marginal``), its mean over voxels and
    samples, and ``1 - 2 sum(q y) / (sum(q) + sum(y) + 1)`` of every labelled class, averaged over
    samples, then over classes. Voxels of value ``IGNORED`` take no part.

    Args:
        logits: ``(B, 1 + C, ...)``, the background first; half precision is computed in float32.
        target: ``(B, ...)`` int64, the class of every voxel, 0 for background, or IGNORED; an
            unlabelled class counts as background.
        labelled: ``(B, C)`` bool, which classes of which sample are annotated; a sample without
            any takes no part.
        form: Of the Dice term, as `dice_bce` has it; Eq. 16 as printed is of binary outputs only.
        empty_size: Constant of the forms "empty" and "log", in voxels.
        ce_weight: Weight of the cross-entropy in the total.
        class_weight: How often a voxel of each class, the background first, counts in the
            cross-entropy; None: once.

    Raises:
        ValueError: If the shapes don't agree, or the form is "equation".

    Example:
        >>> logits, target = torch.zeros(1, 3, 8), torch.zeros(1, 8, dtype=torch.int64)
        >>> round(target_adaptive(logits, target, torch.tensor([[True, False]])).ce.exp().item(), 4)
        1.5
    """
    _check(logits, target, labelled)
    if form == "equation":
        raise UserError("TAL's loss has the forms 'published', 'empty' and 'log', not 'equation'")
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    logits, target = logits.flatten(2), target.flatten(1)  # (B, 1 + C, N), (B, N)
    known = labelled.any(1, keepdim=True) & (target != IGNORED)
    logits = logits.masked_fill(~known[:, None], 0)  # of no weight below
    target = target.masked_fill(~known, 0)
    voxels = known.sum(1)
    by_voxel = marginal_cross_entropy(logits, target, labelled)
    for number, weight in enumerate(class_weight or ()):
        if weight != 1:
            by_voxel = torch.where(target == number, weight * by_voxel, by_voxel)
    per_sample = torch.where(known, by_voxel, 0).sum(1) / voxels.clamp(min=1)
    ce = per_sample.sum() / (voxels > 0).sum().clamp(min=1)
    q = logits.softmax(1)[:, 1:] * known[:, None]
    dice = _dice(q, target, labelled & (voxels > 0)[:, None], form, empty_size)
    return DiceCE(dice, ce, dice + ce_weight * ce)


def _dice(q: Tensor, target: Tensor, labelled: Tensor, form: Form, empty_size: float) -> Tensor:
    """Mean over labelled samples, then over labelled classes, of ``(B, C, N)`` probabilities."""
    classes = torch.arange(1, q.shape[1] + 1, device=q.device)
    y = target[:, None] == classes[:, None]
    positive = y.sum(2)
    terms = dice_terms((q * y).sum(2), q.sum(2) + positive, positive, form, empty_size)
    return labelled_mean(terms, labelled.to(q.dtype))


def _check(logits: Tensor, target: Tensor, labelled: Tensor) -> None:
    fit = (
        logits.ndim >= 3
        and target.shape == (logits.shape[0], *logits.shape[2:])
        and labelled.shape == (logits.shape[0], logits.shape[1] - 1)
    )
    if not fit or labelled.dtype != torch.bool:
        raise UserError(
            f"logits must be (B, 1 + C, ...), target (B, ...) and labelled (B, C) bool, not "
            f"{tuple(logits.shape)}, {tuple(target.shape)} and {tuple(labelled.shape)} "
            f"{labelled.dtype}"
        )
