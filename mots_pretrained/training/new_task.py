"""Learning an added task: its query alone, on a few labelled scans, over a frozen network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mots_pretrained.adaptation.extended import ExtendedTransDoDNet
from mots_pretrained.data.augment import Augmentation
from mots_pretrained.data.case import Case
from mots_pretrained.data.sides import mirrored_classes
from mots_pretrained.data.stream import Cycle, PatchStream, Sampling
from mots_pretrained.errors import UserError
from mots_pretrained.shapes import Size
from mots_pretrained.tasks import Task
from mots_pretrained.training.loop import LoopSettings, Progress, Training


@dataclass(frozen=True)
class TaskLearning:
    """How an added task is learned.

    Attributes:
        steps: Optimiser steps.
        batch: Patches a step.
        patch: Voxels of a patch along (D, H, W); None takes the contract's.
        rate: AdamW's initial learning rate; high, as a few hundred numbers are all that learns.
        seed: Of patches and augmentation.
        augment: Whether patches are scaled, mirrored and changed in appearance.
    """

    steps: int = 300
    batch: int = 2
    patch: Size | None = None
    rate: float = 3e-2
    seed: int = 0
    augment: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise UserError(f"steps and batch must be at least 1, not {self.steps}, {self.batch}")
        if not 0 < self.rate < 1:
            raise UserError(f"the learning rate must lie between 0 and 1, not {self.rate}")


def learn_task(
    net: ExtendedTransDoDNet,
    cases: Sequence[Case],
    settings: TaskLearning | None = None,
    *,
    device: str = "cpu",
    workers: int = 0,
    folder: Path | None = None,
    on_step: Callable[[Progress], Any] | None = None,
) -> list[Progress]:
    """Learn the task that was added last, in place; the network ends in evaluation mode.

    Args:
        net: What ``add_task`` gave.
        cases: Labelled cases on the network's contract, a binary target channel for each of the
            task's categories, organ first: ``make_case(..., exclusive=False)``.
        settings: How.
        device: Where it trains.
        workers: Processes that cut patches; the result is the same.
        folder: Where ``log.csv`` goes; None keeps none.
        on_step: Called with each line of the log, every tenth step.

    Returns:
        The lines of the log.

    Raises:
        ValueError: If there is no case, or one does not fit the network or the task.

    Example:
        >>> net = add_task(net, "aorta")  # doctest: +SKIP
        >>> learn_task(net, cases, TaskLearning(steps=200))  # doctest: +SKIP
        >>> net.save_task("aorta", "aorta.safetensors")  # doctest: +SKIP
    """
    settings = settings or TaskLearning()
    if not cases:
        raise UserError("learning a task needs at least one labelled case")
    index = len(net.config.tasks) - 1
    task, channels = net.config.tasks[index], net.config.encoder.in_channels
    laid = [_for_task(case, task, index, channels) for case in cases]
    net.to(device)
    training = Training(
        model=net,
        loss=net.loss,
        optimizer=torch.optim.AdamW(
            [p for p in net.parameters() if p.requires_grad], settings.rate, weight_decay=0.0
        ),
        settings=LoopSettings(settings.steps, seed=settings.seed, checkpoint_minutes=None),
        folder=folder,
    )
    stream = _stream(net, laid, task, settings, workers)
    progress: list[Progress] = []

    def log(line: Progress, _: torch.nn.Module) -> None:
        progress.append(line)
        if on_step is not None:
            on_step(line)

    training.run(lambda step: stream.batches(settings.batch, start=step), on_log=log)
    net.eval()
    return progress


def _stream(
    net: ExtendedTransDoDNet,
    cases: Sequence[Case],
    task: Task,
    settings: TaskLearning,
    workers: int,
) -> PatchStream:
    contract = net.config.preprocessing
    lateral = mirrored_classes(task.categories) != tuple(range(len(task.categories)))
    augmentation = Augmentation(mirror=() if lateral else (2,))  # it has no counterpart to become
    sampling = Sampling(
        patch=settings.patch or contract.patch,
        spacing=contract.spacing,
        patches_per_case=2,
        cases_per_block=max(4, min(len(cases), 16)),
        augmentation=augmentation if settings.augment else None,
    )
    return PatchStream(Cycle(cases, settings.seed), sampling, settings.seed, workers)


def _for_task(case: Case, task: Task, index: int, channels: int) -> Case:
    """Lay a case's targets as (organ, tumour) of the task; what it has not is not labelled."""
    if len(case.image) != channels:
        raise UserError(f"{case.name} has {len(case.image)} channels, the network {channels}")
    if len(case.target) != len(task.categories):
        raise UserError(
            f"{case.name} has {len(case.target)} target channels, task {task.name!r} has "
            f"{len(task.categories)}: {', '.join(task.categories)}"
        )
    if int(case.target.max()) > 1:
        raise UserError(f"{case.name} has class values; give one binary channel a category")
    target = np.zeros((2, *case.shape), np.uint8)
    target[np.flatnonzero(task.labelled)] = case.target
    return dataclasses.replace(case, target=target, labelled=task.labelled, tasks=(index,))
