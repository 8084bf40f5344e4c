"""Scoring a network on a prepared split, each case where its collection labels it (Sec. 4.1)."""

from __future__ import annotations

import time

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.patches import Case
from mots_pretrained.data.store import PreparedSet, Split
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import Results
from mots_pretrained.inference.predictor import Network
from mots_pretrained.tasks import IGNORED, Task
from mots_pretrained.training.scoring import DICE_ONLY, Masks, OnCase, Scoring, categories_of


def score_prepared(
    net: Network,
    prepared: PreparedSet,
    scoring: Scoring = DICE_ONLY,
    *,
    split: Split | None = "test",
    task: str | None = None,
    on_case: OnCase | None = None,
) -> Results:
    """Run a network over a prepared split, on the prepared grid.

    Each case is scored where its own collection labels it; a segmenter where it has a class of
    that name.

    Args:
        net: The network.
        prepared: What ``mots prepare`` has written.
        scoring: How to predict and score.
        split: ``"train"`` or ``"test"``; None for both.
        task: Only the cases of this task.
        on_case: Called after each case.

    Raises:
        ValueError: If the cases were prepared for another contract, there is none in the split,
            or the network knows nothing that they label.
        KeyError: If there is no such task.
    """
    _check_contract(net.config, prepared)
    records = prepared.select(split=split, task=task)
    if not records:
        raise UserError(
            f"{prepared.folder} has no case to score in the split {split or 'all'}"
            f"{f' and the task {task}' if task else ''}; mots prepare --split says which are where"
        )
    tasks = {known.name: known for known in prepared.tasks}
    known = categories_of(net.config)
    present = [tasks[name] for name in tasks if any(record.task == name for record in records)]
    named = [name for one in present for name in one.categories if name in known]
    labelled = tuple(dict.fromkeys(named))
    if not labelled:
        raise UserError(
            f"the model knows {', '.join(known)}, and {prepared.folder} labels none of it"
        )
    results = scoring.results(labelled)
    for done, record in enumerate(records, start=1):
        own = tasks[record.task]
        if {*own.categories} & {*labelled}:
            start = time.perf_counter()
            case = prepared.read(record)
            predictor = scoring.predictor(net, own)
            prediction = predictor.prepared(case.image, spacing=record.spacing)
            counted = (case.target != IGNORED).all(axis=0)
            truth = _truth(case, own)
            scores = scoring.scores(prediction, truth, record.spacing, counted=counted)
            seconds = time.perf_counter() - start
            results.add(record.identifier, scores, group=record.collection, seconds=seconds)
        if on_case is not None:
            on_case(done, len(records))
    return results


def _truth(case: Case, task: Task) -> Masks:
    """Return the masks that a prepared case's collection labels."""
    return {
        name: channel == 1
        for name, channel, labelled in zip(
            (task.organ, task.tumour), case.target, case.labelled, strict=True
        )
        if name is not None and labelled
    }


def _check_contract(config: ModelConfig, prepared: PreparedSet) -> None:
    """Refuse cases that were prepared for another network."""
    ours, theirs = config.preprocessing, prepared.contract
    for field in ("spacing", "orientation", "intensity", "clip", "channels"):
        if getattr(ours, field) != getattr(theirs, field):
            raise UserError(
                f"{prepared.folder} was prepared with {field} {getattr(theirs, field)}, the model "
                f"expects {getattr(ours, field)}; prepare it anew with: mots prepare --contract "
                "and the model's name"
            )
