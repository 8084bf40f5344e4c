"""Fitting a new head on frozen features before anything else learns (linear probing first).

A head that starts at random sends random gradients through the pretrained features and distorts
them (Kumar et al., "Fine-Tuning can Distort Pretrained Features", 2022). Fitting it first needs one
pass of the backbone over the few scans and some seconds of arithmetic.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mots_pretrained.adaptation.heads import Head, LevelsHead, LinearHead, level_maps
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case, check_labelled
from mots_pretrained.data.stored_case import StoredCase
from mots_pretrained.errors import UserError
from mots_pretrained.inference.sliding_window import margins, window_starts
from mots_pretrained.losses.marginal import marginal_cross_entropy
from mots_pretrained.model.pretrained import refuse_adapters
from mots_pretrained.tasks import IGNORED

OnFit = Callable[[str, int, int], None]
"""Callback that receives what is being done, "window" or "step", its number, and of how many."""

_VOXELS = 256  # of each class a window
_BACKGROUND = 2048  # of the background a window
_MOST_VOXELS = 400_000  # of all windows where each holds background and four classes
_MOST_BYTES = 2_500_000_000  # of their features, of any number of classes; joined, twice as much
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
            not fit the segmenter; if there is none, no step, or LoRA adapters are on.

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
        samples = _sample(segmenter, cases, overlap, seed, on_fit)
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


@dataclass(frozen=True)
class _Samples:
    """Voxels of all cases, of which each labels all classes or some.

    Attributes:
        features: ``(n, C)`` float16.
        targets: ``(n, K)`` uint8.
        case: ``(n,)`` int64, number of the case that each is of.
        labelled: ``(cases, classes)`` bool.
        counts: ``(cases, 1 + classes)``, voxels of the background (of regions: known voxels) and
            of each class in all windows.
    """

    features: Tensor
    targets: Tensor
    case: Tensor
    labelled: Tensor
    counts: NDArray[np.int64]


@torch.inference_mode()
def _sample(
    segmenter: Segmenter, cases: Sequence[Case], overlap: float, seed: int, on_fit: OnFit | None
) -> _Samples:
    """Run the backbone over all windows and sample voxels of each class."""
    like = next(segmenter.backbone.parameters())
    is_deep = isinstance(segmenter.head, LevelsHead)
    window = segmenter.config.preprocessing.window
    layout = [_starts(case, window, overlap) for case in cases]
    windows = sum(len(starts) for starts in layout)
    share = min(1.0, _MOST_VOXELS / (windows * (_BACKGROUND + 4 * _VOXELS)))
    most = (max(1, round(share * _BACKGROUND)), max(1, round(share * _VOXELS)))
    width = sum(segmenter.backbone.level_widths[: None if is_deep else 1])
    bound = max(1, _MOST_BYTES // (2 * width * windows))
    rng = np.random.default_rng([seed, 7])
    classes = len(segmenter.config.classes)
    features, targets, drawn = [], [], []
    counts = np.zeros((len(cases), 1 + classes), np.int64)
    done = 0
    for number, (case, starts) in enumerate(zip(cases, layout, strict=True)):
        for image, target in _windows(case, starts, window):
            counts[number] += _count(target, 1 + classes, segmenter.config.exclusive)
            chosen = _choose(target, most, rng, segmenter.config.exclusive)
            chosen = chosen if len(chosen) <= bound else rng.choice(chosen, bound, replace=False)
            if len(chosen):
                out = segmenter.backbone(torch.from_numpy(image)[None].to(like))
                maps = level_maps(out) if is_deep else [out.decoder]
                at = np.stack(np.unravel_index(chosen, window), axis=1)
                features.append(_features_at(maps, torch.from_numpy(at), window).half().cpu())
                flat = target.reshape(len(target), -1)[:, chosen].T
                targets.append(torch.from_numpy(np.ascontiguousarray(flat)))
                drawn.append(torch.full((len(chosen),), number))
            done += 1
            if on_fit is not None:
                on_fit("window", done, windows)
    labelled = torch.tensor([case.knows(classes) for case in cases])
    if not counts[:, 1:].any():
        raise UserError("the cases label nothing but background; there is nothing to fit to")
    return _Samples(torch.cat(features), torch.cat(targets), torch.cat(drawn), labelled, counts)


def _starts(case: Case, window: tuple[int, int, int], overlap: float) -> list[tuple[int, int, int]]:
    along = [
        window_starts(max(size, length), length, overlap)
        for size, length in zip(case.shape, window, strict=True)
    ]
    return [(z, y, x) for z, y, x in itertools.product(*along)]


def _windows(
    case: Case, starts: list[tuple[int, int, int]], window: tuple[int, int, int]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield image ``(C, *window)`` and target ``(K, *window)`` of each window of a case.

    A case smaller than a window lies in it where prediction puts it.
    """
    image, target = np.asarray(case.image), np.asarray(case.target)
    ends = [(0, 0), *margins(case.shape, window)]
    image = np.pad(image, ends, mode="edge")
    target = np.pad(target, ends, constant_values=IGNORED)
    for start in starts:
        place = (slice(None), *(slice(a, a + n) for a, n in zip(start, window, strict=True)))
        yield np.ascontiguousarray(image[place], np.float32), target[place]


def _count(target: NDArray[np.uint8], classes: int, exclusive: bool) -> NDArray[np.int64]:
    """Count known voxels: background and each class, or all and each region."""
    if exclusive:
        return np.bincount(target.ravel(), minlength=IGNORED + 1)[:classes]
    known = (target != IGNORED).all(axis=0)
    regions = ((target == 1) & known).reshape(len(target), -1).sum(axis=1)
    return np.array([known.sum(), *regions])


def _choose(
    target: NDArray[np.uint8], most: tuple[int, int], rng: np.random.Generator, exclusive: bool
) -> NDArray[np.int64]:
    """Choose voxels of the background and of each class, or of each combination of regions."""
    known = (target != IGNORED).all(axis=0).ravel()
    flat = target.reshape(len(target), -1)
    if exclusive:
        group = flat[0].astype(np.int64)
    else:
        group = (flat == 1).T @ (1 << np.arange(len(flat), dtype=np.int64))
    chosen = []
    for value in np.unique(group[known]):
        there = np.flatnonzero(known & (group == value))
        limit = most[0] if value == 0 else most[1]
        chosen.append(there if len(there) <= limit else rng.choice(there, limit, replace=False))
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


def _features_at(maps: Sequence[Tensor], at: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Interpolate maps ``(1, C, ...)`` trilinearly at voxels ``(n, 3)``; return ``(n, C)``."""
    size = torch.tensor(window)
    place = ((2 * at + 1) / size - 1).flip(1).to(maps[0].device)[None, :, None, None]
    found = (
        F.grid_sample(x.float(), place, padding_mode="border", align_corners=False) for x in maps
    )
    return torch.cat([x[0, :, :, 0, 0].T for x in found], dim=1)


@torch.enable_grad()
def _fit(
    segmenter: Segmenter,
    samples: _Samples,
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
    _fold(head, net, mean, deviation, prior * _prior_shift(samples, exclusive))
    return FittedHead(len(x), float(torch.stack(last).mean()))


def _loss(logits: Tensor, target: Tensor, labelled: Tensor, exclusive: bool) -> Tensor:
    """Return the mean cross-entropy of voxels, each with the classes that its case labels."""
    if exclusive:
        return marginal_cross_entropy(logits, target[:, 0].long(), labelled).mean()
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


def _prior_shift(samples: _Samples, exclusive: bool) -> Tensor:
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
