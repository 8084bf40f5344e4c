"""Fine-tuning a Segmenter on a few labelled scans (Sec. 3.7)."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.batch import Batch
from mots_pretrained.data.augment import Augmentation
from mots_pretrained.data.dataset import Cycle, PatchStream, Sampling
from mots_pretrained.data.patches import Case, Size
from mots_pretrained.data.preprocess import lowest_value
from mots_pretrained.evaluation.table import Table
from mots_pretrained.losses import DiceCE, dice_ce
from mots_pretrained.training.loop import LoopSettings, Progress, Training
from mots_pretrained.training.validation import score_case

PARTS = ("encoder", "transformer", "decoder")
"""Parts of the backbone that can be frozen."""


@dataclass(frozen=True)
class Finetuning:
    """How a network is fine-tuned.

    Attributes:
        steps: Optimiser steps.
        batch: Patches a step.
        patch: Voxels of a patch along (D, H, W); None takes the contract's. Smaller ones are
            cheaper; what the network sees at test time stays the contract's window.
        rate: AdamW's initial learning rate; None takes 2e-4 (Sec. 4.1) for networks of the
            paper's size and 1e-3 for those below 10 million parameters.
        weight_decay: On all weights.
        seed: Of patches, augmentation and dropout.
        freeze: Names of ``PARTS`` that stay as they are.
        augment: Whether patches are scaled, mirrored and changed in appearance.
        validate_every: Steps between validations; None makes twenty of them.
        patience: End after so many validations without a better one; 0 never does.
    """

    steps: int = 2000
    batch: int = 2
    patch: Size | None = None
    rate: float | None = None
    weight_decay: float = 1e-4
    seed: int = 0
    freeze: tuple[str, ...] = ()
    augment: bool = True
    validate_every: int | None = None
    patience: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError(f"steps and batch must be at least 1, not {self.steps}, {self.batch}")
        if self.rate is not None and not 0 < self.rate < 1:
            raise ValueError(f"the learning rate must lie between 0 and 1, not {self.rate}")
        strange = [part for part in self.freeze if part not in PARTS]
        if strange:
            raise ValueError(f"can't freeze {strange[0]!r}; allowed are {', '.join(PARTS)}")


@dataclass
class History:
    """What happened.

    Attributes:
        progress: The lines of the log.
        validations: Step and scores of each validation.
        best_step: Step whose weights the network holds now.
    """

    progress: list[Progress] = field(default_factory=list)
    validations: list[tuple[int, Table]] = field(default_factory=list)
    best_step: int = 0

    @property
    def best(self) -> Table | None:
        """Scores of the best validation."""
        return next((table for step, table in self.validations if step == self.best_step), None)


def finetune(
    segmenter: Segmenter,
    cases: Sequence[Case],
    settings: Finetuning | None = None,
    *,
    validation: Sequence[Case] = (),
    device: str = "cpu",
    workers: int = 0,
    folder: Path | None = None,
    on_step: Callable[[Progress], Any] | None = None,
) -> History:
    """Fine-tune a network in place; it ends in evaluation mode with its best weights.

    With validation cases these are the weights of the best mean Dice, else the last ones.

    Args:
        segmenter: A pretrained backbone with a new head, or a fresh network.
        cases: Labelled cases on the network's contract.
        settings: How.
        validation: Cases held out.
        device: Where it trains.
        workers: Processes that cut patches; the result is the same.
        folder: Where ``log.csv`` goes; None keeps none.
        on_step: Called with each line of the log, every tenth step.

    Raises:
        ValueError: If there is no case, or one does not fit the network.

    Example:
        >>> model = Segmenter.from_pretrained("transdodnet.phantom", classes=("liver",))
        >>> history = finetune(model, cases, Finetuning(steps=500))
    """
    settings = settings or Finetuning()
    _check(segmenter, [*cases, *validation])
    freeze(segmenter, settings.freeze)
    segmenter.to(device)
    if device == "cpu":
        segmenter.to(memory_format=torch.channels_last_3d)  # a fifth faster there
    trained = [p for p in segmenter.parameters() if p.requires_grad]
    rate = settings.rate or default_rate(segmenter)

    def loss(batch: Batch) -> DiceCE:
        return dice_ce(segmenter(batch.image), batch.target, exclusive=segmenter.config.exclusive)

    training = Training(
        model=segmenter,
        loss=loss,
        optimizer=torch.optim.AdamW(trained, rate, weight_decay=settings.weight_decay),
        settings=LoopSettings(settings.steps, seed=settings.seed, checkpoint_minutes=None),
        folder=folder,
    )
    stream = patch_stream(segmenter, cases, settings, workers=workers)
    watch = _Watch(segmenter, validation, settings, on_step)
    training.run(lambda step: stream.batches(settings.batch, start=step), on_log=watch)
    watch.finish(training.step)
    return watch.history


def patch_stream(
    segmenter: Segmenter, cases: Sequence[Case], settings: Finetuning, *, workers: int = 0
) -> PatchStream:
    """Return the stream of patches that a fine-tuning sees."""
    contract = segmenter.config.preprocessing
    sides = is_lateral(segmenter.config.classes)
    augmentation = Augmentation(mirror=() if sides else (2,))
    sampling = Sampling(
        patch=settings.patch or contract.patch,
        spacing=contract.spacing,
        fill=lowest_value(contract),
        patches_per_case=2,
        cases_per_block=max(4, min(len(cases), 16)),
        augmentation=augmentation if settings.augment else None,
    )
    return PatchStream(Cycle(cases, settings.seed), sampling, settings.seed, workers)


def is_lateral(classes: Sequence[str]) -> bool:
    """Tell whether a class may be of one side of the body, so that mirroring would make it wrong.

    Classes that are only numbered count as lateral: nobody knows what they are.

    Example:
        >>> is_lateral(("liver", "LeftKidney")), is_lateral(("liver", "copyright"))
        (True, False)
    """
    if any(re.fullmatch(r"(class|label)_\d+", name) for name in classes):
        return True
    # Words end at anything but a letter, and before a capital after a small one.
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", " ".join(classes))
    words = {word.lower() for word in found}
    return not words.isdisjoint({"left", "right", "l", "r", "lk", "rk", "lag", "rag"})


def freeze(segmenter: Segmenter, parts: Sequence[str]) -> None:
    """Let everything learn but the named parts of the backbone."""
    segmenter.requires_grad_(True)
    for part in parts:
        if not hasattr(segmenter.backbone, part):
            there = ", ".join(name for name, _ in segmenter.backbone.named_children())
            raise ValueError(f"this backbone has no part {part!r} to freeze; it has {there}")
        module = getattr(segmenter.backbone, part)
        if isinstance(module, nn.Module):
            module.requires_grad_(False)


def default_rate(network: nn.Module) -> float:
    """Return the learning rate for a network of its size (Sec. 4.1 for the paper's own)."""
    small = sum(parameter.numel() for parameter in network.parameters()) < 10_000_000
    return 1e-3 if small else 2e-4


class _Watch:
    """Validates now and then, keeps the best weights, and says when to stop."""

    def __init__(
        self,
        segmenter: Segmenter,
        cases: Sequence[Case],
        settings: Finetuning,
        on_step: Callable[[Progress], Any] | None,
    ) -> None:
        self.segmenter, self.cases, self.on_step = segmenter, cases, on_step
        self.every = settings.validate_every or max(1, settings.steps // 20)
        self.patience = settings.patience
        self.history = History()
        self._best = -1.0
        self._weights: dict[str, torch.Tensor] | None = None
        self._next = self.every

    def __call__(self, progress: Progress, _: nn.Module) -> bool:
        self.history.progress.append(progress)
        if self.on_step is not None:
            self.on_step(progress)
        if not self.cases or (progress.step < self._next and progress.step < progress.steps):
            return False
        self._next = progress.step + self.every
        return self._validate(progress.step)

    def _validate(self, step: int) -> bool:
        table = Table(self.segmenter.config.classes)
        self.segmenter.eval()
        for index, case in enumerate(self.cases):
            table.add(f"{index} {case.name}", score_case(self.segmenter, case, overlap=0.25))
        self.history.validations.append((step, table))
        mean = table.mean_dice or 0.0
        if mean > self._best:
            self._best, self.history.best_step = mean, step
            self._weights = copy.deepcopy(self.segmenter.state_dict())
            return False
        steps = [done for done, _ in self.history.validations]
        since = len(steps) - 1 - steps.index(self.history.best_step)
        return 0 < self.patience <= since

    def finish(self, step: int) -> None:
        """Put the best weights back."""
        if self._weights is None:
            self.history.best_step = step
        else:
            self.segmenter.load_state_dict(self._weights)
        self.segmenter.requires_grad_(True).eval()


def _check(segmenter: Segmenter, cases: Sequence[Case]) -> None:
    if not cases:
        raise ValueError("fine-tuning needs at least one labelled case")
    config = segmenter.config
    channels, targets = config.encoder.in_channels, 1 if config.exclusive else len(config.classes)
    for case in cases:
        if len(case.image) != channels:
            raise ValueError(f"{case.name} has {len(case.image)} channels, the network {channels}")
        if len(case.target) != targets:
            raise ValueError(f"{case.name} has {len(case.target)} targets, the network {targets}")
        highest = int(case.target.max())
        if highest > (len(config.classes) if config.exclusive else 1):
            raise ValueError(
                f"{case.name} has class {highest}; the network has {len(config.classes)} classes"
            )
