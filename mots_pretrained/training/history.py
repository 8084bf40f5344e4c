"""What happened in a fine-tuning, and the watch that validates and keeps the best weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.evaluation.results import Results
from mots_pretrained.training.loop import Progress
from mots_pretrained.training.validation import score_case


@dataclass
class History:
    """What happened.

    Attributes:
        progress: The lines of the log.
        validations: Step and scores of each validation.
        best_step: Step whose weights the network holds now.
        complete: Whether the training came to its end, by its steps or by patience.
    """

    progress: list[Progress] = field(default_factory=list)
    validations: list[tuple[int, Results]] = field(default_factory=list)
    best_step: int = 0
    complete: bool = True

    @property
    def best(self) -> Results | None:
        """Scores of the best validation."""
        return next((found for step, found in self.validations if step == self.best_step), None)


class Watch:
    """Validates now and then, keeps the best weights, and says when to stop.

    Args:
        segmenter: The network that learns.
        cases: Cases held out; with none the last weights are the best.
        every: Steps between validations.
        patience: Stop after so many validations without a better one; 0 never does.
        on_step: Called with each line of the log.
        kept: Where all that a resumption needs is kept, the best weights among it.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        cases: Sequence[Case],
        *,
        every: int,
        patience: int,
        on_step: Callable[[Progress], Any] | None,
        kept: dict[str, Any],
    ) -> None:
        self.segmenter, self.cases, self.on_step = segmenter, cases, on_step
        self.every, self.patience, self.kept = every, patience, kept
        self.history = History()
        kept.update(best=-1.0, best_step=0, weights=None, patient=True, progress=[], scores=[])

    def resume(self) -> None:
        """Go on from what was kept."""
        kept = self.kept
        self.history.progress = [Progress(**line) for line in kept["progress"]]
        self.history.validations = [
            (step, Results.from_json(values)) for step, values in kept["scores"]
        ]
        self.history.best_step = kept["best_step"]

    def __call__(self, progress: Progress, _: nn.Module) -> bool:
        """Take a line of the log; True ends the training."""
        self.history.progress.append(progress)
        self.kept["progress"].append(asdict(progress))
        if self.on_step is not None:
            self.on_step(progress)
        last = self.history.validations[-1][0] if self.history.validations else 0
        if not self.cases or (progress.step < last + self.every and progress.step < progress.steps):
            return False
        self._validate(progress.step)
        self.kept["patient"] = not 0 < self.patience <= self._since_best()
        return not self.kept["patient"]

    def _validate(self, step: int) -> None:
        results = Results(self.segmenter.config.classes)
        self.segmenter.eval()
        for index, case in enumerate(self.cases):
            results.add(f"{index} {case.name}", score_case(self.segmenter, case, overlap=0.25))
        self.history.validations.append((step, results))
        self.kept["scores"].append((step, results.as_json()))
        mean = results.mean_dice or 0.0
        if mean > self.kept["best"]:
            self.history.best_step = step
            weights = copy.deepcopy(self.segmenter.state_dict())
            self.kept.update(best=mean, best_step=step, weights=weights)

    def _since_best(self) -> int:
        steps = [done for done, _ in self.history.validations]
        return len(steps) - 1 - steps.index(self.history.best_step)

    def finish(self, step: int, steps: int) -> None:
        """Put the best weights back; a training that ran out of time is validated first."""
        self.history.complete = step >= steps or not self.kept["patient"]
        if self.cases and (not self.history.validations or self.history.validations[-1][0] < step):
            self._validate(step)
        weights: dict[str, torch.Tensor] | None = self.kept["weights"]
        if weights is None:
            self.history.best_step = step
        else:
            self.segmenter.load_state_dict(weights)
        self.segmenter.requires_grad_(True).eval()
