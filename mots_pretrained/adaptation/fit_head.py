"""Fitting a new head on frozen features before anything else learns (linear probing first).

A head that starts at random sends random gradients through the pretrained features and distorts
them (Kumar et al., "Fine-Tuning can Distort Pretrained Features", 2022). Fitting it first needs one
pass of the backbone over the few scans and some seconds of arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mots_pretrained.adaptation.head_samples import OnFit, Samples, sample_voxels
from mots_pretrained.adaptation.heads import Head, LinearHead
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case, check_labelled
from mots_pretrained.data.stored_case import StoredCase
from mots_pretrained.errors import UserError
from mots_pretrained.losses.marginal import marginal_cross_entropy
from mots_pretrained.model.pretrained import refuse_adapters
from mots_pretrained.tasks import IGNORED

_BATCH = 4096  # voxels a fitting step
_RATE = 3e-3  # AdamW's highest rate in one cycle
_DECAY = 1e-2
_CONSTANT = 1e-8  # variance up to which a feature is
_DROPOUT = 0.2  # of the hidden layer while it is fitted
_PRIOR = {"linear": 0.0, "levels": 0.4}
"""Share of the way from the sampled classes' frequencies to the true ones, by kind of head.

Where cases label different classes it is 0: eight cases that label 4 of 13 organs each gave a mean
Dice of 0.415 on three unseen phantoms, with 0.4 of the way 0.379 (one draw, which chose it).
"""

PRIOR_OF_ADDED = 0.0
"""The same for organs that are added, of which a head has few.

With 0.4 a head of the gallbladder alone missed most of it (0.46; with 0 about 0.57); the aorta lost
less by 0 (0.76 to 0.73). One seed, three unseen phantoms, by which it was chosen.
"""


@dataclass(frozen=True)
class FittedHead:
    """What fitting a head did.

    Attributes:
        voxels: Voxels that it was fitted to.
        loss: Mean cross-entropy over the last tenth of the steps.
    """

    voxels: int
    loss: float


def fit_head(
    segmenter: Segmenter,
    cases: Sequence[Case],
    *,
    steps: int = 2500,
    overlap: float = 0.5,
    prior: float | None = None,
    seed: int = 0,
    on_fit: OnFit | None = None,
) -> FittedHead:
    """Fit a segmenter's head to labelled cases in place; the backbone stays as it is.

    The backbone runs once, in its own type, over the windows that prediction would see. Voxels of
    each class are sampled; their features, 2.5 GB at most, are standardised, the head is fitted to
    them by AdamW over one cycle of the rate, and the standardisation is folded into its first
    layer. Since rare classes are sampled more often than they occur, the last bias of a head on all
    levels is moved a part of the way towards the true frequencies; a linear head loses by that.

    Cases may label different classes; what one does not label is merged with the background there
    (``losses.marginal``), or, as a region, left out.

    Args:
        segmenter: Its configuration says whether classes exclude each other.
        cases: On the segmenter's contract; ``target`` as training takes it. Voxels of value
            ``IGNORED`` are left out.
        steps: Fitting steps.
        overlap: Share of a window that the next one covers again.
        prior: Share of the way towards the true frequencies; by default 0 of a linear head, and
            0.4 of one on all levels if every case labels all classes.
        seed: Random seed for voxels and fitting.
        on_fit: Called while windows are read and while the head is fitted.

    Returns:
        What was done.

    Raises:
        UserError: If the cases label nothing but background, none labels some class, or one does
            not fit the segmenter; if there is none, no step, or LoRA adapters are on; if the loss
            is not finite, which leaves the head as it was.

    Example:
        >>> model = Segmenter.from_pretrained(
        ...     "transdodnet.phantom", classes=["liver"], head="levels"
        ... )
        >>> fit_head(model, cases)  # doctest: +SKIP
    """
    refuse_adapters(segmenter, "fit its head before add_lora, or call merge_lora(network) first")
    if steps < 1:
        raise UserError(f"steps must be 1 or more, not {steps}")
    check_cases(segmenter, cases)
    check_labelled(cases, segmenter.config.classes)
    device = next(segmenter.parameters()).device
    was_training = segmenter.training
    segmenter.eval()
    try:
        samples = sample_voxels(segmenter, cases, overlap, seed, on_fit)
        if prior is None:
            is_complete = bool(samples.labelled.all())
            prior = _PRIOR[segmenter.config.new_head.kind] if is_complete else 0.0
        fitted = _fit(segmenter, samples, steps, prior, seed, on_fit)
    finally:
        segmenter.train(was_training)
        segmenter.to(device)
    segmenter.head_is_new = False
    return fitted


def check_cases(segmenter: Segmenter, cases: Sequence[Case]) -> None:
    """Refuse cases that a segmenter cannot learn from.

    Raises:
        UserError: If there are none, or one has other channels, targets or classes.
    """
    if not cases:
        raise UserError("at least one labelled case is needed")
    config = segmenter.config
    channels, targets = config.encoder.in_channels, 1 if config.exclusive else len(config.classes)
    for case in cases:
        if len(case.image) != channels:
            raise UserError(f"{case.name} has {len(case.image)} channels, the network {channels}")
        if len(case.target) != targets:
            raise UserError(f"{case.name} has {len(case.target)} targets, the network {targets}")
        highest = _highest(case)
        if highest > (len(config.classes) if config.exclusive else 1):
            raise UserError(
                f"{case.name} has class {highest}; the network has {len(config.classes)} classes"
            )


def _highest(case: Case) -> int:
    """Return the highest class value of a case, without reading it where that is known."""
    if isinstance(case, StoredCase):
        return max((present.value for present in case.classes), default=0)
    return int(case.target.max(where=case.target != IGNORED, initial=0))


@torch.enable_grad()
def _fit(
    segmenter: Segmenter,
    samples: Samples,
    steps: int,
    prior: float,
    seed: int,
    on_fit: OnFit | None,
) -> FittedHead:
    """Fit the head as a small network on standardised features and fold it back."""
    exclusive, head = segmenter.config.exclusive, segmenter.head
    x, y = samples.features, samples.targets
    mean, deviation = _moments(x)
    outside = torch.get_rng_state()
    torch.manual_seed(seed)
    net = _flat_head(head, x.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    last: list[Tensor] = []
    for step in range(steps):
        chosen = torch.randint(len(x), (min(_BATCH, len(x)),))
        logits = net((x[chosen].float() - mean) / deviation)
        loss = _loss(logits, y[chosen], samples.labelled[samples.case[chosen]], exclusive)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step >= steps - max(1, steps // 10):
            last.append(loss.detach())
        if on_fit is not None and (step + 1) % 50 == 0:
            on_fit("step", step + 1, steps)
    torch.set_rng_state(outside)
    mean_loss = float(torch.stack(last).mean())
    if not math.isfinite(mean_loss):
        raise UserError(
            "the head's loss is not finite: look for NaN or infinite values in the images of the "
            "cases and in the backbone's weights"
        )
    _fold(head, net, mean, deviation, prior * _prior_shift(samples, exclusive))
    return FittedHead(len(x), mean_loss)


def _loss(logits: Tensor, target: Tensor, labelled: Tensor, exclusive: bool) -> Tensor:
    """Return the mean cross-entropy of voxels, each with the classes that its case labels."""
    if exclusive:
        total = marginal_cross_entropy(logits, target[:, 0].long(), labelled).sum()
        return total / labelled.any(1).sum().clamp(min=1)
    weight = labelled.float()
    total = F.binary_cross_entropy_with_logits(logits, target.float(), weight, reduction="sum")
    return total / weight.sum().clamp(min=1)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each feature.

    That of a constant one is infinite, so that it gets no weight; a small one would blow it up.
    """
    total, square = torch.zeros(x.shape[1]).double(), torch.zeros(x.shape[1]).double()
    for part in x.split(65_536):
        values = part.double()
        total += values.sum(0)
        square += values.square().sum(0)
    mean = total / len(x)
    variance = square / len(x) - mean.square()
    deviation = torch.where(variance > _CONSTANT, variance, torch.inf).sqrt()
    return mean.float(), deviation.float()


def _flat_head(head: Head, features: int) -> nn.Sequential:
    """Return the head as layers on vectors, initialised afresh."""
    if isinstance(head, LinearHead):
        return nn.Sequential(nn.Linear(features, head.out_channels))
    hidden = len(head.bias)
    return nn.Sequential(
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(hidden, head.last.out_channels),
    )


@torch.no_grad()
def _fold(head: Head, net: nn.Sequential, mean: Tensor, deviation: Tensor, shift: Tensor) -> None:
    """Write fitted layers, and the standardisation before them, into the head."""
    first, last = cast(nn.Linear, net[0]), cast(nn.Linear, net[-1])
    weight = first.weight / deviation
    bias = first.bias - weight @ mean
    if isinstance(head, LinearHead):
        layers: list[nn.Module] = [head]
        widths = [head.in_channels]
        cast(Tensor, head.bias).copy_(bias + shift)
    else:
        layers = list(head.levels)
        widths = [cast(nn.Conv3d, level).in_channels for level in layers]
        head.bias.copy_(bias)
        head.last.weight.copy_(last.weight[..., None, None, None])
        cast(Tensor, head.last.bias).copy_(last.bias + shift)
    for layer, part in zip(layers, weight.split(widths, dim=1), strict=True):
        cast(nn.Conv3d, layer).weight.copy_(part[..., None, None, None])


def _prior_shift(samples: Samples, exclusive: bool) -> Tensor:
    """Return what to add to the last bias for the classes' frequencies in whole windows.

    Each class is compared with the background, or all known voxels, of the cases that label it.
    """
    y, known = samples.targets, samples.labelled.double()
    counts = torch.from_numpy(samples.counts).double()
    there, all_there = (counts[:, 1:] * known).sum(0), counts[:, 0] @ known
    if exclusive:
        places = samples.case * counts.shape[1] + y[:, 0]
        drawn = torch.bincount(places, minlength=counts.numel()).view_as(counts).double()
        sampled, all_sampled = (drawn[:, 1:] * known).sum(0), drawn[:, 0] @ known
        odds = (part.clamp(min=1).log() for part in (there, all_there, sampled, all_sampled))
        true, of, chosen, of_chosen = odds
        shift = torch.where(sampled > 0, true - of - chosen + of_chosen, 0)
        return F.pad(shift, (1, 0)).float()  # the background stays
    mine = known[samples.case]
    share = (y * mine).sum(0) / mine.sum(0)
    return (torch.logit(there / all_there, eps=1e-9) - torch.logit(share, eps=1e-9)).float()
