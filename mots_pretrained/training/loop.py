"""The training loop, one for pretraining and fine-tuning: steps, log, checkpoints, and no more."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from mots_pretrained.batch import Batch
from mots_pretrained.training.resume import (
    CHECKPOINT,
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from mots_pretrained.training.schedule import PolySchedule

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3

LOG = "log.csv"
"""Name of the log within a training's folder."""

Loss = Callable[[Batch], Any]
"""Gives a named tuple of scalars for a batch; its ``total`` is what is minimised."""

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class LoopSettings:
    """How a training runs.

    Attributes:
        steps: Optimiser steps in all.
        seed: Of dropout; the data has its own.
        clip: Largest norm of the gradient; None leaves it. The published code has 0.1.
        ema: Decay of the averaged weights; None keeps no average. It rises to that from 0.
        steps_per_epoch: The rate changes once in so many steps.
        warm_up: Epochs of rising rate.
        precision: Arithmetic of the forward pass; weights stay float32.
        log_every: Steps that a line of the log averages. Checkpoints fall on such steps.
        checkpoint_minutes: A checkpoint is written when the last is so old; None writes none.
        max_minutes: End cleanly, with a checkpoint, after so long.
    """

    steps: int
    seed: int = 0
    clip: float | None = 0.1
    ema: float | None = None
    steps_per_epoch: int = 1
    warm_up: int = 0
    precision: Precision = "float32"
    log_every: int = 10
    checkpoint_minutes: float | None = 3.0
    max_minutes: float | None = None


@dataclass(frozen=True)
class Progress:
    """Where a training stands: one line of its log.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        losses: Means of the loss's parts since the last line.
        rate: The last step's learning rate.
        norm: Mean gradient norm before clipping.
        seconds: Spent training, those before a resumption included.
    """

    step: int
    steps: int
    losses: dict[str, float]
    rate: float
    norm: float
    seconds: float

    def row(self) -> dict[str, str]:
        """Return the line as texts, column by column."""
        return {
            "step": str(self.step),
            **{name: f"{value:.6g}" for name, value in self.losses.items()},
            "rate": f"{self.rate:.6g}",
            "norm": f"{self.norm:.6g}",
            "seconds": f"{self.seconds:.1f}",
        }


OnLog = Callable[[Progress, nn.Module], bool | None]
"""Told each line of the log and the (averaged) network; True ends the training."""


@dataclass
class Training:
    """A network and all that changes while it trains.

    Attributes:
        model: The network, on the device that it shall train on.
        loss: Gives the loss of a batch.
        optimizer: Its rates when given are the full ones.
        settings: How the training runs.
        folder: Where log and checkpoint go; None keeps nothing.
        identity: What must be equal for a checkpoint to be continued, as text.
        extra: What else a checkpoint keeps, of the kinds that ``save_checkpoint`` takes.
    """

    model: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    settings: LoopSettings
    folder: Path | None = None
    identity: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    step: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.schedule = PolySchedule(
            self.optimizer,
            self.settings.steps,
            steps_per_epoch=self.settings.steps_per_epoch,
            warm_up=self.settings.warm_up,
        )
        self.average = _averaged(self.model, self.settings.ema)
        self._random: dict[str, Any] | None = None
        self._rows: list[dict[str, str]] = []
        self._saved = time.monotonic()

    @property
    def result(self) -> nn.Module:
        """The network to use: the average where one is kept."""
        return self.model if self.average is None else self.average.module

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.settings.steps

    def resume(self) -> None:
        """Go on from the folder's checkpoint.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it belongs to a training with other settings or another network.
        """
        state = load_checkpoint(self._file(CHECKPOINT), identity=self.identity)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        self._random = state["random"]
        self.extra.update(state.get("extra", {}))
        self.step, self.seconds, self._rows = state["step"], state["seconds"], state["rows"]
        self._write_log()

    def run(
        self, batches: Callable[[int], Iterator[Batch]], *, on_log: OnLog | None = None
    ) -> None:
        """Train until all steps are done, time is up or ``on_log`` says so.

        torch's global generators are seeded while it runs and put back afterwards.

        Args:
            batches: Gives the batches from that number on, e.g.
                ``lambda step: stream.batches(2, start=step)``.
            on_log: Called with each line of the log.
        """
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        outside = random_state()
        if self._random is None:
            torch.manual_seed(self.settings.seed)
        else:
            set_random_state(self._random)
        try:
            with closing(batches(self.step)) as stream:  # type: ignore[type-var]
                self._run(stream, on_log)
        finally:
            self._random = random_state()
            set_random_state(outside)

    def _run(self, stream: Iterator[Batch], on_log: OnLog | None) -> None:
        begun = time.monotonic() - self.seconds
        limit = self.settings.max_minutes
        deadline = None if limit is None else time.monotonic() + 60 * limit
        self.model.train()
        sums: dict[str, Tensor] = {}
        while not self.done:
            rate, values = self._step(next(stream))
            for name, value in values.items():
                sums[name] = sums.get(name, 0) + value
            since = self.step % self.settings.log_every or self.settings.log_every
            if since != self.settings.log_every and not self.done:
                continue
            self.seconds = time.monotonic() - begun
            means = {name: value.item() / since for name, value in sums.items()}
            sums = {}
            if not all(math.isfinite(value) for value in means.values()):
                raise FloatingPointError(
                    f"the loss or its gradient is not finite near step {self.step}; the last "
                    "checkpoint is kept: begin again with a lower rate"
                )
            progress = Progress(
                self.step, self.settings.steps, means, rate, means.pop("norm"), self.seconds
            )
            self._log(progress)
            stop = bool(on_log(progress, self.result)) if on_log is not None else False
            self.model.train()
            stop = stop or (deadline is not None and time.monotonic() >= deadline)
            if self._checkpoint_due(stop or self.done):
                self._save()
            if stop:
                return

    def _checkpoint_due(self, last: bool) -> bool:
        minutes = self.settings.checkpoint_minutes
        if self.folder is None or minutes is None:
            return False
        return last or time.monotonic() - self._saved >= 60 * minutes

    def _step(self, batch: Batch) -> tuple[float, dict[str, Tensor]]:
        """Do one step; return its rate and the loss's parts, left on their device."""
        device = next(self.model.parameters()).device
        rate = self.schedule.set(self.step)
        half = self.settings.precision == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            losses = self.loss(batch.to(device))
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        largest = float("inf") if self.settings.clip is None else self.settings.clip
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), largest)
        self.optimizer.step()
        self.step += 1
        if self.average is not None:
            self.average.update(self.model, self.step)
        values = {name: value.detach() for name, value in losses._asdict().items()}
        return rate, {**values, "norm": norm}

    def _log(self, progress: Progress) -> None:
        row = progress.row()
        self._rows.append(row)
        if self.folder is None:
            return
        path = self._file(LOG)
        if len(self._rows) == 1:
            self._write_log()
            return
        with open(path, "a", newline="") as file:
            csv.DictWriter(file, row).writerow(row)

    def _write_log(self) -> None:
        """Write the whole log anew: after a kill it may be ahead of the checkpoint."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self._rows[0] if self._rows else ())
        writer.writeheader()
        writer.writerows(self._rows)
        path = self._file(LOG)
        beside = path.with_name(path.name + ".tmp")
        beside.write_text(text.getvalue(), newline="")
        os.replace(beside, path)

    def _save(self) -> None:
        average = {} if self.average is None else self.average.module.state_dict()
        state = {
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": average,
            "random": random_state(),
            "rows": self._rows,
            "extra": self.extra,
        }
        save_checkpoint(self._file(CHECKPOINT), state)
        self._saved = time.monotonic()

    def _file(self, name: str) -> Path:
        if self.folder is None:
            raise ValueError("a training without a folder can't be resumed")
        return self.folder / name


def _averaged(model: nn.Module, decay: float | None) -> ModelEmaV3 | None:
    if decay is None:
        return None
    from timm.utils import ModelEmaV3

    return ModelEmaV3(model, decay=decay, use_warmup=True)
