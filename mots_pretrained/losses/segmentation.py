"""Dice and cross-entropy for downstream heads: exclusive classes or nested regions (Sec. 4.5)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mots_pretrained.errors import UserError
from mots_pretrained.losses.channel_sums import CERTAIN
from mots_pretrained.losses.marginal import marginal_cross_entropy
from mots_pretrained.tasks import IGNORED

SMOOTH = 1e-5


class DiceCE(NamedTuple):
    """The loss and its two parts, each a scalar: ``total = dice + ce``."""

    dice: Tensor
    ce: Tensor
    total: Tensor


def dice_ce(
    logits: Tensor, target: Tensor, *, exclusive: bool = True, labelled: Tensor | None = None
) -> DiceCE:
    """Compare a segmenter's logits with labels of all classes, or of some.

    Dice is one a class over the whole batch, as nnU-Net does, since a patch lacks most classes;
    background is left out of it. The cross-entropy is the mean over voxels (and regions). Voxels
    of value ``IGNORED`` add nothing to either part; their gradient is exactly zero.

    What a sample does not label has no part in its Dice. Exclusive classes are merged with the
    background there (``losses.marginal``); regions are left out, with a gradient of exactly zero.

    Args:
        logits: ``(B, K, ...)``; with exclusive classes channel 0 is background.
        target: ``(B, 1, ...)`` class values 0 to K - 1 if exclusive; otherwise ``(B, K, ...)``
            in {0, 1}, one channel a region, which may overlap (BraTS's nested ones). Of any
            dtype; uint8 is the smallest.
        exclusive: Whether classes exclude each other (softmax) or not (sigmoid).
        labelled: ``(B, C)`` bool, which classes (without the background) or regions of which sample
            are annotated; None: all.

    Raises:
        ValueError: If the shapes don't agree or, on the CPU, a class value is out of range.
    """
    _check(logits, target, exclusive, labelled)
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    told = None if labelled is None else labelled.view(*labelled.shape, *[1] * (logits.ndim - 2))
    known = target != IGNORED
    if told is not None:  # of exclusive classes the background counts where one is labelled
        known = known & (told.any(1, keepdim=True) if exclusive else told)
    target = target.masked_fill(~known, 0)
    if exclusive:
        p, y, ce = _exclusive(logits, target[:, 0].long(), known, labelled)
        if told is not None:
            p, y = p * told, y & told
    else:
        logits = logits.masked_fill(~known, CERTAIN)  # certain and right, so it adds nothing
        p, y = logits.sigmoid(), target != 0
        ce = binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
    ce_mean = ce.sum() / known.sum().clamp(min=1)
    voxels = (0, *range(2, p.ndim))
    overlap, size = (p * y).sum(voxels), p.sum(voxels) + y.sum(voxels)
    terms = 1 - (2 * overlap + SMOOTH) / (size + SMOOTH)  # 0 where no sample is labelled
    dice = terms.mean() if labelled is None else terms.sum() / labelled.any(0).sum().clamp(min=1)
    return DiceCE(dice, ce_mean, dice + ce_mean)


def _exclusive(
    logits: Tensor, classes: Tensor, known: Tensor, labelled: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities and bool labels of all classes but the background, and cross-entropy.

    Labels of one byte a class and voxel: a one-hot of int64 takes eight.
    """
    numbers = torch.arange(logits.shape[1], device=logits.device)
    numbers = numbers.view(-1, *[1] * (logits.ndim - 2))
    # Where labels are ignored the background is certain and right, so it adds nothing.
    logits = torch.where(known, logits, CERTAIN * (numbers > 0).to(logits.dtype))
    if labelled is None:
        ce = cross_entropy(logits, classes, reduction="none")
    else:
        ce = marginal_cross_entropy(logits, classes, labelled)
    return logits.softmax(1)[:, 1:], classes[:, None] == numbers[1:], ce


def _check(logits: Tensor, target: Tensor, exclusive: bool, labelled: Tensor | None) -> None:
    wanted = (logits.shape[0], 1 if exclusive else logits.shape[1], *logits.shape[2:])
    if tuple(target.shape) != wanted:
        raise UserError(f"target must be {wanted} for these logits, not {tuple(target.shape)}")
    told = (logits.shape[0], logits.shape[1] - exclusive)
    if labelled is not None and (tuple(labelled.shape) != told or labelled.dtype != torch.bool):
        raise UserError(
            f"labelled must be {told} bool, not {tuple(labelled.shape)} {labelled.dtype}"
        )
    if not exclusive or torch.compiler.is_compiling() or target.device.type != "cpu":
        return  # reading values would wait for the device, where the lookup itself refuses them
    highest = logits.shape[1] - 1
    if bool((((target < 0) | (target > highest)) & (target != IGNORED)).any()):
        raise UserError(f"class values must be 0 to {highest}")
