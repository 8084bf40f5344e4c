"""Pretraining on MOTS: many partially labelled tasks, one network (Secs. 3.6 and 4.1)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from mots_pretrained.data.stream import PatchStream
from mots_pretrained.errors import UserError
from mots_pretrained.methods import Method
from mots_pretrained.model.stages import stage_of
from mots_pretrained.training.log import Progress, tensorboard, write_whole
from mots_pretrained.training.loop import LoopSettings, Training
from mots_pretrained.training.pretraining import Pretraining
from mots_pretrained.training.processes import Processes, joined
from mots_pretrained.training.recipes import Recipe
from mots_pretrained.training.resume import CHECKPOINT
from mots_pretrained.training.sources import Supply
from mots_pretrained.training.start import Carried
from mots_pretrained.weights.download import resolve
from mots_pretrained.weights.provenance import write_training_scans

RECORD = "training.json"
"""Name of the file beside the weights that says how they were trained."""


@dataclass(frozen=True)
class Run:
    """How a pretraining is run on its machine; what it learns does not depend on it.

    Attributes:
        device: Where the network trains.
        workers: Processes that make cases and patches; 0 makes them in this one.
        resume: Go on from the folder's checkpoint; without one, begin.
        max_minutes: End cleanly after so long, to be resumed.
        checkpoint_minutes: Time between checkpoints.
        recompute: Compute activations again in the backward pass, to save memory.
        tensorboard: Write the log for TensorBoard too.
        half: Store weights as float16.
    """

    device: str = "cpu"
    workers: int = 1
    resume: bool = False
    max_minutes: float | None = None
    checkpoint_minutes: float = 3.0
    recompute: bool = False
    tensorboard: bool = False
    half: bool = False


def optimizer_of(network: Method, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW over all weights, the Transformer's in a group of their own if asked to."""
    if recipe.transformer_rate is None:
        return torch.optim.AdamW(
            network.parameters(), recipe.rate, weight_decay=recipe.weight_decay
        )
    groups: list[list[torch.nn.Parameter]] = [[], []]
    for name, parameter in network.named_parameters():
        own = stage_of(name).split(".")[0] in ("transformer", "organ_decoder")
        groups[own].append(parameter)
    rates = (recipe.rate, recipe.transformer_rate)
    return torch.optim.AdamW(
        [{"params": group, "lr": rate} for group, rate in zip(groups, rates, strict=True) if group],
        weight_decay=recipe.weight_decay,
    )


def pretrain(
    folder: str | Path,
    settings: Pretraining,
    run: Run | None = None,
    *,
    on_start: Callable[[Carried], None] | None = None,
    on_log: Callable[[Progress], None] | None = None,
) -> Method:
    """Pretrain, and leave a folder that ``from_pretrained`` takes.

    Beside the weights stand ``training.json`` (settings, steps done, seconds), ``log.csv`` and
    the checkpoint from which an interrupted training resumes to the very same weights. Started on
    several processes by a launcher, it trains on all of them, and the main one writes.

    Args:
        folder: Where all of it goes.
        settings: What the pretraining is.
        run: How it is run.
        on_start: Told what was carried over, where weights are gone on from.
        on_log: Called with each line of the log.

    Returns:
        The network in evaluation mode, averaged weights where those are kept.

    Raises:
        ValueError: If the folder holds a training and ``resume`` is not set, or one with other
            settings and it is; if the data does not fit the network.
    """
    folder, run = Path(folder), run or Run()
    supply = settings.supply()
    network, carried = settings.network(supply.tasks)
    if carried is not None and on_start is not None:
        on_start(carried)
    stream = settings.stream(supply, network.config, workers=run.workers)
    with joined(run.device) as processes:
        check_begun(folder, run)
        training = _training(folder, settings, run, supply, network.to(run.device), processes)
        carry_out(training, stream, run, batch=settings.chosen_recipe.batch, on_log=on_log)
        result = cast(Method, training.result).eval()
        if processes.is_main:
            result.save_pretrained(folder, half=run.half)
            _write_record(folder, settings, run, training, supply, carried)
            earlier = None if settings.start is None else resolve(settings.start)
            write_training_scans(folder, supply.hashes, earlier=earlier)
    return result


def check_begun(folder: Path, run: Run) -> None:
    """Raise a ValueError if a folder holds a training that is not to be resumed."""
    if (folder / CHECKPOINT).exists() and not run.resume:
        raise UserError(f"{folder} holds a training already; resume it or choose another folder")


def carry_out(
    training: Training,
    stream: PatchStream,
    run: Run,
    *,
    batch: int,
    on_log: Callable[[Progress], None] | None,
) -> None:
    """Train, from the folder's checkpoint on where there is one, and tell of each line of the log.

    Args:
        training: Set up, not begun.
        stream: What it sees; each process takes its share.
        run: How it is run.
        batch: Samples a micro-batch.
        on_log: Called with each line of the log.
    """
    folder, processes = cast(Path, training.folder), training.processes
    with ExitStack() as stack:
        if (folder / CHECKPOINT).exists():
            training.resume()
        watchers = [on_log] if on_log else []
        if run.tensorboard and processes.is_main:
            watchers.append(stack.enter_context(tensorboard(folder, step=training.step)))

        def tell(progress: Progress, _: torch.nn.Module) -> None:
            for watcher in watchers:
                watcher(progress)

        def batches(step: int) -> Iterator[Any]:
            first = processes.share(step, training.settings.accumulate)[0]
            return stream.batches(batch, start=first, stride=processes.count)

        training.run(batches, on_log=tell)


def outcome(training: Training, run: Run) -> dict[str, Any]:
    """Return what every training.json says of how a training went."""
    return {
        "steps": training.settings.steps,
        "steps_done": training.step,
        "complete": training.done,
        "seconds": round(training.seconds, 1),
        "processes": training.processes.count,
        "device": run.device,
        "torch": torch.__version__,
    }


def _training(
    folder: Path,
    settings: Pretraining,
    run: Run,
    supply: Supply,
    network: Method,
    processes: Processes,
) -> Training:
    """Set up the loop."""
    recipe, count = settings.chosen_recipe, processes.count
    return Training(
        model=network,
        loss=network.loss,
        optimizer=optimizer_of(network, recipe),
        settings=LoopSettings(
            steps=settings.steps(supply.scans, count),
            seed=settings.seed,
            clip=recipe.clip,
            ema=recipe.ema,
            steps_per_epoch=(
                1 if recipe.epochs is None else settings.steps_per_epoch(supply.scans, count)
            ),
            warm_up=recipe.warm_up,
            precision=recipe.precision,
            accumulate=settings.accumulate,
            recompute=run.recompute,
            checkpoint_minutes=run.checkpoint_minutes,
            max_minutes=run.max_minutes,
        ),
        folder=folder,
        identity=_identity(settings, supply, count),
        processes=processes,
    )


def _identity(settings: Pretraining, supply: Supply, processes: int) -> str:
    """Return what must be equal for a training to be continued: all but how steps are shared."""
    values = dataclasses.asdict(
        dataclasses.replace(settings, recipe=settings.chosen_recipe, accumulate=1)
    )
    del values["accumulate"]
    values["micro-batches a step"] = settings.accumulate * processes
    values["cases"] = supply.scans
    return json.dumps(values, indent=1)


def _write_record(
    folder: Path,
    settings: Pretraining,
    run: Run,
    training: Training,
    supply: Supply,
    carried: Carried | None,
) -> None:
    """Say beside the weights how they came about."""
    start = {"from": settings.start, **dataclasses.asdict(carried)} if carried else None
    record = {
        "data": supply.summary,
        "tasks": [task.name for task in supply.tasks],
        "scans": supply.scans,
        "settings": dataclasses.asdict(
            dataclasses.replace(settings, recipe=settings.chosen_recipe)
        ),
        "start": start,
        **outcome(training, run),
    }
    write_whole(folder / RECORD, json.dumps(record, indent=2) + "\n")
