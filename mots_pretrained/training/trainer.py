"""The training loop on accelerate: steps, log and checkpoints on any device and many processes."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mots_pretrained.data.workers import told_of_loaders
from mots_pretrained.errors import UserError
from mots_pretrained.stages import begin_work, stage
from mots_pretrained.training.folder import (
    Checkpoint,
    check_same,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from mots_pretrained.training.launch import on_main
from mots_pretrained.training.log import LOG, LogRow, append_row, tensorboard, write_rows
from mots_pretrained.training.machine import delayed_sigterm, flushed_denormals, kept_generators
from mots_pretrained.training.recipe import Recipe, Run
from mots_pretrained.training.recompute import recomputed

if TYPE_CHECKING:
    from accelerate import Accelerator

Loss = Callable[[Any, Any], Any]
"""Gives a named tuple of scalars for a network and a batch; its ``total`` is minimised."""

Batches = Callable[[int, int], Iterator[Any]]
"""Gives batches ``start``, ``start + stride`` and so on, which have ``pin_memory`` and ``to``."""

POWER = 0.9  # of (1 - k/K), Sec. 4.1
WARM_UP_START = 0.01  # published code: the first rate, as a share of the full one
LOG_EVERY = 10  # steps that a log row averages; checkpoints fall on such steps


def ramp(decay: float) -> Callable[[int], float]:
    """Return an average's decay by steps done: from 1/10 up to the given one, then that.

    0.999 is reached at step 8,990: a recipe's decay should be reached in its first half.
    """
    return lambda step: min(decay, step / (9 + step))


def poly(step: int, steps: int, *, steps_per_epoch: int = 1, warm_up: int = 0) -> float:
    """Return the factor (1 - k/K)^0.9 on the rates of step number ``step``, counted from 0.

    Args:
        step: Number of the step.
        steps: Steps in all, after which the rate is 0.
        steps_per_epoch: The rate changes once in so many steps. The paper counts k in epochs of
            460 steps (920 scans, batch 2) up to K = 1000; by default k is the step.
        warm_up: Epochs (steps, by default) of linear rise from 1 %.

    Example:
        >>> round(poly(500, 1000), 4)
        0.5359
    """
    epoch, epochs = step // steps_per_epoch, -(-steps // steps_per_epoch)
    if epoch < warm_up:
        return WARM_UP_START + epoch * (1 - WARM_UP_START) / warm_up
    return float((1 - epoch / epochs) ** POWER)


@dataclass
class Trainer:
    """A network and all that changes while it trains.

    torch's generators (dropout) are seeded anew for each micro-batch, from the seed and the
    micro-batch's number. So the number of the step is the whole state of schedule, stream and
    generators; with weights, average and optimiser it is all that a checkpoint needs, and several
    processes do together what one does alone with as many more micro-batches. All processes begin
    with the main one's weights and checkpoint.

    Attributes:
        model: The network.
        loss: Gives the loss of a batch.
        recipe: How it is trained.
        run: Where and for how long.
        accelerator: What ``accelerated`` gave.
        steps: Optimiser steps in all.
        steps_per_epoch: The rate changes once in so many steps.
        groups: The optimiser's groups of weights; None for one of all.
        folder: Where log and checkpoint go; None keeps nothing.
        identity: What must be equal for a checkpoint to be continued.
        decay: Decay of the averaged weights by steps done; the recipe's by default.
        kept: What else a checkpoint keeps: numbers, texts, lists and dicts of such.
        tensors: Tensors that a checkpoint keeps besides, by name.
    """

    model: nn.Module
    loss: Loss
    recipe: Recipe
    run: Run
    accelerator: Accelerator
    steps: int
    steps_per_epoch: int = 1
    groups: list[dict[str, Any]] | None = None
    folder: Path | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    decay: Callable[[int], float] | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    step: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    rows: list[LogRow] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        epochs = -(-self.steps // self.steps_per_epoch)
        if not 0 <= self.recipe.warm_up < epochs:
            raise UserError(
                f"warm_up must be 0 to {epochs - 1} of {epochs} epochs, not {self.recipe.warm_up}"
            )
        device, recipe = self.accelerator.device, self.recipe
        self.model.to(device)
        self.optimizer = torch.optim.AdamW(
            self.groups if self.groups is not None else self.model.parameters(),
            recipe.rate or default_rate(self.model),
            weight_decay=recipe.weight_decay,
            fused=device.type == "cuda",
        )
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._objective, self._stepper = self.accelerator.prepare(
            _Objective(self.model, self.loss), self.optimizer
        )  # of several processes, this gives all of them the main one's weights
        if self.decay is None and recipe.ema is not None:
            self.decay = ramp(recipe.ema)
        self.average = (
            None if self.decay is None else copy.deepcopy(self.model).requires_grad_(False)
        )
        self._saved = time.monotonic()

    @property
    def result(self) -> nn.Module:
        """The network to use: the average where one is kept."""
        return self.model if self.average is None else self.average

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, as the main process finds it.

        Returns:
            Whether there was one.

        Raises:
            UserError: If it belongs to a training with other settings.
        """
        if self.folder is None:
            return False
        folder = self.folder

        def find() -> Checkpoint | None:
            if not has_checkpoint(folder):
                return None
            state = load_checkpoint(folder)
            check_same(folder, state.values["identity"], self.identity)
            write_rows(folder / LOG, [LogRow(**row) for row in state.values["rows"]])
            return state  # after a kill the log may have been ahead

        state = on_main(self.accelerator, find)
        if state is None:
            return False
        values = state.values
        self.model.load_state_dict(state.part("model"))
        if self.average is not None:
            self.average.load_state_dict(state.part("average"))
        self.optimizer.load_state_dict(
            {
                "state": _nested(state.part("optimizer")),
                "param_groups": self.optimizer.state_dict()["param_groups"],
            }
        )
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(values["scaler"])
        self.step, self.seconds = values["step"], values["seconds"]
        self.rows = [LogRow(**row) for row in values["rows"]]
        self.kept.update(values["kept"])
        self.tensors.update(state.part("kept"))
        return True

    def run_on(
        self, batches: Batches, *, on_log: Callable[[LogRow], bool | None] | None = None
    ) -> None:
        """Train until all steps are done, time is up or ``on_log`` says so.

        torch's global generators are put back afterwards as they were. SIGTERM ends process and
        training with the next log row's checkpoint, if there are any and no other processes.

        Args:
            batches: Gives micro-batches by number; each process takes its share of each step's.
            on_log: Callback that receives each log row, in every process; True in any of them
                ends the training.

        Raises:
            FloatingPointError: If the loss is not finite; the last checkpoint stays.
            UserError: If a worker process died.
        """
        processes, own = self.accelerator.num_processes, self.accelerator.process_index
        first = self.step * self.recipe.accumulate * processes + own
        with ExitStack() as stack:
            held = delayed_sigterm() if self.folder and processes == 1 else nullcontext(bool)
            told = stack.enter_context(held)
            stack.enter_context(kept_generators())
            stream = stack.enter_context(closing(batches(first, processes)))  # type: ignore[type-var]
            watchers = [] if self.run.on_log is None else [self.run.on_log]
            if not self.accelerator.is_main_process:
                watchers = []
            elif self.run.tensorboard and self.folder is not None:
                watchers.append(stack.enter_context(tensorboard(self.folder, step=self.step)))
            begin_work()
            stack.enter_context(stage("train", steps=self.steps, begun_at=self.step))
            stack.enter_context(told_of_loaders())
            self._run(stream, watchers, on_log, told)
        self.accelerator.free_memory()

    def _run(
        self,
        stream: Iterator[Any],
        watchers: list[Callable[[LogRow], Any]],
        on_log: Callable[[LogRow], bool | None] | None,
        told: Callable[[], bool],
    ) -> None:
        begun = time.monotonic() - self.seconds
        limit = self.run.max_minutes
        deadline = math.inf if limit is None else time.monotonic() + 60 * limit
        self._objective.train()
        sums: dict[str, Tensor] = {}
        while not self.done:
            rate, values = self._step(stream)
            for name, value in values.items():
                sums[name] = sums.get(name, 0) + value
            since = self.step % LOG_EVERY or LOG_EVERY
            if since != LOG_EVERY and not self.done:
                continue
            self.seconds = time.monotonic() - begun
            self.rows.append(self._row(sums, since, rate))
            sums = {}
            if self.accelerator.is_main_process:
                if self.folder is not None:
                    append_row(self.folder / LOG, self.rows)
                for watcher in watchers:
                    watcher(self.rows[-1])
            stop = on_log is not None and bool(on_log(self.rows[-1]))
            self._objective.train()
            stop = self._any(stop or told() or time.monotonic() >= deadline)
            self._save(now=stop or self.done)
            if stop:
                return

    def _row(self, sums: dict[str, Tensor], since: int, rate: float) -> LogRow:
        """Return the means of ``since`` steps over all processes; the one place that waits."""
        stacked = torch.stack([*sums.values()]) / since
        means = dict(zip(sums, self.accelerator.reduce(stacked, "mean").tolist(), strict=True))
        if not all(math.isfinite(value) for value in means.values()):
            raise FloatingPointError(
                f"the loss or its gradient is not finite near step {self.step}; the last "
                "checkpoint is kept: begin again with a lower rate"
            )
        norm = means.pop("norm")
        return LogRow(self.step, self.steps, means, rate, norm, self.seconds)

    def _any(self, value: bool) -> bool:
        """Return whether a value is true in any process."""
        if self.accelerator.num_processes == 1:
            return value
        flag = torch.tensor(float(value), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)

    def _step(self, stream: Iterator[Any]) -> tuple[float, dict[str, Tensor]]:
        """Do one step; return its rate and the loss's parts, left on their device."""
        recipe, accelerator = self.recipe, self.accelerator
        factor = poly(
            self.step, self.steps, steps_per_epoch=self.steps_per_epoch, warm_up=recipe.warm_up
        )
        for group, full in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = factor * full
        self.optimizer.zero_grad(set_to_none=True)
        values: dict[str, Tensor] = {}
        first = self.step * recipe.accumulate * accelerator.num_processes
        for turn in range(recipe.accumulate):
            is_last = turn == recipe.accumulate - 1
            number = first + turn * accelerator.num_processes + accelerator.process_index
            batch = next(stream)
            together = nullcontext() if is_last else accelerator.no_sync(self._objective)
            with together, flushed_denormals(accelerator.device):
                losses = self._losses(batch, number)
                accelerator.backward(losses.total / recipe.accumulate)
            for name, value in losses._asdict().items():
                values[name] = values.get(name, 0) + value.detach() / recipe.accumulate
        largest = math.inf if recipe.clip is None else recipe.clip
        with flushed_denormals(accelerator.device):
            norm = accelerator.clip_grad_norm_(self.model.parameters(), largest)
            self._stepper.step()
        if accelerator.scaler is not None:  # a step of an infinite gradient was left out
            norm = norm.nan_to_num(0.0, 0.0, 0.0)
        self.step += 1
        self._average()
        return max(group["lr"] for group in self.optimizer.param_groups), {**values, "norm": norm}

    def _losses(self, batch: Any, number: int) -> Any:
        """Return the loss of micro-batch ``number`` and its parts."""
        device = self.accelerator.device
        if device.type == "cuda":
            batch = batch.pin_memory()
        chance = np.random.SeedSequence([self.recipe.seed, number]).generate_state(1, np.uint64)
        torch.manual_seed(int(chance[0] >> 1))
        with recomputed(self.model) if self.run.recompute else nullcontext():
            return self._objective(batch.to(device))

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the network's."""
        if self.average is None or self.decay is None:
            return
        own, average = self.model.state_dict(), self.average.state_dict()
        moving = [name for name, value in average.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [average[name] for name in moving],
            [own[name] for name in moving],
            1 - self.decay(self.step),
        )

    def _save(self, *, now: bool) -> None:
        """Write a checkpoint if it is due."""
        if self.folder is None or not self.accelerator.is_main_process:
            return
        if not now and time.monotonic() - self._saved < 60 * self.run.checkpoint_minutes:
            return
        parts = {
            "model": self.model.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "optimizer": _flat(self.optimizer.state_dict()["state"]),
            "kept": self.tensors,
        }
        scaler = self.accelerator.scaler
        values = {
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "scaler": None if scaler is None else scaler.state_dict(),
            "kept": self.kept,
        }
        tensors = {
            f"{part}/{name}": v for part, found in parts.items() for name, v in found.items()
        }
        save_checkpoint(self.folder, Checkpoint(tensors, values))
        self._saved = time.monotonic()


def default_rate(network: nn.Module) -> float:
    """Return AdamW's rate for a network of its size (Sec. 4.1 for the paper's own)."""
    small = sum(parameter.numel() for parameter in network.parameters()) < 10_000_000
    return 1e-3 if small else 2e-4


class _Objective(nn.Module):
    """A network and its loss as one module, whose gradients several processes can average."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Any:
        return self.loss(self.model, batch)


def _flat(state: dict[int, dict[str, Any]]) -> dict[str, Tensor]:
    """Return an optimiser's state as tensors by ``NUMBER/NAME``."""
    return {
        f"{number}/{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
    }


def _nested(flat: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        number, _, name = key.partition("/")
        found.setdefault(int(number), {})[name] = value
    return found
