"""Fine-tuning a Segmenter on a few labelled scans (Sec. 3.7)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mots_pretrained.adaptation.freezing import Unfreezing, layer_decay_groups, parts
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.batch import Batch
from mots_pretrained.data.augment import Augmentation
from mots_pretrained.data.case import Case
from mots_pretrained.data.sides import mirrored_classes
from mots_pretrained.data.stream import Cycle, PatchStream, Sampling
from mots_pretrained.errors import UserError
from mots_pretrained.losses import DiceCE, dice_ce
from mots_pretrained.shapes import Size
from mots_pretrained.tasks import IGNORED
from mots_pretrained.training.history import History, Watch
from mots_pretrained.training.loop import LoopSettings, Progress, Training
from mots_pretrained.training.resume import CHECKPOINT

_PATCHES_A_CASE = 2


@dataclass(frozen=True)
class Finetuning:
    """How a network is fine-tuned.

    Attributes:
        steps: Optimiser steps.
        epochs: In place of steps, if above 0: rounds of two patches from each training case.
        batch: Patches a step.
        patch: Voxels of a patch along (D, H, W); None takes the contract's. Smaller ones are
            cheaper; what the network sees at test time stays the contract's window.
        rate: AdamW's initial learning rate; None takes 2e-4 (Sec. 4.1) for networks of the
            paper's size and 1e-3 for those below 10 million parameters.
        weight_decay: On all weights; with ``layer_decay`` on kernels and matrices only.
        layer_decay: Factor on the rate a stage away from the output; None: one rate for all.
        seed: Of patches, augmentation and dropout.
        freeze: Parts or stages of the network that stay as they are, as ``adaptation.freezing``
            names them.
        unfreeze: Begin with the head alone, and so many steps later let the decoder learn, then
            the Transformer, then the encoder; 0: all learn at once.
        augment: Whether patches are scaled, mirrored and changed in appearance.
        validate_every: Steps between validations; None makes twenty of them.
        patience: End after so many validations without a better one; 0 never does.
    """

    steps: int = 2000
    epochs: int = 0
    batch: int = 2
    patch: Size | None = None
    rate: float | None = None
    weight_decay: float = 1e-4
    layer_decay: float | None = None
    seed: int = 0
    freeze: tuple[str, ...] = ()
    unfreeze: int = 0
    augment: bool = True
    validate_every: int | None = None
    patience: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise UserError(f"steps and batch must be at least 1, not {self.steps}, {self.batch}")
        if min(self.epochs, self.unfreeze, self.patience) < 0:
            raise UserError("epochs, the steps to unfreeze after, and patience must be 0 or more")
        if self.rate is not None and not 0 < self.rate < 1:
            raise UserError(f"the learning rate must lie between 0 and 1, not {self.rate}")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise UserError(f"the layers' decay must be 0 to 1, not {self.layer_decay}")

    def steps_for(self, cases: int) -> int:
        """Return the steps that a training on so many cases takes."""
        if not self.epochs:
            return self.steps
        return -(-self.epochs * _PATCHES_A_CASE * cases // self.batch)


def finetune(
    segmenter: Segmenter,
    cases: Sequence[Case],
    settings: Finetuning | None = None,
    *,
    validation: Sequence[Case] = (),
    device: str = "cpu",
    workers: int = 0,
    folder: Path | None = None,
    resume: bool = False,
    max_minutes: float | None = None,
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
        folder: Where ``log.csv`` and, until the training is complete, a checkpoint go; None keeps
            neither.
        resume: Go on from the folder's checkpoint, if there is one, to the very same weights.
        max_minutes: End cleanly after so long, to be resumed.
        on_step: Called with each line of the log, every tenth step.

    Raises:
        ValueError: If there is no case, or one does not fit the network; or the folder holds an
            unfinished training and ``resume`` is not set, or one with other settings and it is.

    Example:
        >>> model = Segmenter.from_pretrained("transdodnet.phantom", classes=("liver",))
        >>> history = finetune(model, cases, Finetuning(steps=500))
    """
    settings = settings or Finetuning()
    _check(segmenter, [*cases, *validation])
    begun = folder is not None and (folder / CHECKPOINT).exists()
    if begun and not resume:
        raise UserError(
            f"{folder} holds an unfinished training; resume it or choose another folder"
        )
    steps = settings.steps_for(len(cases))
    training = _training(segmenter, settings, steps, device, folder, max_minutes)
    training.identity = _identity(segmenter, settings, cases, validation)
    watch = Watch(
        segmenter,
        validation,
        every=settings.validate_every or max(1, steps // 20),
        patience=settings.patience,
        on_step=on_step,
        kept=training.extra,
    )
    if begun:
        training.resume()
        watch.resume()
    stream = patch_stream(segmenter, cases, settings, workers=workers)
    if training.extra["patient"]:
        training.run(lambda step: stream.batches(settings.batch, start=step), on_log=watch)
    watch.finish(training.step, steps)
    if folder is not None and watch.history.complete:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return watch.history


def _training(
    segmenter: Segmenter,
    settings: Finetuning,
    steps: int,
    device: str,
    folder: Path | None,
    max_minutes: float | None,
) -> Training:
    """Set up the loop: which weights learn, from when on and how fast."""
    plan = unfreezing(segmenter, settings)
    segmenter.to(device).requires_grad_(True)
    # The optimiser knows all weights, and passes over those without a gradient.
    groups: Any = segmenter.parameters()
    if settings.layer_decay is not None:
        groups = layer_decay_groups(
            segmenter, decay=settings.layer_decay, weight_decay=settings.weight_decay
        )

    def loss(batch: Batch) -> DiceCE:
        plan.apply(segmenter, training.step)
        return dice_ce(segmenter(batch.image), batch.target, exclusive=segmenter.config.exclusive)

    training = Training(
        model=segmenter,
        loss=loss,
        optimizer=torch.optim.AdamW(
            groups, settings.rate or default_rate(segmenter), weight_decay=settings.weight_decay
        ),
        settings=LoopSettings(
            steps,
            seed=settings.seed,
            checkpoint_minutes=None if folder is None else 3.0,
            max_minutes=max_minutes,
        ),
        folder=folder,
    )
    plan.apply(segmenter, 0)
    return training


def unfreezing(segmenter: Segmenter, settings: Finetuning) -> Unfreezing:
    """Return which parts are frozen, and the steps from which on some of them learn.

    Raises:
        ValueError: If the network has no such part.
    """
    if not settings.unfreeze:
        plan = Unfreezing(settings.freeze)
    else:
        there = parts(segmenter)
        later = [part for part in ("decoder", "transformer", "encoder")
                 if part in there and part not in settings.freeze]  # fmt: skip
        staged = Unfreezing.backwards(settings.unfreeze, later)
        plan = dataclasses.replace(staged, frozen=(*staged.frozen, *settings.freeze))
    plan.apply(segmenter, 0)
    return plan


def patch_stream(
    segmenter: Segmenter, cases: Sequence[Case], settings: Finetuning, *, workers: int = 0
) -> PatchStream:
    """Return the stream of patches that a fine-tuning sees."""
    contract = segmenter.config.preprocessing
    sides = mirrored_classes(segmenter.config.classes)
    augmentation = Augmentation(mirror=() if sides is None else (2,))
    sampling = Sampling(
        patch=settings.patch or contract.patch,
        spacing=contract.spacing,
        patches_per_case=_PATCHES_A_CASE,
        cases_per_block=max(4, min(len(cases), 16)),
        augmentation=augmentation if settings.augment else None,
        sides=sides,
    )
    return PatchStream(Cycle(cases, settings.seed), sampling, settings.seed, workers)


def default_rate(network: nn.Module) -> float:
    """Return the learning rate for a network of its size (Sec. 4.1 for the paper's own)."""
    small = sum(parameter.numel() for parameter in network.parameters()) < 10_000_000
    return 1e-3 if small else 2e-4


def _identity(
    segmenter: Segmenter,
    settings: Finetuning,
    cases: Sequence[Case],
    validation: Sequence[Case],
) -> str:
    """Say in lines what must be the same for a checkpoint to be continued."""
    what = {
        **dataclasses.asdict(settings),
        "classes": segmenter.config.classes,
        "cases": [case.name for case in cases],
        "validation": [case.name for case in validation],
    }
    return "\n".join(f"{name}: {json.dumps(value)}" for name, value in what.items())


def _check(segmenter: Segmenter, cases: Sequence[Case]) -> None:
    if not cases:
        raise UserError("fine-tuning needs at least one labelled case")
    config = segmenter.config
    channels, targets = config.encoder.in_channels, 1 if config.exclusive else len(config.classes)
    for case in cases:
        if len(case.image) != channels:
            raise UserError(f"{case.name} has {len(case.image)} channels, the network {channels}")
        if len(case.target) != targets:
            raise UserError(f"{case.name} has {len(case.target)} targets, the network {targets}")
        target = np.asarray(case.target)  # of a stored case, read now
        highest = int(target.max(where=target != IGNORED, initial=0))
        if highest > (len(config.classes) if config.exclusive else 1):
            raise UserError(
                f"{case.name} has class {highest}; the network has {len(config.classes)} classes"
            )
