"""Scoring a network on unseen phantoms or on a prepared split (Sec. 4.1)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.case import Case
from mots_pretrained.data.split import Split
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.data.workers import end_with_parent
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.metrics import (
    TOLERANCE,
    Rule,
    check_metrics,
    check_rule,
    measure,
)
from mots_pretrained.evaluation.names import LabelNames, names_of_task
from mots_pretrained.evaluation.results import Results
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.network import Network
from mots_pretrained.inference.postprocess import cleans, tasks_to_clean
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.phantom import Phantom, torso
from mots_pretrained.phantom.collections import bcv_label, source_label
from mots_pretrained.phantom.domains import imitated
from mots_pretrained.tasks import BCV_ORGANS, IGNORED, Task, all_categories

OnCase = Callable[[int, int], None]
"""Callback that receives how many cases are done, and of how many."""

Truth = dict[str, NDArray[np.bool_]]
"""True mask of each category that is labelled."""

_BCV_DOMAINS = ("liver", "spleen", "pancreas")  # portal venous scans, as BCV's are


@dataclass(frozen=True)
class Scoring:
    """How cases are predicted and scored.

    Attributes:
        metrics: Names of ``evaluation.metrics.METRICS``.
        rule: How empty masks are scored.
        tolerance: Tolerance of the normalised surface Dice, in mm.
        postprocess: Whether predictions are cleaned as in the published testing.
        overlap: Share of a window that the next one covers again.
        flips: Whether to average over eight mirror images.
        batch: Windows predicted at once.
        device: Device of the network; None leaves it where it is.
    """

    metrics: tuple[str, ...] = ("dice",)
    rule: Rule = "standard"
    tolerance: float = TOLERANCE
    postprocess: bool = False
    overlap: float = 0.5
    flips: bool = False
    batch: int = 1
    device: str | None = None

    def __post_init__(self) -> None:
        check_metrics(self.metrics)
        check_rule(self.rule)

    def predictor(self, net: Network, task: Task | None = None) -> Predictor:
        """Return a predictor of one task, cleaned if there is a rule for it; None: of all."""
        tasks: list[str] | None = None
        cleaned = self.postprocess
        if task is not None and not net.config.classes:
            known = net.config.tasks
            tasks = [one.name for one in known if {*one.categories} & {*task.categories}]
            cleaned &= cleans(all_categories(tasks_to_clean(known, tasks)))
        return Predictor(
            net,
            device=self.device,
            tasks=tasks,
            overlap=self.overlap,
            flips=self.flips,
            batch=self.batch,
            postprocess=cleaned,
        )

    def results(self, categories: tuple[str, ...]) -> Results:
        """Return results for these categories, without any case so far."""
        return Results(categories, self.metrics, self.rule, self.tolerance)


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


def score_phantoms(
    net: Network,
    scoring: Scoring | None = None,
    *,
    cases: int = 14,
    seeds: tuple[int, ...] = (0,),
    randomise: float = 0.0,
    everywhere: bool = False,
    workers: int = 0,
    on_case: OnCase | None = None,
) -> Results:
    """Run a network over phantoms that no pretraining of ours has seen, and score it.

    A network of MOTS tasks gets the seven collections' look-alikes in turn, and each case is
    scored where its own collection labels it; other tasks, such as added organs, are left out with
    a warning. A segmenter of BCV's organs gets scans like BCV's.

    Args:
        net: The network.
        scoring: How to predict and score; Dice alone by default.
        cases: Phantoms a seed; 14 are two of each collection.
        seeds: Random seeds of the phantoms; each gives other ones.
        randomise: How far they leave the plausible, 0 to 1.
        everywhere: Score every category of every task on every case, which the phantoms' complete
            truth allows: a spleen on a scan like LiTS's, say.
        workers: Processes that make phantoms ahead; the result is the same.
        on_case: Called after each case.

    Raises:
        UserError: If there is no case or no seed, phantoms have no truth for a class of the
            segmenter or any task, or a process that makes phantoms was ended.
    """
    scoring = scoring or Scoring()
    items = phantom_items(net.config, cases, seeds, randomise, everywhere, workers)
    results = scoring.results(net.config.classes or all_categories(imitated(net.config.tasks)))
    return _score(net, scoring, results, items, cases * len(seeds), on_case)


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
    if not classes and (untold := [one.name for one in config.tasks if one not in tasks]):
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


def score_prepared(
    net: Network,
    prepared: PreparedSet,
    scoring: Scoring | None = None,
    *,
    split: Split | None = "test",
    task: str | None = None,
    on_case: OnCase | None = None,
) -> Results:
    """Run a network over a prepared split and score it on the prepared grid.

    Each case is scored where its own collection labels it; a segmenter where it has a class of
    that name. The published testing scores on each scan's own grid: predict the scans' files and
    score those for that.

    Args:
        net: The network.
        prepared: Folder that ``mots prepare`` has written.
        scoring: How to predict and score; Dice alone by default.
        split: ``"train"`` or ``"test"``; None for both.
        task: Score only the cases of this task.
        on_case: Called after each case.

    Raises:
        UserError: If the cases were prepared for another contract, there is none in the split,
            the network knows nothing that they label, or there is no such task.
    """
    scoring = scoring or Scoring()
    labelled, total, items = prepared_items(net.config, prepared, split, task)
    return _score(net, scoring, scoring.results(labelled), items, total, on_case)


def prepared_items(
    config: ModelConfig,
    prepared: PreparedSet,
    split: Split | None = "test",
    task: str | None = None,
) -> tuple[tuple[str, ...], int, Iterator[Item]]:
    """Return the categories labelled, how many cases there are, and the cases of a prepared set.

    Arguments and errors as of `score_prepared`.
    """
    prepared.check_contract(config.preprocessing)
    if not prepared.tasks:
        raise UserError(
            f"{prepared.folder} was prepared beside a training, without tasks; score what "
            "mots predict writes, with --truth"
        )
    tasks = {known.name: known for known in prepared.tasks}
    known = config.classes or all_categories(config.tasks)
    selected = prepared.select(split=split, task=task)
    if not selected:
        raise UserError(
            f"{prepared.folder} has no case to score in the split {split or 'all'}"
            f"{f' and the task {task}' if task else ''}; mots prepare --split says which are where"
        )
    records = [r for r in selected if {*tasks[r.task].categories} & {*known}]
    present = [one for name, one in tasks.items() if any(r.task == name for r in records)]
    labelled = tuple(dict.fromkeys(n for one in present for n in one.categories if n in known))
    if not labelled:
        raise UserError(
            f"the model knows {', '.join(known)}, and {prepared.folder} labels none of it"
        )
    named = dict.fromkeys(n for r in selected for n in tasks[r.task].categories)
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


def _score(
    net: Network,
    scoring: Scoring,
    results: Results,
    items: Iterator[Item],
    total: int,
    on_case: OnCase | None,
) -> Results:
    """Predict and score items, where a category has both a truth and a prediction."""
    scoring.predictor(net)  # which refuses what can't be predicted so before the first case
    for done, item in enumerate(items, start=1):
        start = time.perf_counter()
        prediction = item.predict(scoring.predictor(net, item.task))
        counted: NDArray[np.bool_] | bool = True if item.counted is None else item.counted
        scores = {
            name: measure(
                _predicted(prediction, name, item.task) & counted,
                mask & counted,
                spacing=item.spacing,
                metrics=scoring.metrics,
                rule=scoring.rule,
                tolerance=scoring.tolerance,
            )
            for name, mask in item.truth.items()
            if name in prediction.names
        }
        seconds = time.perf_counter() - start
        results.add(item.name, scores, seed=item.seed, group=item.group, seconds=seconds)
        if on_case is not None:
            on_case(done, total)
    return results


def _predicted(prediction: Prediction, name: str, task: Task | None) -> NDArray[np.bool_]:
    """Return a category's mask; an organ's with the tumour that a segmenter parts from it.

    The truth of a task's organ may include its tumour, while classes of a segmenter may exclude
    each other.
    """
    if prediction.masks is not None or task is None:
        return prediction.mask(name)
    own = LabelNames(prediction.label_values).nested_like(names_of_task(task))
    return own.mask(prediction.labels, name)


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
