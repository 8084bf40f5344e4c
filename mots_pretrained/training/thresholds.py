"""Thresholds of probability that serve a category better than 0.5, chosen on validation cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median, stdev

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.errors import MissingFileError
from mots_pretrained.evaluation.results import aligned, shown
from mots_pretrained.files import write_text
from mots_pretrained.inference.network import Network
from mots_pretrained.inference.sliding_window import THRESHOLD
from mots_pretrained.training.score import OnCase, Scoring
from mots_pretrained.training.scored_cases import Item, Part, phantom_items, prepared_items
from mots_pretrained.weights.checkpoint import CONFIG, fold_folders, load_config

CANDIDATES = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.97, 0.98, 0.99)
"""Thresholds that are compared."""

FEWEST = 3
"""Cases with a category that choose its threshold, at least: fewer don't tell gain from chance."""

_MIDDLE = CANDIDATES.index(THRESHOLD)


@dataclass(frozen=True, eq=False)
class _Case:
    """A category in one case: its score at every candidate, and the false volume in ml."""

    has_it: bool
    score: NDArray[np.float64]
    predicted_ml: NDArray[np.float64]


@dataclass
class Choice:
    """What each threshold does for one category; `threshold` is the one chosen.

    A case scores its Dice where the category is there, and where it is not 1 if nothing is
    predicted, else 0; the candidate of the largest mean over cases is chosen. It replaces 0.5 only
    if it gains more, case by case, than twice the gain's standard error: the best of so many
    often gains once that by chance. Fewer than 3 cases choose nothing: it stays 0.5.

    Attributes:
        category: The category.
        cases: What was found in each case.
    """

    category: str
    cases: list[_Case] = field(default_factory=list)

    def add(
        self, probability: NDArray[np.floating], truth: NDArray[np.bool_], voxel_ml: float
    ) -> None:
        """Add a case.

        Args:
            probability: The category's, of the voxels that count.
            truth: Whether they are in it.
            voxel_ml: Millilitres of one voxel.
        """
        probability = np.asarray(probability, np.float32)
        limits = np.asarray(CANDIDATES, np.float32)
        inside = probability > limits[0]
        above = np.searchsorted(limits, probability[inside])  # how many candidates it exceeds
        hit = above[truth[inside]]
        predicted, right = (
            np.bincount(counts, minlength=len(CANDIDATES) + 1)[::-1].cumsum()[::-1][1:]
            for counts in (above, hit)
        )
        size = int(np.count_nonzero(truth))
        score = 2 * right / (predicted + size) if size else (predicted == 0).astype(float)
        self.cases.append(_Case(size > 0, score, predicted * voxel_ml))

    @property
    def holding(self) -> int:
        """How many cases have the category; without them nothing shows what a threshold costs."""
        return sum(case.has_it for case in self.cases)

    @property
    def threshold(self) -> float:
        """The threshold chosen; of equally good ones that which is nearest to 0.5."""
        if self.holding < FEWEST:
            return THRESHOLD
        scores = np.stack([case.score for case in self.cases])
        means = scores.mean(axis=0)
        order = sorted(range(len(CANDIDATES)), key=lambda k: abs(k - _MIDDLE))
        best = max(order, key=lambda k: round(float(means[k]), 9))  # the first of equal ones
        gains = [float(gain) for gain in scores[:, best] - scores[:, _MIDDLE]]
        error = stdev(gains) / len(gains) ** 0.5
        return CANDIDATES[best] if fmean(gains) > 2 * error else THRESHOLD

    def at(self, threshold: float) -> tuple[float | None, float | None, float | None]:
        """Return mean Dice, and of cases without it the share clean and the median false ml."""
        index = CANDIDATES.index(threshold)
        dice = [float(case.score[index]) for case in self.cases if case.has_it]
        without = [case for case in self.cases if not case.has_it]
        return (
            fmean(dice) if dice else None,
            fmean(float(case.score[index]) for case in without) if without else None,
            median(float(case.predicted_ml[index]) for case in without) if without else None,
        )


def choose_on_phantoms(
    net: Network,
    scoring: Scoring | None = None,
    *,
    cases: int = 42,
    seeds: tuple[int, ...] = (100, 101, 102),
    randomise: float = 0.0,
    workers: int = 0,
    on_case: OnCase | None = None,
) -> list[Choice]:
    """Compare thresholds on phantoms, each labelled completely.

    Args:
        net: The network.
        scoring: How to predict; its metrics have no part in it.
        cases: Phantoms a seed.
        seeds: Random seeds of the phantoms; others than those that are tested on.
        randomise: How far they leave the plausible, 0 to 1.
        workers: Processes that make phantoms ahead.
        on_case: Called after each case.

    Raises:
        UserError: As of `score_phantoms`.
    """
    items = phantom_items(net.config, cases, seeds, randomise, everywhere=True, workers=workers)
    return _choose(net, scoring, items, cases * len(seeds), on_case)


def choose_on_prepared(
    net: Network,
    prepared: PreparedSet,
    scoring: Scoring | None = None,
    *,
    split: Part | None = "validation",
    task: str | None = None,
    on_case: OnCase | None = None,
) -> list[Choice]:
    """Compare thresholds on a prepared split, each case where its collection labels it.

    Args:
        net: The network.
        prepared: Folder that ``mots prepare`` has written.
        scoring: How to predict; its metrics have no part in it.
        split: ``"train"``, ``"test"`` or ``"validation"``, the fold of the training cases that
            ablations leave out; None for all.
        task: Only the cases of this task.
        on_case: Called after each case.

    Raises:
        UserError: As of `score_prepared`.
    """
    _, total, items = prepared_items(net.config, prepared, split, task)
    return _choose(net, scoring, items, total, on_case)


def _choose(
    net: Network,
    scoring: Scoring | None,
    items: Iterator[Item],
    total: int,
    on_case: OnCase | None,
) -> list[Choice]:
    predictor = (scoring or Scoring()).predictor(net)
    predictor.probabilities = True
    choices = {name: Choice(name) for name in predictor.rule.names}
    for done, item in enumerate(items, start=1):
        found = item.predict(predictor).probabilities
        assert found is not None
        shares = _against_others(found) if predictor.rule.exclusive else found
        voxel = float(np.prod(item.spacing)) / 1000
        true = dict(item.truth)
        if predictor.rule.exclusive and item.task is not None:  # the tumour is a class of its own
            organ, tumour = item.task.organ, item.task.tumour
            if organ in true and tumour in true and tumour in predictor.rule.names:
                true[organ] = true[organ] & ~true[tumour]
        for name, probability in zip(predictor.rule.names, shares, strict=True):
            if name in true:
                truth, counted = true[name], item.counted
                if counted is not None:
                    probability, truth = probability[counted], truth[counted]
                choices[name].add(probability.ravel(), truth.ravel(), voxel)
        if on_case is not None:
            on_case(done, total)
    return [choice for choice in choices.values() if choice.cases]


def _against_others(probabilities: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return each class's share of itself and the largest other one, the background among these.

    Above a threshold t it wins in the label map, if the others' thresholds are 0.5.
    """
    values = probabilities.astype(np.float32)
    first, second = -np.partition(-values, 1, axis=0)[:2]
    others = np.where(values == first, second, first)
    return (values / (values + others))[1:]


def set_thresholds(folder: str | Path, choices: list[Choice]) -> ModelConfig:
    """Write chosen thresholds into a folder's config.json, of folds into each fold's.

    Those of categories that had no case stay; those of 0.5 are left out.

    Raises:
        FileNotFoundError: If the folder holds no network.
    """
    folder = Path(folder)
    chosen = {choice.category: choice.threshold for choice in choices}
    for own in fold_folders(folder) or [folder]:
        if not (own / CONFIG).is_file():
            raise MissingFileError(f"{own} holds no {CONFIG} to write thresholds into")
        config = load_config(own)
        all_of_them = {**config.thresholds, **chosen}
        kept = {name: value for name, value in all_of_them.items() if value != THRESHOLD}
        config = dataclasses.replace(config, thresholds=kept)
        write_text(own / CONFIG, config.to_json())
    return config


def as_text(choices: list[Choice]) -> str:
    """Return a table: a category a line, at 0.5 and at its own threshold.

    A last line names the categories of too few cases.
    """
    head = ["category", "cases", "without", "threshold", "Dice", "clean", "false ml"]
    rows = [[*head, "at 0.5: Dice", "clean", "false ml"]]
    for choice in choices:
        without = sum(not case.has_it for case in choice.cases)
        cells = [
            shown(value, digits)
            for threshold in (choice.threshold, THRESHOLD)
            for value, digits in zip(choice.at(threshold), (3, 2, 2), strict=True)
        ]
        counts = (str(len(choice.cases)), str(without), f"{choice.threshold:g}")
        rows.append([choice.category, *counts, *cells])
    few = [choice.category for choice in choices if choice.holding < FEWEST]
    told = f"\n0.5 is kept of what fewer than {FEWEST} cases hold: {', '.join(few)}"
    return f"{aligned(rows)}{told if few else ''}"
