"""Fine-tuning a Segmenter on a few labelled scans (Sec. 3.7)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from mots_pretrained.adaptation.fit_head import PRIOR_OF_ADDED, check_cases, fit_head
from mots_pretrained.adaptation.freezing import Unfreezing, layer_decay_groups, parts
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.batch import Batch
from mots_pretrained.data.case import Case, check_labelled
from mots_pretrained.data.sides import mirrored_classes
from mots_pretrained.data.stream import Cycle, PatchStream, Sampling
from mots_pretrained.errors import UserError
from mots_pretrained.losses import DiceCE, dice_ce
from mots_pretrained.model.pretrained import unwrapped
from mots_pretrained.training.folder import has_checkpoint
from mots_pretrained.training.launch import accelerated, on_main
from mots_pretrained.training.recipe import Recipe, Run, read_recipe
from mots_pretrained.training.sources import AUGMENTATIONS
from mots_pretrained.training.trainer import Trainer, default_rate
from mots_pretrained.training.validation import History, Watch

if TYPE_CHECKING:
    from accelerate import Accelerator

FIELDS = frozenset((
    "method", "size", "network", "start", "channel_init", "head", "fit_head", "fit_steps", "train",
    "classes", "class_values", "spacing", "intensity", "held_out", "validation", "train_on",
    "folds", "patch", "patches_per_case", "foreground", "augmentation", "steps", "epochs", "batch",
    "accumulate", "rate", "layer_decay", "weight_decay", "clip", "warm_up", "ema", "precision",
    "freeze", "unfreeze", "validate_every", "patience", "seed", "half",
))  # fmt: skip
"""Fields of a recipe that fine-tuning uses."""

OF_ALL_WEIGHTS = (
    "patch", "patches_per_case", "foreground", "augmentation", "accumulate", "rate", "layer_decay",
    "weight_decay", "clip", "warm_up", "ema", "freeze", "unfreeze", "validate_every", "patience",
)  # fmt: skip
"""Those that have no part where a head alone is fitted, besides steps, epochs and batch."""

OF_FOLDERS = (
    "held_out", "validation", "train_on", "folds", "classes", "class_values", "spacing",
    "intensity",
)  # fmt: skip
"""Those that tell which cases of a folder to take and as what; `finetune` is given cases."""

OF_HELD_OUT = ("validate_every", "patience")
"""Those that have no part where no case is held out."""

PATCHES_A_CASE = 2

AFTER_FIT = 0.3
"""Share of the default rate at which all weights learn after a fitted head.

On four phantoms, 60 steps from the fitted head left the mean Dice at 0.59 with the full rate and
raised it to 0.62 with this share of it (one seed, three unseen phantoms).
"""

_SECONDS_A_LINE = 20.0  # at least, between messages of progress


def finetune(
    segmenter: Segmenter,
    cases: Sequence[Case],
    recipe: Recipe | None = None,
    *,
    validation: Sequence[Case] = (),
    run: Run | None = None,
) -> History:
    """Fine-tune a network in place; it ends in evaluation mode with its best weights.

    What is frozen beforehand stays so, during and after: parts by ``freeze``, and all that LoRA
    adapters stand on. What the recipe freezes may learn again afterwards.

    A new head on a pretrained backbone is fitted first, on frozen features: at random it would
    distort them. With ``train="head"`` that is all. The best weights are those of the best mean
    Dice on the validation cases; without any, or where none of them has one of the classes, the
    last ones. Nothing is written, so ``run.resume`` has no part in it; ``finetune_folder`` can be
    interrupted.

    Cases may label different classes. What one does not label never pushes its prediction: it is
    merged with the background, or as a region left out; nor is it scored.

    Args:
        segmenter: A pretrained backbone with a new head, or a fresh network.
        cases: Labelled cases on the network's contract; together they label every class.
        recipe: How to train; the recipe ``finetune`` by default.
        validation: Cases held out.
        run: Where and for how long.

    Raises:
        UserError: If there is no case, one does not fit the network, none labels some class,
            everything is frozen, weights that learn are not in float32 or frozen ones in a
            shorter type with precision float32, or the recipe holds out or names cases, classes, a
            spacing or an intensity.

    Example:
        >>> model = Segmenter.from_pretrained("transdodnet.phantom", classes=("liver",))
        >>> history = finetune(model, cases, Recipe(steps=500))  # doctest: +SKIP
    """
    recipe, run = recipe or read_recipe("finetune"), run or Run()
    recipe.needs_none_of(OF_FOLDERS, "fine-tuning on cases that are given (validation=...)")
    with accelerated(run, recipe.precision) as accelerator:
        trainer, watch = prepare(accelerator, segmenter, cases, recipe, run, validation=validation)
        return train(trainer, watch, cases)


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe with a value that fine-tuning would not look at.

    Raises:
        UserError: Naming the field.
    """
    recipe.needs_only(FIELDS, "fine-tuning")
    if recipe.train != "all":
        recipe.needs_none_of((*OF_ALL_WEIGHTS, "fit_head"), "fitting a head alone")
    if recipe.held_out == 0 and not recipe.validation:
        recipe.needs_none_of(OF_HELD_OUT, "a training that holds no case out")


def prepare(
    accelerator: Accelerator,
    segmenter: Segmenter,
    cases: Sequence[Case],
    recipe: Recipe,
    run: Run,
    *,
    validation: Sequence[Case] = (),
    folder: Path | None = None,
    identity: dict[str, Any] | None = None,
) -> tuple[Trainer, Watch]:
    """Set up a fine-tuning: which weights learn, from when on and how fast.

    Arguments as in ``finetune``, and of the trainer.
    """
    check_recipe(recipe)
    if not validation:
        recipe.needs_none_of(OF_HELD_OUT, "a training that holds no case out")
    check_cases(segmenter, [*cases, *validation])
    if recipe.train == "all":
        _check_type(segmenter, recipe)
    check_labelled(cases, segmenter.config.classes)
    is_complete = all(all(case.labelled) for case in cases)
    segmenter.config = dataclasses.replace(segmenter.config, thresholds={})  # of other weights
    begun = time.monotonic()
    is_fitted = recipe.train != "all" or (recipe.fit_head and segmenter.head_is_new)
    if is_fitted and recipe.rate is None:
        recipe = dataclasses.replace(recipe, rate=AFTER_FIT * default_rate(segmenter))
    fitted = None
    is_begun = on_main(accelerator, lambda: folder is not None and has_checkpoint(folder))
    if is_fitted and not is_begun:
        fitted = _fit_first(accelerator, segmenter, cases, recipe, run)
    if run.max_minutes is not None:
        left = run.max_minutes - (time.monotonic() - begun) / 60
        run = dataclasses.replace(run, max_minutes=max(0.0, left))
    plan = unfreezing(segmenter, recipe)

    def loss(network: Segmenter, batch: Batch) -> DiceCE:
        plan.apply(network, trainer.step)
        labelled = None if is_complete else batch.labelled
        exclusive = network.config.exclusive
        return dice_ce(network(batch.image), batch.target, exclusive=exclusive, labelled=labelled)

    patches = len(cases) * (recipe.patches_per_case or PATCHES_A_CASE)
    steps, epoch = recipe.length(patches, processes=accelerator.num_processes)
    groups = None
    if recipe.layer_decay is not None:
        groups = layer_decay_groups(
            *(segmenter, recipe.rate or default_rate(segmenter)),
            decay=recipe.layer_decay,
            weight_decay=recipe.weight_decay,
        )
    trainer = Trainer(
        model=segmenter,
        loss=loss,
        recipe=recipe,
        run=run,
        accelerator=accelerator,
        steps=steps,
        steps_per_epoch=epoch,
        groups=groups,
        folder=folder,
        identity=identity or {},
    )
    return trainer, Watch(trainer, validation, fitted)


def _check_type(segmenter: Segmenter, recipe: Recipe) -> None:
    """Refuse weights in another type than float32 that would learn, or are computed with in it."""
    for value in segmenter.parameters():
        if value.dtype != torch.float32 and (value.requires_grad or recipe.precision == "float32"):
            raise UserError(
                f"the network is in {str(value.dtype).removeprefix('torch.')}, and what learns has "
                "to be in float32: call network.float() first; the recipe's precision says what to "
                "compute in"
            )


def _fit_first(
    accelerator: Accelerator,
    segmenter: Segmenter,
    cases: Sequence[Case],
    recipe: Recipe,
    run: Run,
) -> dict[str, float]:
    """Fit a new head in the main process; the trainer gives all others its weights."""
    segmenter.to(accelerator.device)
    told = [0.0]

    def on_fit(what: str, done: int, of: int) -> None:
        if done == of or time.monotonic() >= told[0] + _SECONDS_A_LINE:
            told[0] = time.monotonic()
            run.tell(f"Fitting the head: {what} {done} of {of}")

    def fit() -> dict[str, float]:
        begun = time.monotonic()
        fitted = fit_head(
            segmenter,
            cases,
            steps=recipe.fit_steps,
            prior=PRIOR_OF_ADDED if recipe.train == "add" else None,
            seed=recipe.seed,
            on_fit=on_fit,
        )
        seconds = round(time.monotonic() - begun, 1)
        return {"voxels": fitted.voxels, "loss": fitted.loss, "seconds": seconds}

    found = on_main(accelerator, fit)
    segmenter.head_is_new = False
    return found


def train(trainer: Trainer, watch: Watch, cases: Sequence[Case]) -> History:
    """Train what ``prepare`` has set up, or what is left of it, to its best weights."""
    segmenter, recipe = cast(Segmenter, trainer.model), trainer.recipe
    frozen = {p for p in segmenter.parameters() if not p.requires_grad}
    try:
        if trainer.resume():
            watch.resume()
        elif watch.kept["fitted"] is not None:
            watch.validate()
        stream = patch_stream(segmenter, cases, recipe, workers=trainer.run.workers)
        if watch.kept["patient"]:
            trainer.run_on(
                lambda start, by: stream.batches(recipe.batch, start=start, stride=by),
                on_log=watch,
            )
        return watch.finish()
    finally:  # what the recipe froze may learn again
        for parameter in segmenter.parameters():
            parameter.requires_grad_(parameter not in frozen)


def unfreezing(segmenter: Segmenter, recipe: Recipe) -> Unfreezing:
    """Return which parts are frozen, and the steps from which on some of them learn.

    What is frozen already never learns.

    Raises:
        UserError: If the network has no such part, or nothing that ever learns.
    """
    own = unwrapped(segmenter).named_parameters()  # whose names are not those of adapters' wrapper
    kept = frozenset(name for name, value in own if not value.requires_grad)
    plan = Unfreezing(always=recipe.freeze, kept=kept)
    if recipe.unfreeze:
        there = parts(segmenter)
        later = [part for part in ("decoder", "transformer", "encoder")
                 if part in there and part not in recipe.freeze]  # fmt: skip
        staged = Unfreezing.backwards(recipe.unfreeze, later)
        plan = dataclasses.replace(staged, always=recipe.freeze, kept=kept)
    never = plan.never(segmenter)
    if recipe.train == "all" and len(never) == len([*segmenter.parameters()]):
        raise UserError("all parts are frozen, so nothing learns; leave one of them open")
    return plan


def patch_stream(
    segmenter: Segmenter, cases: Sequence[Case], recipe: Recipe, *, workers: int = 0
) -> PatchStream:
    """Return the stream of patches that a fine-tuning sees."""
    contract, augmentation = segmenter.config.preprocessing, AUGMENTATIONS[recipe.augmentation]
    classes = len(segmenter.config.classes)
    cases = [dataclasses.replace(case, labelled=case.knows(classes)) for case in cases]
    sides = mirrored_classes(segmenter.config.classes)
    if augmentation is not None and sides is None:
        kept = tuple(axis for axis in augmentation.mirror if axis != 2)
        augmentation = dataclasses.replace(augmentation, mirror=kept)
    sampling = Sampling(
        patch=recipe.patch or contract.patch,
        spacing=contract.spacing,
        foreground=recipe.foreground,
        patches_per_case=recipe.patches_per_case or PATCHES_A_CASE,
        cases_per_block=max(4, min(len(cases), 16)),
        augmentation=augmentation,
        sides=sides,
    )
    return PatchStream(Cycle(cases, recipe.seed), sampling, recipe.seed, workers)
