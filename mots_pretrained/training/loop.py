"""The training loop, one for pretraining and fine-tuning: steps, log, checkpoints, and no more."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mots_pretrained.errors import UserError
from mots_pretrained.training.log import LOG, Progress, Row, append_row, write_rows
from mots_pretrained.training.processes import Processes
from mots_pretrained.training.recompute import recomputed
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

Loss = Callable[[Any], Any]
"""Gives a named tuple of scalars for a batch; its ``total`` is what is minimised."""

Precision = Literal["float32", "bfloat16", "float16"]

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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
        precision: Arithmetic of the forward pass; weights stay float32. With float16 the loss is
            scaled, and a step whose gradient overflows is left out.
        accumulate: Micro-batches a step, on each process; the step's loss is their mean.
        recompute: Whether activations are computed again in the backward pass, to save memory.
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
    accumulate: int = 1
    recompute: bool = False
    log_every: int = 10
    checkpoint_minutes: float | None = 3.0
    max_minutes: float | None = None


OnLog = Callable[[Progress, nn.Module], bool | None]
"""Told each line of the log and the (averaged) network; True ends the training."""


@dataclass
class Training:
    """A network and all that changes while it trains.

    torch's generators (dropout) are seeded anew for each micro-batch, from the seed and the
    micro-batch's number. So the number of the step is the whole state of schedule, stream and
    generators; with weights, average and optimiser it is all that a checkpoint needs, and several
    processes do together what one does alone with as many more micro-batches.

    Attributes:
        model: The network, on the device that it shall train on.
        loss: Gives the loss of a batch.
        optimizer: Its rates when given are the full ones.
        settings: How the training runs.
        folder: Where log and checkpoint go; None keeps nothing.
        identity: What must be equal for a checkpoint to be continued, as text.
        extra: What else a checkpoint keeps, of the kinds that ``save_checkpoint`` takes.
        processes: Those that train together; only the main one writes and calls ``on_log``.
    """

    model: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    settings: LoopSettings
    folder: Path | None = None
    identity: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    processes: Processes = field(default_factory=Processes)
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
        self._device = next(self.model.parameters()).device
        half = self.settings.precision == "float16"
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=half)
        self._rows: list[Row] = []
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
        self._scaler.load_state_dict(state["scaler"])
        self.extra.update(state.get("extra", {}))
        self.step, self.seconds, self._rows = state["step"], state["seconds"], state["rows"]
        if self.processes.is_main:
            write_rows(self._file(LOG), self._rows)  # after a kill it may be ahead

    def run(self, batches: Callable[[int], Iterator[Any]], *, on_log: OnLog | None = None) -> None:
        """Train until all steps are done, time is up or ``on_log`` says so.

        torch's global generators are put back afterwards as they were.

        Args:
            batches: Gives this process's micro-batches, anything with ``to(device)`` that the loss
                takes, from a step on, in order, e.g.
                ``lambda step: stream.batches(2, start=step)`` where each step has one.
            on_log: Called with each line of the log.
        """
        if self.folder is not None and self.processes.is_main:
            self.folder.mkdir(parents=True, exist_ok=True)
        outside = random_state()
        try:
            with closing(batches(self.step)) as stream:  # type: ignore[type-var]
                self._run(stream, on_log)
        finally:
            set_random_state(outside)

    def _run(self, stream: Iterator[Any], on_log: OnLog | None) -> None:
        begun = time.monotonic() - self.seconds
        limit = self.settings.max_minutes
        deadline = None if limit is None else time.monotonic() + 60 * limit
        self.model.train()
        sums: dict[str, Tensor] = {}
        while not self.done:
            rate, values = self._step(stream)
            for name, value in values.items():
                sums[name] = sums.get(name, 0) + value
            since = self.step % self.settings.log_every or self.settings.log_every
            if since != self.settings.log_every and not self.done:
                continue
            self.seconds = time.monotonic() - begun
            progress, sums = self._progress(sums, since, rate), {}
            stop = deadline is not None and time.monotonic() >= deadline
            if self.processes.is_main:
                stop = self._tell(progress, on_log) or stop
            self.model.train()
            if self.processes.count > 1:
                stop = self.processes.any(stop, self._device)
            if self._checkpoint_due(stop or self.done):
                self._save()
            if stop:
                return

    def _progress(self, sums: dict[str, Tensor], since: int, rate: float) -> Progress:
        """Return the means of ``since`` steps over all processes."""
        joined = self.processes.average(torch.stack([*sums.values()]) / since).tolist()
        if not all(math.isfinite(value) for value in joined):
            raise FloatingPointError(
                f"the loss or its gradient is not finite near step {self.step}; the last "
                "checkpoint is kept: begin again with a lower rate"
            )
        means = dict(zip(sums, joined, strict=True))
        norm = means.pop("norm")
        return Progress(self.step, self.settings.steps, means, rate, norm, self.seconds)

    def _tell(self, progress: Progress, on_log: OnLog | None) -> bool:
        """Write a line of the log; return whether whoever reads it wants to stop."""
        self._rows.append(progress.row())
        if self.folder is not None:
            append_row(self._file(LOG), self._rows)
        return bool(on_log(progress, self.result)) if on_log is not None else False

    def _checkpoint_due(self, last: bool) -> bool:
        minutes = self.settings.checkpoint_minutes
        if self.folder is None or minutes is None or not self.processes.is_main:
            return False
        return last or time.monotonic() - self._saved >= 60 * minutes

    def _step(self, stream: Iterator[Any]) -> tuple[float, dict[str, Tensor]]:
        """Do one step; return its rate and the loss's parts, left on their device."""
        settings = self.settings
        rate = self.schedule.set(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        values: dict[str, Tensor] = {}
        for number in self.processes.share(self.step, settings.accumulate):
            losses = self._losses(next(stream), number)
            self._scaler.scale(losses.total / settings.accumulate).backward()
            for name, value in losses._asdict().items():
                values[name] = values.get(name, 0) + value.detach() / settings.accumulate
        self.processes.average_gradients(self.model.parameters())
        self._scaler.unscale_(self.optimizer)
        largest = float("inf") if settings.clip is None else settings.clip
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), largest)
        if self._scaler.is_enabled():  # then a step of an infinite gradient is left out
            norm = norm.nan_to_num(0.0, 0.0, 0.0)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.step += 1
        if self.average is not None:
            self.average.update(self.model, self.step)
        return rate, {**values, "norm": norm}

    def _losses(self, batch: Any, number: int) -> Any:
        """Return the loss of micro-batch ``number`` and its parts."""
        kept = recomputed(self.model) if self.settings.recompute else contextlib.nullcontext()
        dtype = _DTYPES.get(self.settings.precision)
        chance = np.random.SeedSequence([self.settings.seed, number]).generate_state(1, np.uint64)
        torch.manual_seed(int(chance[0] >> 1))
        with kept, torch.autocast(self._device.type, dtype, enabled=dtype is not None):
            return self.loss(batch.to(self._device))

    def _save(self) -> None:
        average = {} if self.average is None else self.average.module.state_dict()
        state = {
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": average,
            "scaler": self._scaler.state_dict(),
            "rows": self._rows,
            "extra": self.extra,
        }
        save_checkpoint(self._file(CHECKPOINT), state)
        self._saved = time.monotonic()

    def _file(self, name: str) -> Path:
        if self.folder is None:
            raise UserError("a training without a folder can't be resumed")
        return self.folder / name


def _averaged(model: nn.Module, decay: float | None) -> ModelEmaV3 | None:
    if decay is None:
        return None
    from timm.utils import ModelEmaV3

    return ModelEmaV3(model, decay=decay, use_warmup=True)
