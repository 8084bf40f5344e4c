"""Learning an added task: its query alone, on a few labelled scans, over a frozen network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mots_pretrained.adaptation.extended import ExtendedTransDoDNet
from mots_pretrained.data.case import Case
from mots_pretrained.data.sides import mirrored_classes
from mots_pretrained.data.stream import Cycle, PatchStream, Sampling
from mots_pretrained.errors import UserError
from mots_pretrained.tasks import IGNORED, Task
from mots_pretrained.training.launch import accelerated
from mots_pretrained.training.log import LogRow
from mots_pretrained.training.recipe import Recipe, Run, read_recipe
from mots_pretrained.training.sources import AUGMENTATIONS
from mots_pretrained.training.trainer import Trainer

FIELDS = frozenset((
    "steps", "epochs", "batch", "accumulate", "patch", "patches_per_case", "foreground",
    "augmentation", "rate", "weight_decay", "clip", "warm_up", "precision", "seed",
))  # fmt: skip
"""Fields of a recipe that learning a task uses."""

_PATCHES_A_CASE = 2


def learn_task(
    net: ExtendedTransDoDNet,
    cases: Sequence[Case],
    recipe: Recipe | None = None,
    *,
    run: Run | None = None,
) -> list[LogRow]:
    """Learn the task that was added last, in place; the network ends in evaluation mode.

    Args:
        net: What ``add_task`` gave.
        cases: Labelled cases on the network's contract, a binary target channel for each of the
            task's categories, organ first.
        recipe: How to train; the recipe ``new_organ`` by default.
        run: Where and for how long.

    Returns:
        The rows of the log.

    Raises:
        UserError: If there is no case, or one does not fit the network or the task.

    Example:
        >>> net = add_task(net, "aorta")  # doctest: +SKIP
        >>> learn_task(net, cases)  # doctest: +SKIP
        >>> net.save_task("aorta", "aorta.safetensors")  # doctest: +SKIP
    """
    recipe, run = recipe or read_recipe("new_organ"), run or Run()
    recipe.needs_only(FIELDS, "learning a task")
    if not cases:
        raise UserError("learning a task needs at least one labelled case")
    index = len(net.config.tasks) - 1
    task, channels = net.config.tasks[index], net.config.encoder.in_channels
    laid = [_for_task(case, task, index, channels) for case in cases]
    with accelerated(run, recipe.precision) as accelerator:
        patches = len(cases) * (recipe.patches_per_case or _PATCHES_A_CASE)
        steps, epoch = recipe.length(patches, processes=accelerator.num_processes)
        trainer = Trainer(
            model=net,
            loss=lambda network, batch: network.loss(batch),
            recipe=recipe,
            run=run,
            accelerator=accelerator,
            steps=steps,
            steps_per_epoch=epoch,
            groups=[{"params": [p for p in net.parameters() if p.requires_grad]}],
        )
        stream = _stream(net, laid, task, recipe, run.workers)
        trainer.run_on(lambda start, by: stream.batches(recipe.batch, start=start, stride=by))
    net.eval()
    return trainer.rows


def _stream(
    net: ExtendedTransDoDNet, cases: Sequence[Case], task: Task, recipe: Recipe, workers: int
) -> PatchStream:
    contract, augmentation = net.config.preprocessing, AUGMENTATIONS[recipe.augmentation]
    if mirrored_classes(task.categories) != tuple(range(len(task.categories))):
        # It lies on one side and has no counterpart to become.
        kept = tuple(axis for axis in augmentation.mirror if axis != 2) if augmentation else ()
        augmentation = dataclasses.replace(augmentation, mirror=kept) if augmentation else None
    sampling = Sampling(
        patch=recipe.patch or contract.patch,
        spacing=contract.spacing,
        foreground=recipe.foreground,
        patches_per_case=recipe.patches_per_case or _PATCHES_A_CASE,
        cases_per_block=max(4, min(len(cases), 16)),
        augmentation=augmentation,
    )
    return PatchStream(Cycle(cases, recipe.seed), sampling, recipe.seed, workers)


def _for_task(case: Case, task: Task, index: int, channels: int) -> Case:
    """Lay a case's targets as (organ, tumour) of the task; what it has not is not labelled."""
    if len(case.image) != channels:
        raise UserError(f"{case.name} has {len(case.image)} channels, the network {channels}")
    if len(case.target) != len(task.categories):
        raise UserError(
            f"{case.name} has {len(case.target)} target channels, task {task.name!r} has "
            f"{len(task.categories)}: {', '.join(task.categories)}"
        )
    own = np.asarray(case.target)  # of a stored case, read now
    if own.max(where=own != IGNORED, initial=0) > 1:
        raise UserError(f"{case.name} has class values; give one binary channel a category")
    target = np.zeros((2, *case.shape), np.uint8)
    target[np.flatnonzero(task.labelled)] = own
    return Case(case.image, target, task.labelled, (index,), case.name)
