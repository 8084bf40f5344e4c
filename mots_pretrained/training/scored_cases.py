"""Cases to be scored: unseen phantoms, or what of a prepared folder is asked for (Sec. 4.1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.case import Case
from mots_pretrained.data.store import CaseRecord, PreparedSet
from mots_pretrained.data.workers import end_with_parent
from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.phantom import Phantom, torso
from mots_pretrained.phantom.collections import bcv_label, source_label
from mots_pretrained.phantom.domains import imitated
from mots_pretrained.tasks import BCV_ORGANS, IGNORED, Task
from mots_pretrained.training.sources import warn_of_set_aside
from mots_pretrained.weights.provenance import find_training_scans

Part = Literal["train", "validation", "test"]
"""What of a prepared set is scored; validation is a part of train."""

PARTS: tuple[Part, ...] = get_args(Part)
"""The names of these."""

Truth = dict[str, NDArray[np.bool_]]
"""True mask of each category that is labelled."""

_BCV_DOMAINS = ("liver", "spleen", "pancreas")  # portal venous scans, as BCV's are


@dataclass(frozen=True, eq=False)
class Item:
    """A case to be scored: how it is predicted, and its truth where voxels count.

    Attributes:
        name: Name of the case.
        group: Collection that it belongs to or imitates.
        task: The only task that is labelled; None for several, and for a segmenter's classes.
        predict: From a predictor to its prediction.
        truth: The true masks.
        spacing: Millimetres along (D, H, W).
        seed: Seed of a phantom.
        counted: Where voxels count; None for everywhere.
    """

    name: str
    group: str
    task: Task | None
    predict: Callable[[Predictor], Prediction]
    truth: Truth
    spacing: tuple[float, float, float]
    seed: int = 0
    counted: NDArray[np.bool_] | None = None


def phantom_items(
    config: ModelConfig,
    cases: int,
    seeds: tuple[int, ...],
    randomise: float = 0.0,
    everywhere: bool = False,
    workers: int = 0,
) -> Iterator[Item]:
    """Return the phantoms of `score_phantoms`, whose arguments and errors these are."""
    if cases < 1 or not seeds:
        raise UserError(f"evaluation needs at least 1 case and 1 seed, not {cases} and {seeds}")
    classes, tasks = config.classes, imitated(config.tasks)
    if strange := [name for name in classes if name not in BCV_ORGANS]:
        raise UserError(f"phantoms have no truth for the class {strange[0]!r}; score files instead")
    if untold := [one.name for one in config.tasks if one not in tasks]:
        told = f"phantoms have no truth for {', '.join(untold):.200}"
        if not tasks:
            raise UserError(f"{told}; score a prepared folder or files instead")
        warnings.warn(f"{told}; not scored", stacklevel=3)
    domains = _BCV_DOMAINS if classes else tuple(task.name for task in tasks)
    spacing = config.preprocessing.spacing
    make = partial(_phantom, domains, spacing, randomise)
    wanted = [(seed, index) for seed in seeds for index in range(cases)]

    def items() -> Iterator[Item]:
        for (seed, index), phantom in zip(wanted, _made(make, wanted, workers), strict=True):
            own = () if classes else tasks if everywhere else (tasks[index % len(tasks)],)
            truth = _organs(phantom) if classes else {}
            for each in own:
                truth |= _drawn(phantom, each)
            volume = Volume.with_spacing(np.rint(phantom.image), spacing)
            task = own[0] if len(own) == 1 else None
            name = f"{phantom.domain} {seed}-{index}"
            predict = partial(_whole, volume)
            yield Item(name, phantom.domain, task, predict, truth, spacing, seed)

    return items()


def prepared_items(
    config: ModelConfig,
    prepared: PreparedSet,
    split: Part | None = "test",
    task: str | None = None,
) -> tuple[tuple[str, ...], int, Iterator[Item]]:
    """Return the categories labelled, how many cases there are, and the cases of a prepared set.

    Arguments and errors as of `score_prepared`.
    """
    records = scored_records(config, prepared, split, task)
    tasks = {known.name: known for known in prepared.tasks}
    known = config.categories
    present = [one for name, one in tasks.items() if any(r.task == name for r in records)]
    labelled = tuple(dict.fromkeys(n for one in present for n in one.categories if n in known))
    named = dict.fromkeys(n for r in records_of(prepared, split, task)
                          for n in tasks[r.task].categories)  # fmt: skip
    if unknown := [name for name in named if name not in known]:
        warnings.warn(
            f"the model does not know {', '.join(unknown)}, which {prepared.folder} labels; not "
            "scored",
            stacklevel=2,
        )

    def items() -> Iterator[Item]:
        for record in records:
            case, own = prepared.read(record), tasks[record.task]
            counted = (case.target != IGNORED).all(axis=0)
            predict = partial(_prepared, case.image, record.spacing)
            yield Item(
                record.identifier, record.collection, own, predict, _truth(case, own),
                record.spacing, counted=counted,
            )  # fmt: skip

    return labelled, len(records), items()


def scored_records(
    config: ModelConfig, prepared: PreparedSet, split: Part | None, task: str | None = None
) -> list[CaseRecord]:
    """Return the records of the cases that `score_prepared` scores, whose errors these are."""
    prepared.check_contract(config.preprocessing)
    if not prepared.tasks:
        raise UserError(
            f"{prepared.folder} was prepared beside a training, without tasks; score what "
            "mots predict writes, with --truth"
        )
    known = config.categories
    tasks = {one.name for one in prepared.tasks if {*one.categories} & {*known}}
    records = [r for r in records_of(prepared, split, task) if r.task in tasks]
    if not records:
        raise UserError(
            f"the model knows {', '.join(known)}, and {prepared.folder} labels none of it"
        )
    return records


def warn_of_cases(
    folder: Path, config: ModelConfig, prepared: PreparedSet, split: Part | None, task: str | None
) -> None:
    """Warn of cases that were set aside, and of those that a folder's network was trained on.

    Errors as of `score_prepared`.
    """
    records = scored_records(config, prepared, split, task)
    warn_of_set_aside(prepared)
    known = find_training_scans(folder)
    seen = known.seen({r.identifier: [r.source.content_hash] for r in records}) if known else {}
    if seen:
        warnings.warn(
            f"seen in training: {len(seen)} of the {len(records)} cases, such as "
            f"{next(iter(seen))}; what is measured on them says nothing of others",
            stacklevel=2,
        )


def records_of(
    prepared: PreparedSet, split: Part | None, task: str | None = None
) -> tuple[CaseRecord, ...]:
    """Return the records of a split, or of the validation fold of the training cases.

    Raises:
        UserError: If there is none, or no such task.
    """
    if split == "validation":
        selected = prepared.select(split="train", fold="validation", task=task)
    else:
        selected = prepared.select(split=split, task=task)
    if not selected:
        raise UserError(
            f"{prepared.folder} has no case to score in the split {split or 'all'}"
            f"{f' and the task {task}' if task else ''}; mots prepare --split says which are where"
        )
    return selected


def _whole(volume: Volume, predictor: Predictor) -> Prediction:
    return predictor(volume)


def _prepared(
    image: NDArray[np.float32], spacing: tuple[float, float, float], predictor: Predictor
) -> Prediction:
    return predictor.prepared(image, spacing=spacing)


def _truth(case: Case, task: Task) -> Truth:
    """Return the masks that a prepared case's collection labels."""
    both = zip((task.organ, task.tumour), case.target, case.labelled, strict=True)
    return {name: channel == 1 for name, channel, labelled in both if name and labelled}


def _drawn(phantom: Phantom, task: Task) -> Truth:
    """Return the masks that a task's annotators would have drawn of a phantom."""
    drawn = source_label(phantom.labels, task)
    both = {task.organ: task.organ_values, task.tumour: task.tumour_values}
    return {name: np.isin(drawn, values) for name, values in both.items() if name is not None}


def _organs(phantom: Phantom) -> Truth:
    organs = bcv_label(phantom.labels)
    return {name: organs == value for value, name in enumerate(BCV_ORGANS, start=1)}


def _phantom(
    domains: tuple[str, ...],
    spacing: tuple[float, float, float],
    randomise: float,
    case: tuple[int, int],
) -> Phantom:
    seed, index = case
    return torso(
        int(np.random.default_rng([seed, 4, index]).integers(2**31)),
        domain=domains[index % len(domains)],
        spacing=spacing,
        randomise=randomise,
    )


def _made(
    make: Callable[[tuple[int, int]], Phantom], wanted: list[tuple[int, int]], workers: int
) -> Iterator[Phantom]:
    """Yield phantoms in order, made here or a few ahead in other processes."""
    if workers < 1:
        yield from map(make, wanted)
        return
    context = get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
            jobs = (pool.submit(make, case) for case in wanted)
            ahead = list(islice(jobs, 2 * workers))
            while ahead:
                yield ahead.pop(0).result()
                ahead += islice(jobs, 1)
    except BrokenProcessPool:
        raise UserError(
            f"one of the {workers} processes that make phantoms was ended, as happens when memory "
            "is short; free some and run it again"
        ) from None
