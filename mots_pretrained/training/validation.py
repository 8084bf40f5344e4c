"""Validation within a fine-tuning: scores of cases held out, the best weights, when to stop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import ModelConfig
from mots_pretrained.data.case import Case
from mots_pretrained.evaluation.metrics import Scores, measure
from mots_pretrained.evaluation.results import Results
from mots_pretrained.inference.labels import class_rule
from mots_pretrained.inference.network import Probabilities
from mots_pretrained.inference.precision import Precision
from mots_pretrained.inference.sliding_window import sliding_window
from mots_pretrained.report.example import Example
from mots_pretrained.tasks import IGNORED
from mots_pretrained.training.log import LogRow
from mots_pretrained.training.trainer import Trainer

OnFound = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], None]
"""Callback that receives a case's image, its first channel, and its target and prediction."""


@dataclass
class History:
    """What happened in a fine-tuning.

    Attributes:
        rows: The rows of the log.
        validations: Step and scores of each validation.
        best_step: Step whose weights the network holds now; 0 is the fitted head, nothing else.
        fitted: Voxels, loss and seconds of fitting the head first; None if that was left out.
        complete: Whether the training came to its end, by its steps or by patience.
    """

    rows: list[LogRow] = field(default_factory=list)
    validations: list[tuple[int, Results]] = field(default_factory=list)
    best_step: int = 0
    fitted: dict[str, float] | None = None
    complete: bool = True

    @property
    def best(self) -> Results | None:
        """Scores of the best validation."""
        return next((found for step, found in self.validations if step == self.best_step), None)


class Watch:
    """Validates now and then, keeps the best weights, and says when to stop.

    It does so with rows of the log, so that ``validate_every`` is rounded up to the log's ten
    steps, and the end is validated in any case.

    Several processes share the cases; all of them come to the same scores.

    Args:
        trainer: Training of a segmenter.
        cases: Cases held out; with none, or none of a class, the last weights are the best.
        fitted: What fitting the head first has done.
    """

    def __init__(
        self, trainer: Trainer, cases: Sequence[Case], fitted: dict[str, float] | None = None
    ) -> None:
        self.trainer, self.cases = trainer, cases
        self.every = trainer.recipe.validate_every or max(1, trainer.steps // 20)
        self.kept = trainer.kept
        self.history = History()
        patient = trainer.recipe.train == "all"
        self.kept.update(best=-1.0, best_step=0, patient=patient, scores=[], fitted=fitted)

    def resume(self) -> None:
        """Continue from what the checkpoint kept."""
        self.history.validations = [
            (step, Results.from_json(found)) for step, found in self.kept["scores"]
        ]
        self.history.best_step = self.kept["best_step"]

    def __call__(self, row: LogRow) -> bool:
        """Receive a log row; True ends the training."""
        last = self.history.validations[-1][0] if self.history.validations else 0
        if not self.cases or (row.step < last + self.every and row.step < row.steps):
            return False
        self.validate()
        patience = self.trainer.recipe.patience
        self.kept["patient"] = not 0 < patience <= self._since_best()
        return not self.kept["patient"]

    def finish(self) -> History:
        """Put the best weights back; what was not validated yet is validated first."""
        history, trainer, step = self.history, self.trainer, self.trainer.step
        history.complete = trainer.done or not self.kept["patient"]
        if not history.validations or history.validations[-1][0] < step:
            self.validate()
        if not trainer.tensors:
            history.best_step = step
        trainer.model.load_state_dict(trainer.tensors or trainer.result.state_dict())
        trainer.model.eval()
        cast(Segmenter, trainer.model).head_is_new = False
        self._renew_example()
        history.rows, history.fitted = trainer.rows, self.kept["fitted"]
        return history

    def validate(self) -> None:
        """Score the cases held out, if there are any, by the weights of now."""
        step = self.trainer.step
        if not self.cases:
            return
        accelerator, network = self.trainer.accelerator, cast(Segmenter, self.trainer.result)
        precision = self.trainer.recipe.precision
        network.eval()
        own = range(accelerator.process_index, len(self.cases), accelerator.num_processes)
        scores: list[Any] = []
        examples: list[Example] = []
        for index in own:
            on_found = None if examples else _keeper(examples, network.config, step)
            found = score_case(
                network, self.cases[index], overlap=0.25, precision=precision, on_found=on_found
            )
            scores.append((index, found))
        if accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            scores = sorted(gather_object(scores))
        results = Results(network.config.classes)
        for index, found in scores:
            results.add(f"{index} {self.cases[index].name}", found)
        self.history.validations.append((step, results))
        self.kept["scores"].append((step, results.as_json()))
        mean = results.mean_dice
        if mean is None and len(self.kept["scores"]) == 1:
            self.trainer.run.tell("No case held out has one of the classes, so none can be scored; "
                                  "the last weights are kept")  # fmt: skip
        if mean is None or mean > self.kept["best"]:
            self.history.best_step = step
            self.kept.update(best=-1.0 if mean is None else mean, best_step=step)
            self.trainer.tensors = copy.deepcopy(network.state_dict())
            if self.trainer.folder is not None and accelerator.is_main_process:
                examples[0].save(self.trainer.folder)

    def _renew_example(self) -> None:
        """Show what the best weights find, where the folder's example is of another step.

        A stop is validated after the last checkpoint: what resumes may never call that the best.
        """
        trainer, folder, examples = self.trainer, self.trainer.folder, list[Example]()
        if folder is None or not self.cases or not trainer.accelerator.is_main_process:
            return
        kept, step = Example.read(folder), self.history.best_step
        if kept is None or kept.step != step:
            network = cast(Segmenter, trainer.model)
            score_case(
                network,
                self.cases[0],
                overlap=0.25,
                precision=trainer.recipe.precision,
                on_found=_keeper(examples, network.config, step),
            )
            examples[0].save(folder)

    def _since_best(self) -> int:
        steps = [done for done, _ in self.history.validations]
        return len(steps) - 1 - steps.index(self.history.best_step)


def _keeper(examples: list[Example], config: ModelConfig, step: int) -> OnFound:
    """Return a callback of `score_case` that adds an example."""

    def keep(*arrays: NDArray[Any]) -> None:
        examples.append(
            Example.of(
                *arrays,
                exclusive=config.exclusive,
                spacing=config.preprocessing.spacing,
                names=config.classes,
                step=step,
            )
        )

    return keep


def score_case(
    network: Segmenter,
    case: Case,
    *,
    overlap: float = 0.5,
    precision: Precision = "float32",
    on_found: OnFound | None = None,
) -> dict[str, Scores]:
    """Return the Dice of every class on a case, at the contract's resolution, and false volumes.

    Args:
        network: In evaluation mode; it stays on its device.
        case: A labelled case; classes that it does not label get no score.
        overlap: Share of a window that the next one covers again.
        precision: What the network computes in, as `Predictor` takes it.
        on_found: Called when the case has been predicted.
    """
    config, predict = network.config, Probabilities(network, precision=precision)
    image, target = np.asarray(case.image), np.asarray(case.target)  # of a stored case, read now
    rule = class_rule(config)
    odds, thresholds = (
        torch.tensor(values)[:, None, None, None] for values in ((1.0, *rule.odds), rule.thresholds)
    )
    slabs = sliding_window(
        torch.from_numpy(image), predict, window=config.preprocessing.window, overlap=overlap
    )
    planes = [
        ((slab * odds).argmax(0, keepdim=True) if config.exclusive else slab > thresholds).numpy()
        for _, slab in map(predict.checked, slabs)
    ]
    found = np.concatenate(planes, axis=1)
    found[:, (target == IGNORED).any(axis=0)] = 0  # neither right nor wrong
    if on_found is not None:
        on_found(image[0], target, found)
    spacing, scores = config.preprocessing.spacing, {}
    known = case.knows(len(config.classes))
    for index, name in enumerate(config.classes):
        if not known[index]:
            continue
        if config.exclusive:
            mask, true = found[0] == index + 1, target[0] == index + 1
        else:
            mask, true = found[index], target[index] == 1
        scores[name] = measure(mask, true, spacing=spacing, metrics=("dice",))
    return scores
