"""How whole networks are scored: which metrics, by which rule, predicted how (Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig
from mots_pretrained.evaluation.metrics import Scores, check_metrics, measure
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.rules import Rule, as_rule
from mots_pretrained.evaluation.surface_dice import TOLERANCE
from mots_pretrained.inference.postprocess import PUBLISHED_CLEANING
from mots_pretrained.inference.predictor import Network, Prediction, Predictor
from mots_pretrained.tasks import Task

OnCase = Callable[[int, int], None]
"""Told how many cases are done, of how many."""

Masks = dict[str, NDArray[np.bool_]]
"""True masks by category."""


@dataclass(frozen=True)
class Scoring:
    """How cases are predicted and scored.

    Attributes:
        metrics: Names of ``evaluation.metrics.METRICS``.
        rule: How empty masks are scored.
        tolerance: Of the normalised surface Dice, in mm.
        postprocess: Whether predictions are cleaned as in the published testing.
        overlap: Share of a window that the next one covers again.
        flips: Whether to average over eight mirror images.
        batch: Windows predicted at once.
        device: Where the network runs.
    """

    metrics: tuple[str, ...] = ("dice",)
    rule: Rule = "standard"
    tolerance: float = TOLERANCE
    postprocess: bool = False
    overlap: float = 0.5
    flips: bool = False
    batch: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_metrics(self.metrics)
        as_rule(self.rule)

    def predictor(self, net: Network, task: Task | None = None) -> Predictor:
        """Return a predictor of one task, and of those that cleaning it looks at; None: of all."""
        return Predictor(
            net,
            device=self.device,
            tasks=_needed(net.config, task, self.postprocess),
            overlap=self.overlap,
            flips=self.flips,
            batch=self.batch,
            postprocess=self.postprocess,
        )

    def results(self, categories: Iterable[str]) -> Results:
        """Return results for these categories, without any case so far."""
        return Results(tuple(categories), self.metrics, self.rule, self.tolerance)

    def scores(
        self,
        prediction: Prediction,
        truth: Mapping[str, NDArray[np.bool_]],
        spacing: tuple[float, float, float],
        *,
        counted: NDArray[np.bool_] | None = None,
    ) -> dict[str, Scores]:
        """Score the categories that have both a truth and a prediction, where voxels count."""
        return {
            name: measure(
                prediction.mask(name) & (True if counted is None else counted),
                mask,
                spacing=spacing,
                metrics=self.metrics,
                rule=self.rule,
                tolerance=self.tolerance,
            )
            for name, mask in truth.items()
            if name in prediction.names
        }


DICE_ONLY = Scoring()
"""Dice alone, by the default rule, on the CPU."""


def categories_of(config: ModelConfig) -> tuple[str, ...]:
    """Return what a network predicts."""
    return config.classes or tuple(name for task in config.tasks for name in task.categories)


def _needed(config: ModelConfig, own: Task | None, postprocess: bool) -> list[str] | None:
    """Return the tasks to predict; None stands for all, and for a segmenter's classes."""
    if own is None or config.classes:
        return None
    around = {
        PUBLISHED_CLEANING[name].inside
        for name in own.categories
        if postprocess and name in PUBLISHED_CLEANING
    }
    wanted = {*own.categories} | around
    return [task.name for task in config.tasks if {*task.categories} & wanted]
