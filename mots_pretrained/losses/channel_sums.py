"""The sums over voxels that binary losses are made of, a channel at a time (Eq. 16)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mots_pretrained.tasks import IGNORED

CERTAIN = -1e4
"""A logit whose sigmoid is exactly 0, in single and in double precision."""

_AT_A_TIME = 1 << 19  # voxels; on a processor what is worked on stays in its cache


class ChannelSums(NamedTuple):
    """Sums over the voxels of ``(B, C)`` channels.

    Attributes:
        overlap: Of p y.
        size: Of p + y.
        bce: Of the cross-entropy.
        missed: Of the cross-entropy where y is 1.
        voxels: Of 1.
        positive: Of y.
    """

    overlap: Tensor
    size: Tensor
    bce: Tensor
    missed: Tensor
    voxels: Tensor
    positive: Tensor


def channel_sums(logits: Tensor, target: Tensor, labelled: Tensor) -> ChannelSums:
    """Sum what sigmoids ``p`` and labels ``y`` give over the voxels that are labelled.

    Nothing of the logits' size is kept for the backward pass but logits and target themselves, and
    a processor goes through them a channel at a time: a third of the time and a fifth of the
    memory of the same sums operation by operation.

    Args:
        logits: ``(B, C, ...)``, before the sigmoid; half precision is computed in float32.
        target: ``(B, C, ...)`` in {0, 1, IGNORED}, of any dtype.
        labelled: ``(B, C)`` bool. Unlabelled channels and voxels of value IGNORED add nothing, and
            their gradient is exactly zero whatever they hold.
    """
    shape = logits.shape[:2]
    sums = _Sums.apply(
        logits.flatten(2).flatten(0, 1), target.flatten(2).flatten(0, 1), labelled.flatten()
    )
    return ChannelSums(*(one.unflatten(0, shape) for one in sums))


class _Sums(torch.autograd.Function):
    """Of logits and target ``(N, voxels)`` and labelled ``(N,)``: six sums ``(N,)``."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, labelled: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        ctx.save_for_backward(logits, target, labelled)
        sums = []
        for rows in _parts(logits):
            x, y, known = _masked(logits[rows], target[rows], labelled[rows])
            p = x.sigmoid()
            positive, bce = y.sum(1), _cross_entropy(x, y)
            of_p = ((p * y).sum(1), p.sum(1) + positive)
            sums.append((*of_p, bce.sum(1), (bce * y).sum(1), known.sum(1), positive))
        overlap, size, bce, missed, voxels, positive = map(torch.cat, zip(*sums, strict=True))
        ctx.mark_non_differentiable(voxels, positive)
        return overlap, size, bce, missed, voxels, positive

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        logits, target, labelled = ctx.saved_tensors
        overlap, size, bce, missed = (one[:, None] for one in grads[:4])
        parts = []
        for rows in _parts(logits):
            x, y, _ = _masked(logits[rows], target[rows], labelled[rows])
            p = x.sigmoid()
            by_p = torch.addcmul(size[rows], y, overlap[rows])
            slope = torch.addcmul(p, p, p, value=-1)  # of the sigmoid
            by_bce = torch.addcmul(bce[rows], y, missed[rows])
            parts.append(torch.addcmul((p - y) * by_bce, by_p, slope).to(logits.dtype))
        return torch.cat(parts), None, None


def _cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    """Return ``log(1 + exp(z))`` for z = -x where y is 1, else x.

    As ``max(z, 0) + log(1 + exp(-|z|))``, of which log1p would take ten times as long for a last
    digit that no sum over voxels has.
    """
    z = (1 - 2 * y).mul_(x)
    return z.abs().neg_().exp_().add_(1).log_().add_(z.clamp_(min=0))


def _parts(logits: Tensor) -> Iterator[slice]:
    """Cut the rows into parts of a few voxels on the CPU; elsewhere all at once."""
    rows, voxels = logits.shape
    step = max(1, _AT_A_TIME // max(1, voxels)) if logits.device.type == "cpu" else max(1, rows)
    return (slice(start, start + step) for start in range(0, rows, step))


def _masked(logits: Tensor, target: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Make unknown voxels certain background that is right: they add nothing to any sum."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    known = labelled[:, None] & (target != IGNORED)
    y = target.masked_fill(~known, 0).to(logits.dtype)
    return logits.masked_fill(~known, CERTAIN), y, known
