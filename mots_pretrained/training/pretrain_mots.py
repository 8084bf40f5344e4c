"""Pretraining on MOTS: many partially labelled tasks, one network (Secs. 3.6 and 4.1)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.data.augment import Augmentation
from mots_pretrained.data.dataset import PatchStream, Sampling, Source
from mots_pretrained.data.patches import Case
from mots_pretrained.data.preprocess import lowest_value, scale_hounsfield
from mots_pretrained.methods import METHODS, Method
from mots_pretrained.phantom import task_target, torso
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.tasks import MOTS_TASKS, Task
from mots_pretrained.training.loop import LoopSettings, Precision, Progress, Training
from mots_pretrained.training.presets import SIZES, configuration
from mots_pretrained.training.resume import CHECKPOINT

Labels = Literal["partial", "complete"]

SCANS = sum(task.train for task in MOTS_TASKS)
"""Training scans of MOTS, 920: an epoch is one pass over as many, also of phantoms."""

EXTRA_TUMOURS = 0.3
"""Chance of each tumour that a phantom's own domain isn't about, where all are supervised."""

RECORD = "training.json"
"""Name of the file beside the weights that says how they were trained."""


@dataclass(frozen=True)
class Pretraining:
    """What a pretraining is; two with equal values give equal weights on one machine.

    Attributes:
        method: Name in ``METHODS``.
        size: Name in ``SIZES``.
        steps: Optimiser steps in all.
        batch: Patches a step (Sec. 4.1: 2).
        rate: AdamW's initial learning rate; None takes the size's own.
        weight_decay: On all weights, as published.
        clip: Largest gradient norm, as published.
        warm_up: Epochs of rising rate; the published code has 10, the paper none.
        by_epoch: Whether the rate decays by epochs of 920 patches, as published, or by steps.
        ema: Decay of the averaged weights, which are the ones kept; None keeps the last ones.
        seed: Of weights, phantoms, patches and dropout.
        randomise: How far phantoms' appearance and shape leave the plausible, 0 to 1.
        labels: ``"partial"``: a phantom shows its own collection's labels, as in MOTS.
            ``"complete"``: of every phantom all seven tasks' targets are known.
        patches_per_case: Patches cut from each phantom.
        precision: Arithmetic of the forward pass.
    """

    method: str = "transdodnet"
    size: str = "small"
    steps: int = 20_000
    batch: int = 2
    rate: float | None = None
    weight_decay: float = 1e-4
    clip: float = 0.1
    warm_up: int = 0
    by_epoch: bool = False
    ema: float | None = 0.999
    seed: int = 0
    randomise: float = 0.5
    labels: Labels = "partial"
    patches_per_case: int = 4
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        configuration(self.method, self.size)
        if self.steps < 1 or self.batch < 1 or self.patches_per_case < 1:
            raise ValueError("steps, batch and patches per case must be at least 1")
        for what, value, allowed in (
            ("labels", self.labels, get_args(Labels)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in allowed:
                raise ValueError(f"unknown {what} {value!r}; allowed are {', '.join(allowed)}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")
        if not 0 <= self.randomise <= 1:
            raise ValueError(f"randomise must be 0 to 1, not {self.randomise}")
        if self.rate is not None and not 0 < self.rate < 1:
            raise ValueError(f"the learning rate must lie between 0 and 1, not {self.rate}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"the decay of the average must lie in (0, 1), not {self.ema}")

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return configuration(self.method, self.size)

    def loop(self, *, checkpoint_minutes: float, max_minutes: float | None) -> LoopSettings:
        """Return the part that the training loop needs."""
        return LoopSettings(
            steps=self.steps,
            seed=self.seed,
            clip=self.clip,
            ema=self.ema,
            steps_per_epoch=steps_of(1, self.batch) if self.by_epoch else 1,
            warm_up=self.warm_up,
            precision=self.precision,
            checkpoint_minutes=checkpoint_minutes,
            max_minutes=max_minutes,
        )


@dataclass(frozen=True)
class TorsoSource:
    """Phantoms without end, task after task: phantom ``i`` is one of task ``i mod 7``'s domain.

    Attributes:
        contract: Spacing and intensities that the network expects.
        tasks: The network's tasks.
        seed: Of the phantoms.
        randomise: As in ``Pretraining``.
        labels: As in ``Pretraining``.
    """

    contract: Preprocessing
    tasks: tuple[Task, ...] = MOTS_TASKS
    seed: int = 0
    randomise: float = 0.5
    labels: Labels = "partial"

    def __call__(self, index: int) -> Case:
        """Make phantom number ``index`` as a case."""
        own = index % len(self.tasks)
        rng = np.random.default_rng([self.seed, 3, index])
        phantom = torso(
            int(rng.integers(2**31)),
            domain=self.tasks[own].name,
            spacing=self.contract.spacing,
            randomise=self.randomise,
            lesions=self._lesions(own, rng),
        )
        chosen = (own,) if self.labels == "partial" else tuple(range(len(self.tasks)))
        labelled = [known for task in chosen for known in self.tasks[task].labelled]
        target = np.concatenate(
            [task_target(phantom.labels, self.tasks[task]) for task in chosen]
        ).astype(np.uint8)
        image = phantom.image.astype(np.float32)
        if self.labels == "complete" and not _vessels_show(image, phantom.labels):
            labelled[2 * [task.name for task in self.tasks].index("hepatic_vessel")] = False
        target[~np.array(labelled)] = 0
        scale_hounsfield(image, self.contract.clip)
        return Case(image[None], target, tuple(labelled), chosen, f"phantom {index}")

    def _lesions(self, own: int, rng: np.random.Generator) -> tuple[str, ...] | None:
        """Draw the patient's tumours: where all are supervised, more teach more."""
        if self.labels == "partial":
            return None
        tumours = [task.tumour for task in self.tasks if task.tumour is not None]
        more = [name for name in tumours if rng.random() < EXTRA_TUMOURS]
        mine = self.tasks[own].tumour
        return tuple(dict.fromkeys(more if mine is None else [mine, *more]))


def _vessels_show(image: NDArray[np.float32], labels: NDArray[np.integer]) -> bool:
    """Tell whether the liver's vessels stand out; where a phase hides them none could be drawn."""
    vessels, liver = image[labels == LABEL["hepatic_vessel"]], image[labels == LABEL["liver"]]
    if not vessels.size or not liver.size:
        return True
    return bool(abs(np.median(vessels) - np.median(liver)) >= 15)  # HU, about one noise


def steps_of(epochs: int, batch: int) -> int:
    """Return the steps of so many epochs; one is 920 patches, as many as MOTS has scans."""
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    return epochs * -(-SCANS // batch)


def phantom_stream(settings: Pretraining, *, workers: int = 0) -> PatchStream:
    """Return the stream of patches that a pretraining on phantoms sees."""
    contract = settings.config.preprocessing
    source: Source = TorsoSource(
        contract, settings.config.tasks, settings.seed, settings.randomise, settings.labels
    )
    sampling = Sampling(
        patch=contract.patch,
        spacing=contract.spacing,
        fill=lowest_value(contract),
        patches_per_case=settings.patches_per_case,
        augmentation=Augmentation(),  # no MOTS class is lateral, so sides may be swapped
    )
    return PatchStream(source, sampling, settings.seed, workers)


def pretrain(
    folder: str | Path,
    settings: Pretraining,
    *,
    device: str = "cpu",
    workers: int = 1,
    resume: bool = False,
    max_minutes: float | None = None,
    checkpoint_minutes: float = 3.0,
    half: bool = False,
    on_log: Callable[[Progress], None] | None = None,
) -> Method:
    """Pretrain on phantoms made on the fly, and leave a folder that ``from_pretrained`` takes.

    Beside the weights stand ``training.json`` (settings, steps done, seconds), ``log.csv`` and
    the checkpoint from which an interrupted training resumes to the very same weights.

    Args:
        folder: Where all of it goes.
        settings: What the pretraining is.
        device: Where the network trains.
        workers: Processes that make phantoms; 0 makes them in this one. The result is the same.
        resume: Go on from the folder's checkpoint; without one, begin.
        max_minutes: End cleanly after so long, to be resumed.
        checkpoint_minutes: Time between checkpoints.
        half: Store weights as float16.
        on_log: Called with each line of the log.

    Returns:
        The network in evaluation mode, averaged weights where those are kept.

    Raises:
        ValueError: If the folder holds a training and ``resume`` is not set, or one with other
            settings and it is.
    """
    folder = Path(folder)
    begun = (folder / CHECKPOINT).exists()
    if begun and not resume:
        raise ValueError(f"{folder} holds a training already; resume it or choose another folder")
    torch.manual_seed(settings.seed)
    net = METHODS[settings.method](settings.config).to(device)
    rate = settings.rate or SIZES[settings.size].rate
    training = Training(
        model=net,
        loss=net.loss,
        optimizer=torch.optim.AdamW(net.parameters(), rate, weight_decay=settings.weight_decay),
        settings=settings.loop(checkpoint_minutes=checkpoint_minutes, max_minutes=max_minutes),
        folder=folder,
        identity=json.dumps(dataclasses.asdict(settings), indent=1),
    )
    if begun:
        training.resume()
    stream = phantom_stream(settings, workers=workers)
    training.run(
        lambda step: stream.batches(settings.batch, start=step),
        on_log=None if on_log is None else lambda progress, _: on_log(progress),
    )
    result = cast(Method, training.result).eval()
    result.save_pretrained(folder, half=half)
    _write_record(folder, settings, training, device)
    return result


def _write_record(folder: Path, settings: Pretraining, training: Training, device: str) -> None:
    """Say beside the weights how they came about."""
    record = {
        "data": "phantoms",
        "settings": dataclasses.asdict(settings),
        "steps_done": training.step,
        "complete": training.done,
        "seconds": round(training.seconds, 1),
        "device": device,
        "torch": torch.__version__,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
