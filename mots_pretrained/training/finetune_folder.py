"""From a folder of labelled scans to a folder that ``from_pretrained`` takes (Sec. 3.7)."""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from mots_pretrained.adaptation.ensemble import FOLD
from mots_pretrained.adaptation.extended import add_head, check_new
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.data.prepare import folder_jobs
from mots_pretrained.data.seen_volumes import with_seen_volumes
from mots_pretrained.data.store import CaseRecord, PreparedSet
from mots_pretrained.data.survey import count_channels
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import Results
from mots_pretrained.files import write_json
from mots_pretrained.networks import load
from mots_pretrained.stages import stage
from mots_pretrained.training.downstream import (
    Downstream,
    Parts,
    check_labelled_by,
    check_same_input,
    describe,
    folds,
    labels_told,
    split,
    without_left_out,
)
from mots_pretrained.training.finetune import check_recipe, prepare, train
from mots_pretrained.training.folder import (
    RECORD,
    begin,
    check_same,
    complete,
    finished,
    written_card,
)
from mots_pretrained.training.launch import accelerated, on_main
from mots_pretrained.training.pretrain import digest_of, held, identity_of, outcome
from mots_pretrained.training.recipe import Recipe, Run, read_recipe
from mots_pretrained.training.sources import marks_of, prepared_beside, remove_cases, stats_of
from mots_pretrained.training.validation import History
from mots_pretrained.weights.addition import ORGANS_FILE
from mots_pretrained.weights.checkpoint import load_config
from mots_pretrained.weights.download import resolve
from mots_pretrained.weights.provenance import (
    CASES,
    find_training_scans,
    read_training_record,
    recorded_start,
    write_training_scans,
)
from mots_pretrained.weights.unfinished import missing_folds

if TYPE_CHECKING:
    from accelerate import Accelerator


def finetune_folder(
    data: str | Path,
    output: str | Path,
    recipe: Recipe | None = None,
    *,
    run: Run | None = None,
) -> History:
    """Fine-tune on a folder of labelled scans and save the best network, or one a fold.

    Args:
        data: Folder in one of the layouts of ``find_labelled``, or a data list of MONAI.
        output: Folder for config.json, model.safetensors, ``training.json``, ``cases.json`` and
            ``log.csv``; with folds, for ``fold_0`` to ``fold_N`` of such folders, which predict by
            their mean, and the scores of all cases by the network that had not learned from them.
        recipe: How to train; the recipe ``finetune`` by default.
        run: Where and for how long.

    Returns:
        What happened; with folds one validation, that of all cases.

    Raises:
        UserError: If folder or model is missing, or a case is unusable, which the message names;
            if the output folder holds a training and ``run.resume`` is not set, or one with other
            settings and it is.

    Example:
        >>> finetune_folder("RawData/Training", "organs", Recipe(epochs=50))  # doctest: +SKIP
    """
    recipe, run, output = recipe or read_recipe("finetune"), run or Run(), Path(output)
    check_recipe(recipe)
    with accelerated(run, recipe.precision) as accelerator:
        task, parts = on_main(accelerator, lambda: _plan(data, recipe, run))
        with held(output, run, accelerator, folds=recipe.folds):
            whole = _identity(task, parts, recipe, accelerator.num_processes)
            if on_main(accelerator, lambda: finished(output, whole) and not missing_folds(output)):
                on_main(accelerator, lambda: _check_unchanged(output, task, parts))
                on_main(accelerator, lambda: None if run.keep_cases else remove_cases(output))
                return on_main(accelerator, lambda: _known_history(output))
            begun = time.monotonic()
            with stage("prepare cases", cases=len(task.found.cases)):
                prepared = prepared_beside(
                    *(task.found, output, task.contract, task.targets),
                    accelerator,
                    run,
                    is_ct=recipe.intensity == "ct",
                )
            left = _with_time_left(run, begun, 1)
            folders = [output / FOLD.format(i) for i in range(recipe.folds)] or [output]
            jobs = [
                _Job(accelerator, task, folder, recipe, left, part, prepared)
                for folder, part in zip(folders, parts, strict=True)
            ]
            history = _train_all(jobs, output, whole) if recipe.folds else jobs[0].train()
            if history.complete and not run.keep_cases and accelerator.is_main_process:
                remove_cases(output)
    return history


def check_widened(data: str | Path, recipe: Recipe) -> None:
    """Refuse a ``channel_init`` that was asked for where the first layer stays as it is.

    A recipe may hold one for all data; who says it for these would believe that it is in force.

    Raises:
        UserError: Saying why it stays.
    """
    if recipe.start is None:
        raise UserError("channel_init has no part in training random weights; leave it out")
    if recipe.train == "add":
        raise UserError("channel_init has no part in adding organs, whose input is that of the "
                        "tasks; leave it out")  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training tells them
        first = find_labelled(data).cases[0]
        channels = count_channels(first)
    if channels == load_config(resolve(recipe.start)).encoder.in_channels:
        raise UserError(
            f"channel_init has no part here, as {recipe.start} takes {channels} channel(s), as "
            f"many as {first.images[0]} has; leave it out"
        )


def _plan(data: str | Path, recipe: Recipe, run: Run) -> tuple[Downstream, list[Parts]]:
    """Find the cases, tell what they ask of a network, and part them."""
    config = recipe.config if recipe.start is None else load_config(resolve(recipe.start))
    recipe.check_start(config)
    found = find_labelled(data)
    scans, told = found.cases, found.folds
    if recipe.folds:
        parts = folds(scans, recipe.folds, recipe.seed, told=told)
    else:
        parts = [split(scans, recipe, told=told)]
    found = without_left_out(found, parts, run.tell)
    task = describe(found, config.preprocessing, recipe, workers=run.workers)
    run.tell(task.told)
    for part, _ in parts:
        check_labelled_by(part, task.classes)
    if recipe.train == "add":
        check_same_input(task, config.preprocessing)
        check_new(config, tuple(task.classes))
    return task, parts


def _identity(
    task: Downstream, parts: list[Parts], recipe: Recipe, processes: int
) -> dict[str, Any]:
    """Return what must be equal for a training to be continued, as far as no case is read."""
    names = [name for part in parts for side in part for name in ("|", *(c.name for c in side))]
    labelled = {c.name: c.labelled for part in parts for side in part for c in side}
    return identity_of(
        recipe,
        processes,
        cases=names,
        labelled=list(labelled.values()),
        classes=list(task.classes),
        class_values=list(task.classes.values()),
        **dataclasses.asdict(task.contract),
    )


def _check_unchanged(output: Path, task: Downstream, parts: list[Parts]) -> None:
    """Refuse to return a finished training as one on cases that have changed since.

    Files of the same size and time of change are taken for the same; else their content tells.

    Raises:
        UserError: If the content is another.
    """
    every = folder_jobs(task.found, output, task.contract, task.targets)
    by_name = {job.files.name: job for job in every}
    checked: set[str] = set()
    for number, part in enumerate(parts):
        names = {scan.name for side in part for scan in side}
        if names <= checked:  # as of folds that leave out no case
            continue
        checked |= names
        record = read_training_record(output / FOLD.format(number) if len(parts) > 1 else output)
        jobs = [by_name[scan.name] for side in part for scan in side]
        if record.get("files") != digest_of([" ".join(map(str, job.stats())) for job in jobs]):
            content = digest_of([" ".join(job.read_content()) for job in jobs])
            there = record.get("identity", {}).get("content")
            check_same(output, {"content": there}, {"content": content})


@dataclass(frozen=True)
class _Job:
    """One network to fine-tune."""

    accelerator: Accelerator
    task: Downstream
    output: Path
    recipe: Recipe
    run: Run
    parts: Parts
    prepared: PreparedSet

    @property
    def names(self) -> list[list[str]]:
        """Names of the cases to train on, and of those held out."""
        return [[scan.name for scan in part] for part in self.parts]

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for this to be continued."""
        records = [record for part in self.names for record in self.prepared.named(part)]
        whole = _identity(self.task, [self.parts], self.recipe, self.accelerator.num_processes)
        return whole | {"content": digest_of(marks_of(records))}

    def train(self) -> History:
        """Fine-tune, save the network and say beside it how it came about."""
        recipe, output, accelerator, task = self.recipe, self.output, self.accelerator, self.task
        names, identity = self.names, self.identity
        if on_main(accelerator, lambda: begin(output, identity)):
            return on_main(accelerator, lambda: _known_history(output))
        records = [self.prepared.named(part) for part in names]
        cases, held_out = ([self.prepared.case(r) for r in part] for part in records)
        if accelerator.is_main_process:
            self._tell_of_known(*records)
        what = "Fine-tuning" if recipe.train == "all" else "Fitting a head on"
        self.run.tell(
            f"{what} {recipe.start or 'random weights'} with {len(names[0])} cases, "
            f"{len(names[1])} held out, on {accelerator.device}"
        )
        if told := labels_told(self.parts[0], task.classes):
            self.run.tell(told)
        torch.manual_seed(recipe.seed)
        segmenter = new_segmenter(recipe, task)
        trainer, watch = prepare(
            accelerator,
            segmenter,
            cases,
            recipe,
            self.run,
            validation=held_out,
            folder=output,
            identity=identity,
        )
        history = train(trainer, watch, cases)
        if accelerator.is_main_process:
            segmenter.config = with_seen_volumes(segmenter.config, cases)
            scans = self.prepared.hashes(records[0])
            if recipe.train == "add":
                extended = add_head(load(cast(str, recipe.start)), segmenter.cpu())
                old, new = extended.config, segmenter.config
                extended.config = dataclasses.replace(
                    old, seen_volumes=(*old.seen_volumes, *new.seen_volumes)
                )
                extended.save_organs(output / ORGANS_FILE, scans=scans)
                extended.save_pretrained(output, card=written_card(output, extended.config))
            else:
                card = written_card(output, segmenter.config)
                segmenter.save_pretrained(output, half=recipe.half, card=card)
            earlier = None if recipe.start is None else resolve(recipe.start)
            write_training_scans(output, scans, earlier=earlier)
            write_json(output / CASES, {"train": names[0], "validation": names[1],
                                        "scores": _scores(history.best)})  # fmt: skip
            facts = {
                "from": recorded_start(recipe.start),
                "files": digest_of(stats_of([*records[0], *records[1]])),
                "classes": task.classes,
                "train": len(names[0]),
                "validation": len(names[1]),
                "head_fitted": history.fitted,
                "best_step": history.best_step,
                "mean_dice": None if history.best is None else history.best.mean_dice,
                "validations": [[step, table.mean_dice] for step, table in history.validations],
            }
            complete(output, facts | outcome(trainer) | {"complete": history.complete})
        accelerator.wait_for_everyone()
        return history

    def _tell_of_known(self, train: Sequence[CaseRecord], held_out: Sequence[CaseRecord]) -> None:
        """Warn of held-out scans that are trained on too, or that the weights have seen."""
        start = self.recipe.start
        seen = None if start is None else find_training_scans(resolve(start))
        for known, told in (
            (self.prepared.hashes(train), "are trained on, too, under another name"),
            ({} if seen is None else seen.scans, f"were seen in the training of {start}"),
        ):
            names = [r.identifier for r in held_out if r.source.content_hash in known]
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                warnings.warn(
                    f"{len(names)} of {len(held_out)} scans held out {told}, so their scores are "
                    f"too good: {', '.join(names[:3])}{more}",
                    stacklevel=3,
                )


def _train_all(jobs: list[_Job], output: Path, identity: dict[str, Any]) -> History:
    """Train the networks of all folds; those that are complete are not trained again."""
    begun, first = time.monotonic(), jobs[0]
    together, is_complete = Results(tuple(first.task.classes)), True
    on_main(first.accelerator, lambda: begin(output, identity))
    for number, job in enumerate(jobs):
        own = dataclasses.replace(job, run=_with_time_left(job.run, begun, len(jobs) - number))
        is_over = own.run.max_minutes == 0 and number > 0
        if on_main(job.accelerator, partial(bool, is_over)):
            is_complete = False
            break
        job.run.tell(f"Fold {number + 1} of {len(jobs)}, {len(job.parts[1])} cases held out")
        history = own.train()
        is_complete = is_complete and history.complete
        for case in [] if history.best is None else history.best.cases:
            together.add(f"fold {number}: {case.name}", case.scores)
    if first.accelerator.is_main_process:
        write_json(output / CASES, {"scores": _scores(together)})
        facts = {"folds": len(jobs), "best_step": 0, "mean_dice": together.mean_dice}
        complete(output, facts | {"complete": is_complete, "identity": identity})
    return History(validations=[(0, together)], complete=is_complete)


def new_segmenter(recipe: Recipe, task: Downstream) -> Segmenter:
    """Build the network with a new head for a task."""
    options: dict[str, Any] = {
        "in_channels": len(task.contract.channels),
        "classes": tuple(task.classes),
        "exclusive": task.exclusive,
        "head": recipe.head,
        "preprocessing": task.contract,
    }
    if recipe.start is None:
        segmenter = Segmenter.from_scratch(recipe.config, **options)
    else:
        options["channel_init"] = recipe.channel_init
        segmenter = Segmenter.from_pretrained(recipe.start, **options)
    segmenter.config = dataclasses.replace(
        segmenter.config, class_values=tuple(task.classes.values())
    )
    return segmenter


def _known_history(output: Path) -> History:
    """Return what a complete training left."""
    scores = json.loads((output / CASES).read_text("utf-8"))["scores"]
    step = json.loads((output / RECORD).read_text("utf-8"))["best_step"]
    best = [] if scores is None else [(step, Results.from_json(scores))]
    return History(validations=best, best_step=step)


def _scores(results: Results | None) -> dict[str, Any] | None:
    return None if results is None else results.as_json()


def _with_time_left(run: Run, begun: float, folds_left: int) -> Run:
    """Share out what is left of the time among the folds that are left."""
    if run.max_minutes is None:
        return run
    left = max(0.0, run.max_minutes - (time.monotonic() - begun) / 60)
    return dataclasses.replace(run, max_minutes=left / folds_left)
