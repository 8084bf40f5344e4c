"""Dice and cross-entropy for downstream heads: exclusive classes or nested regions (Sec. 4.5)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from mots_pretrained.errors import UserError
from mots_pretrained.tasks import IGNORED

SMOOTH = 1e-5


class DiceCE(NamedTuple):
    """The loss and its two parts, each a scalar: ``total = dice + ce``."""

    dice: Tensor
    ce: Tensor
    total: Tensor


def dice_ce(logits: Tensor, target: Tensor, *, exclusive: bool = True) -> DiceCE:
    """Compare a segmenter's logits with complete labels.

    Dice is one a class over the whole batch, as nnU-Net does, since a patch lacks most classes;
    background is left out of it. The cross-entropy is the mean over voxels (and regions).

    Args:
        logits: ``(B, K, ...)``; with exclusive classes channel 0 is background.
        target: ``(B, 1, ...)`` class values 0 to K - 1 if exclusive; otherwise ``(B, K, ...)``
            in {0, 1}, one channel a region, which may overlap (BraTS's nested ones). Voxels of
            value ``IGNORED`` add nothing to either part.
        exclusive: Whether classes exclude each other (softmax) or not (sigmoid).

    Raises:
        ValueError: If the shapes don't agree or a class value is out of range.
    """
    wanted = (logits.shape[0], 1 if exclusive else logits.shape[1], *logits.shape[2:])
    if tuple(target.shape) != wanted:
        raise UserError(f"target must be {wanted} for these logits, not {tuple(target.shape)}")
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    known = target != IGNORED
    target = target.masked_fill(~known, 0)
    if exclusive:
        classes = target[:, 0].long()
        if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
            raise UserError(f"class values must be 0 to {logits.shape[1] - 1}")
        ce = cross_entropy(logits, classes, reduction="none")[:, None]
        p = logits.softmax(1)[:, 1:]
        y = one_hot(classes, logits.shape[1]).movedim(-1, 1)[:, 1:].to(p.dtype)
    else:
        y = target.to(logits.dtype)
        ce = binary_cross_entropy_with_logits(logits, y, reduction="none")
        p = logits.sigmoid()
    if not bool(known.all()):
        p, ce = p * known, ce * known  # y is 0 there already
    ce_mean = ce.sum() / known.sum().clamp(min=1)
    p, y = p.transpose(0, 1).flatten(1), y.transpose(0, 1).flatten(1)
    overlap, size = (p * y).sum(1), p.sum(1) + y.sum(1)
    dice = (1 - (2 * overlap + SMOOTH) / (size + SMOOTH)).mean()
    return DiceCE(dice, ce_mean, dice + ce_mean)
