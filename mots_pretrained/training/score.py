"""Scoring a network on unseen phantoms or on a prepared split (Sec. 4.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.data.store import PreparedSet
from mots_pretrained.evaluation.metrics import (
    TOLERANCE,
    Rule,
    check_metrics,
    check_rule,
    measure,
)
from mots_pretrained.evaluation.names import LabelNames, names_of_task
from mots_pretrained.evaluation.results import Results
from mots_pretrained.inference.network import Network
from mots_pretrained.inference.postprocess import cleans, tasks_to_clean
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.phantom.domains import imitated
from mots_pretrained.tasks import MOTS_TASKS, Task, all_categories
from mots_pretrained.training.scored_cases import Item, Part, phantom_items, prepared_items

OnCase = Callable[[int, int], None]
"""Callback that receives how many cases are done, and of how many."""


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
        if task is not None and net.config.tasks:
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


def score_prepared(
    net: Network,
    prepared: PreparedSet,
    scoring: Scoring | None = None,
    *,
    split: Part | None = "test",
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
        split: ``"train"``, ``"test"`` or ``"validation"``, the fold of the training cases that
            ablations leave out; None for all.
        task: Score only the cases of this task.
        on_case: Called after each case.

    Raises:
        UserError: If the cases were prepared for another contract, there is none in the split,
            the network knows nothing that they label, or there is no such task.
    """
    scoring = scoring or Scoring()
    labelled, total, items = prepared_items(net.config, prepared, split, task)
    return _score(net, scoring, scoring.results(labelled), items, total, on_case)


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


def labelled_parts(results: Results) -> tuple[Results, Results]:
    """Split scores into those that each case's own collection labels, and all others.

    Args:
        results: As `score_phantoms` gives them, or others; cases without a collection of MOTS as
            their group are of the first part alone.
    """
    labelled = {task.name: task.categories for task in MOTS_TASKS}
    own, elsewhere = (replace(results, cases=[]) for _ in "12")
    for case in results.cases:
        known = labelled.get(case.group, tuple(case.scores))
        for part, inside in ((own, True), (elsewhere, False)):
            chosen = {
                name: found for name, found in case.scores.items() if (name in known) is inside
            }
            if chosen:
                part.cases.append(replace(case, scores=chosen))
    return own, elsewhere
