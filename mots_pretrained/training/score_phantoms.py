"""Scoring a network on phantoms that it has not seen; they need no file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context

import numpy as np

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import Results
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.predictor import Network
from mots_pretrained.phantom import Phantom, torso
from mots_pretrained.phantom.collections import bcv_label, source_label
from mots_pretrained.tasks import BCV_ORGANS, Task
from mots_pretrained.training.scoring import DICE_ONLY, Masks, OnCase, Scoring, categories_of

_BCV_DOMAINS = ("liver", "spleen", "pancreas")  # portal venous scans, as BCV's are


def score_phantoms(
    net: Network,
    scoring: Scoring = DICE_ONLY,
    *,
    cases: int = 14,
    seed: int = 0,
    randomise: float = 0.0,
    everywhere: bool = False,
    workers: int = 0,
    on_case: OnCase | None = None,
) -> Results:
    """Run a network over phantoms that no pretraining of ours has seen, and score it.

    A network of MOTS tasks gets the seven collections' look-alikes in turn, and each case is
    scored where its own collection labels it. A segmenter of BCV's organs gets scans like BCV's.

    Args:
        net: The network.
        scoring: How to predict and score.
        cases: How many; 14 are two of each collection.
        seed: Other seeds give other phantoms.
        randomise: How far they leave the plausible, 0 to 1.
        everywhere: Score every category of every task on every case, which the phantoms' complete
            truth allows: a spleen on a scan like LiTS's, say.
        workers: Processes that make phantoms ahead; the result is the same.
        on_case: Called after each case.

    Raises:
        ValueError: If there is no case, or phantoms have no truth for the segmenter's classes.
    """
    if cases < 1:
        raise UserError(f"evaluation needs at least 1 case, not {cases}")
    classes, tasks = net.config.classes, net.config.tasks
    if strange := [name for name in classes if name not in BCV_ORGANS]:
        raise UserError(f"phantoms have no truth for the class {strange[0]!r}; score files instead")
    domains = _BCV_DOMAINS if classes else tuple(task.name for task in tasks)
    results = scoring.results(categories_of(net.config))
    spacing = net.config.preprocessing.spacing
    make = partial(_phantom, domains, seed, spacing, randomise)
    for index, phantom in enumerate(_made(make, cases, workers)):
        start = time.perf_counter()
        own = () if classes else tasks if everywhere else (tasks[index % len(tasks)],)
        predictor = scoring.predictor(net, own[0] if len(own) == 1 else None)
        prediction = predictor(Volume.with_spacing(np.rint(phantom.image), spacing))
        truth = _organs(phantom) if classes else {}
        for task in own:
            truth |= _drawn(phantom, task)
        results.add(
            f"{phantom.domain} {seed}-{index}",
            scoring.scores(prediction, truth, spacing),
            group=phantom.domain,
            seconds=time.perf_counter() - start,
        )
        if on_case is not None:
            on_case(index + 1, cases)
    return results


def _drawn(phantom: Phantom, task: Task) -> Masks:
    """Return the masks that a task's annotators would have drawn of a phantom."""
    drawn = source_label(phantom.labels, task)
    both = {task.organ: task.organ_values, task.tumour: task.tumour_values}
    return {name: np.isin(drawn, values) for name, values in both.items() if name is not None}


def _organs(phantom: Phantom) -> Masks:
    organs = bcv_label(phantom.labels)
    return {name: organs == value for value, name in enumerate(BCV_ORGANS, start=1)}


def _phantom(
    domains: tuple[str, ...],
    seed: int,
    spacing: tuple[float, float, float],
    randomise: float,
    index: int,
) -> Phantom:
    return torso(
        int(np.random.default_rng([seed, 4, index]).integers(2**31)),
        domain=domains[index % len(domains)],
        spacing=spacing,
        randomise=randomise,
    )


def _made(make: Callable[[int], Phantom], cases: int, workers: int) -> Iterator[Phantom]:
    """Yield phantoms in order, made here or a few ahead in other processes."""
    if workers < 1:
        yield from map(make, range(cases))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = (pool.submit(make, index) for index in range(cases))
        ahead = list(islice(jobs, 2 * workers))
        while ahead:
            yield ahead.pop(0).result()
            ahead += islice(jobs, 1)
