"""From a folder of labelled scans to a folder that ``from_pretrained`` takes (Sec. 3.7)."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mots_pretrained.adaptation.ensemble import FOLD
from mots_pretrained.adaptation.input_channels import ChannelInit
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import ModelConfig
from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.data.prepare import prepare_folder
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.evaluation.results import Results
from mots_pretrained.model.pretrained import load_config_and_state
from mots_pretrained.training.downstream import Choices, Downstream, Split, describe, folds, split
from mots_pretrained.training.finetune import Finetuning, finetune
from mots_pretrained.training.history import History
from mots_pretrained.training.loop import Progress
from mots_pretrained.training.presets import SIZES
from mots_pretrained.training.pretrain_mots import RECORD

CASES = ".cases"
"""Folder within a training's own that holds its prepared cases while it runs."""

SCRATCH = "none"
"""In place of a model's name: random weights, the baseline."""


@dataclass(frozen=True)
class Start:
    """What a fine-tuning starts from.

    Attributes:
        name: Catalogue name, folder or hub repository; ``"none"`` for random weights.
        size: Size of ``SIZES`` to build where the weights are random.
        channel_init: How the first convolution is widened to more channels; the paper copies its
            first channel.
    """

    name: str = "transdodnet.phantom"
    size: str = "small"
    channel_init: ChannelInit = "first"

    def config(self) -> ModelConfig:
        """Return the configuration of the network that the backbone comes from."""
        if self.name != SCRATCH:
            return load_config_and_state(self.name)[0]
        if self.size not in SIZES:
            raise UnknownNameError(f"unknown size {self.size!r}; allowed are {', '.join(SIZES)}")
        return SIZES[self.size].config

    def segmenter(self, task: Downstream) -> Segmenter:
        """Build the network with a new head for a task."""
        names, channels = tuple(task.classes), len(task.contract.channels)
        if self.name == SCRATCH:
            return Segmenter.from_scratch(
                self.config(),
                in_channels=channels,
                classes=names,
                exclusive=task.exclusive,
                preprocessing=task.contract,
            )
        return Segmenter.from_pretrained(
            self.name,
            in_channels=channels,
            channel_init=self.channel_init,
            classes=names,
            exclusive=task.exclusive,
            preprocessing=task.contract,
        )


@dataclass(frozen=True)
class Running:
    """Where and how long a fine-tuning runs; none of it changes the result.

    Attributes:
        device: Where it trains.
        workers: Processes that cut patches.
        resume: Go on where the output folder stands; without anything there, begin.
        max_minutes: End cleanly after so long, to be resumed.
        on_step: Called with each line of the log.
        say: Told in words what is done.
    """

    device: str = "cpu"
    workers: int = 0
    resume: bool = False
    max_minutes: float | None = None
    on_step: Callable[[Progress], Any] | None = None
    say: Callable[[str], Any] = field(default=lambda text: None)


def finetune_folder(
    data: str | Path,
    output: str | Path,
    settings: Finetuning | None = None,
    *,
    start: Start | None = None,
    choices: Choices | None = None,
    running: Running | None = None,
) -> History:
    """Fine-tune on a folder of labelled scans and save the best network.

    Args:
        data: Folder in one of the layouts of ``find_labelled``.
        output: Folder for config.json, model.safetensors, ``training.json`` and ``log.csv``.
        settings: How to fine-tune.
        start: What to start from; the default model if None.
        choices: Classes, held-out cases and spacing, where the data shall not decide.
        running: Device, resumption, time.

    Raises:
        FileNotFoundError: If folder or model is missing.
        ValueError: If a case is unusable, which the message names; or the output folder holds an
            unfinished training and is not to be resumed, or is and was of other settings.

    Example:
        >>> finetune_folder("RawData/Training", "organs", Finetuning(epochs=50))  # doctest: +SKIP
    """
    settings, start, running = settings or Finetuning(), start or Start(), running or Running()
    choices = choices or Choices()
    task = describe(find_labelled(data), start.config().preprocessing, choices)
    parts = split(task.scans, choices.held_out, settings.seed)
    job = _Job(task, Path(output), settings, start, running)
    with _prepared(task, Path(output), running) as prepared:
        return _train(job, parts, prepared)


def finetune_folds(
    data: str | Path,
    output: str | Path,
    settings: Finetuning | None = None,
    *,
    count: int = 5,
    start: Start | None = None,
    choices: Choices | None = None,
    running: Running | None = None,
) -> History:
    """Fine-tune a network for each fold of the cases; the output folder predicts by their mean.

    Args:
        data: As in ``finetune_folder``.
        output: Folder for ``fold_0`` to ``fold_N``, each as ``finetune_folder`` leaves it, and a
            ``training.json`` with every case's score by the network that had not learned from it.
        settings: As in ``finetune_folder``.
        count: How many folds, drawn by the seed.
        start: As in ``finetune_folder``.
        choices: As in ``finetune_folder``; the folds say which cases are held out.
        running: As in ``finetune_folder``; folds that are complete are not trained again.

    Returns:
        One validation, that of all cases, each by the network that had not learned from it.

    Raises:
        FileNotFoundError: As in ``finetune_folder``.
        ValueError: As in ``finetune_folder``, or if there are fewer cases than folds.
    """
    settings, start, running = settings or Finetuning(), start or Start(), running or Running()
    output, begun = Path(output), time.monotonic()
    task = describe(find_labelled(data), start.config().preprocessing, choices)
    parts = folds(task.scans, count, settings.seed)
    together = Results(tuple(task.classes))
    complete = True
    with _prepared(task, output, running) as prepared:
        for number, part in enumerate(parts):
            running.say(f"Fold {number + 1} of {count}, {len(part[1])} cases held out")
            own = _with_time_left(running, begun, count - number)
            job = _Job(task, output / FOLD.format(number), settings, start, own)
            history = _train(job, part, prepared)
            complete = complete and history.complete
            for case in [] if history.best is None else history.best.cases:
                together.add(f"fold {number}: {case.name}", case.scores)
    history = History(validations=[(0, together)], complete=complete)
    record = {"folds": count, "complete": complete, "scores": together.as_json()}
    (output / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return history


@dataclass(frozen=True)
class _Job:
    """One network to fine-tune."""

    task: Downstream
    output: Path
    settings: Finetuning
    start: Start
    running: Running

    def record(self, parts: Split) -> dict[str, Any]:
        """Return what two runs must have in common to be one."""
        return {
            "from": self.start.name,
            "settings": dataclasses.asdict(self.settings),
            "classes": self.task.classes,
            "train": [scan.name for scan in parts[0]],
            "validation": [scan.name for scan in parts[1]],
        }


@contextmanager
def _prepared(task: Downstream, output: Path, running: Running) -> Iterator[PreparedSet]:
    """Prepare the cases beside the training, and remove them when it ends without an error."""
    place = output / CASES
    prepared = prepare_folder(
        *(task.found, place, task.contract, task.targets), workers=running.workers, replace=True
    )
    if prepared.set_aside:
        raise UserError(f"{task.found.folder}: {prepared.set_aside[0].reason}")
    yield prepared
    shutil.rmtree(place, ignore_errors=True)


def _train(job: _Job, parts: Split, prepared: PreparedSet) -> History:
    """Fine-tune one network, save it and say beside it how it came about."""
    path, running, record = job.output / RECORD, job.running, job.record(parts)
    if running.resume and path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known.get("complete"):
            return _known_history(known, record, path)
    train, held = (
        [prepared.case(record) for record in prepared.named(scan.name for scan in scans)]
        for scans in parts
    )
    torch.manual_seed(job.settings.seed)
    segmenter = job.start.segmenter(job.task)
    history = finetune(
        segmenter,
        train,
        job.settings,
        validation=held,
        device=running.device,
        workers=running.workers,
        folder=job.output,
        resume=running.resume,
        max_minutes=running.max_minutes,
        on_step=running.on_step,
    )
    segmenter.save_pretrained(job.output)
    record |= {
        "complete": history.complete,
        "best_step": history.best_step,
        "scores": None if history.best is None else history.best.as_json(),
        "validations": [[step, table.mean_dice] for step, table in history.validations],
    }
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return history


def _known_history(known: dict[str, Any], record: dict[str, Any], path: Path) -> History:
    """Return what a complete training left, if it was the same one."""
    for key, value in json.loads(json.dumps(record)).items():
        if known.get(key) != value:
            raise UserError(
                f"{path} is of a complete training with another {key!r}; repeat its settings, or "
                "choose another folder"
            )
    scores = known["scores"]
    best = [] if scores is None else [(known["best_step"], Results.from_json(scores))]
    return History(validations=best, best_step=known["best_step"])


def _with_time_left(running: Running, begun: float, folds_left: int) -> Running:
    """Share out what is left of the time among the folds that are left."""
    if running.max_minutes is None:
        return running
    left = max(0.0, running.max_minutes - (time.monotonic() - begun) / 60)
    return dataclasses.replace(running, max_minutes=left / folds_left)
