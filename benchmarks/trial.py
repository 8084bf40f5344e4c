"""One row of a table with one seed: trained where it stands, scored, and kept."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from settings import Row, Setting, Table

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.case import Case
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.data.stream import Source
from mots_pretrained.evaluation.results import Results, ScoredCase
from mots_pretrained.methods import METHODS, Method
from mots_pretrained.networks import load
from mots_pretrained.tasks import MOTS_CATEGORIES, Task
from mots_pretrained.training.log import write_whole
from mots_pretrained.training.pretrain_mots import RECORD, Run, pretrain
from mots_pretrained.training.pretraining import Pretraining
from mots_pretrained.training.recipes import RECIPES, Recipe
from mots_pretrained.training.score import Scoring, score_phantoms, score_prepared
from mots_pretrained.training.sources import Phantoms, Prepared, Supply
from mots_pretrained.training.start import Carried

WORK = Path(__file__).resolve().parent.parent / "runs" / "benchmarks"
"""Where trained networks lie by default."""

METRICS = ("dice", "hd", "hd95_published")
"""The paper's two, and the published code's Hausdorff distance."""


@dataclass(frozen=True)
class Trial(Pretraining):
    """A pretraining of a network that is given as it is, rather than by method and size.

    Attributes:
        config: The network.
        phantoms: How many different phantoms there are to train on; None: no two alike.
    """

    config: ModelConfig = field(default_factory=ModelConfig)
    phantoms: int | None = None

    @property
    def name(self) -> str:
        """What its folder is called: equal trials of several tables share one."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.config.architecture}-{self.seed}-{digest[:12]}"

    def network(self, tasks: tuple[Task, ...]) -> tuple[Method, Carried | None]:
        """Build the network with weights of its seed."""
        torch.manual_seed(self.seed)
        return METHODS[self.config.architecture](replace(self.config, tasks=tasks)), None

    def supply(self) -> Supply:
        """Return the training cases."""
        supply = super().supply()
        if self.phantoms is None:
            return supply
        count = self.phantoms
        return replace(supply, source=lambda config: Few(supply.source(config), count))


def recipe_of(table: Table, setting: Setting, steps: int) -> Recipe:
    """Return how a table's rows are trained; steps other than 0 replace the setting's length."""
    recipe = setting.recipe or replace(RECIPES["paper"], epochs=table.epochs)
    return replace(recipe, steps=steps, epochs=None) if steps else recipe


def trial_of(
    table: Table, row: Row, setting: Setting, *, data: str, steps: int, seed: int
) -> Trial:
    """Return the trial of one row and seed."""
    phantoms = Phantoms(randomise=0.0)  # as those that are scored, like MOTS's own split
    fold: Literal["train", "all"] = "train" if table.held_out == "validation" else "all"
    return Trial(
        config=row.change(setting.base),
        recipe=recipe_of(table, setting, steps),
        data=phantoms if data == "phantom" else Prepared(data, fold=fold),
        phantoms=setting.phantoms if data == "phantom" else None,
        seed=seed,
    )


@dataclass(frozen=True)
class Few:
    """So many cases of a source again and again, held in memory."""

    source: Source
    count: int

    def __call__(self, index: int) -> Case:
        return _made(self.source, index % self.count)


@functools.lru_cache(maxsize=64)
def _made(source: Source, index: int) -> Case:
    return source(index)


def trained(trial: Trial, work: Path, run: Run) -> tuple[Method, dict[str, Any]] | None:
    """Train, or go on, or load what is done.

    Returns:
        The network and what its ``training.json`` says; None if time was up before it was done.
    """
    folder = work / trial.name
    record = _record(folder)
    if not record.get("complete"):
        pretrain(folder, trial, run=replace(run, resume=True))
        record = _record(folder)
    if not record["complete"]:
        return None
    net = load(folder)
    if not isinstance(net, Method):
        raise ValueError(f"{folder} holds a {type(net).__name__}; choose another --work")
    return net.to(run.device), record


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def scored(
    net: Method,
    data: str,
    held_out: Literal["validation", "test"],
    *,
    cases: int,
    device: str,
    folder: Path,
) -> Results:
    """Score a network on what it has not seen; what was scored before is read from its folder.

    Phantoms have their complete truth, so that every category is scored on every domain.
    """
    what = f"{cases} phantoms" if data == "phantom" else f"{held_out} of {Path(data).resolve()}"
    path = folder / "scores.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if what not in kept:
        found = _score(net, data, held_out, cases=cases, device=device)
        kept[what] = [asdict(case) for case in found.cases]
        write_whole(path, json.dumps(kept))
    return Results(MOTS_CATEGORIES, METRICS, cases=[ScoredCase(**case) for case in kept[what]])


def _score(
    net: Method, data: str, held_out: Literal["validation", "test"], *, cases: int, device: str
) -> Results:
    scoring = Scoring(metrics=METRICS, device=device)
    if data == "phantom":
        return score_phantoms(net, scoring, cases=cases, everywhere=True)
    prepared = PreparedSet.open(data)
    if held_out == "test":
        return score_prepared(net, prepared, scoring)
    fold = prepared.select(split="train", fold="validation")
    return score_prepared(net, replace(prepared, records=fold), scoring, split=None)


def parts(results: Results) -> tuple[Results, Results]:
    """Split scores into those that each case's own collection labels, and all others.

    Cases of prepared data have only the first kind, and need no group.
    """
    labelled = {task.name: task.categories for task in Phantoms().supply().tasks}
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
