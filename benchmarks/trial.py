"""One row of a table with one seed: trained where it stands, scored, and kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from settings import SETTINGS, Setting
from tables import Row, Table

from mots_pretrained.data.layouts import find_collections
from mots_pretrained.data.prepare import Preparation, prepare
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import Results, ScoredCase
from mots_pretrained.files import locked, write_json
from mots_pretrained.methods import Method
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.tasks import MOTS_CATEGORIES
from mots_pretrained.training.byol import pretrain_byol
from mots_pretrained.training.folder import RECORD
from mots_pretrained.training.pretrain import pretrain
from mots_pretrained.training.recipe import BYOL, Recipe, Run, read_recipe
from mots_pretrained.training.score import Scoring, score_phantoms, score_prepared

WORK = Path(__file__).resolve().parent.parent / "runs" / "benchmarks"
"""Where trained networks lie by default."""

METRICS = ("dice", "hd", "hd95_published")
"""The paper's two, and the published code's Hausdorff distance."""


def recipe_of(
    table: Table,
    row: Row,
    setting: Setting,
    *,
    data: str = "phantom",
    steps: int = 0,
    seed: int = 0,
) -> Recipe:
    """Return how a row is trained with a seed; steps other than 0 replace the setting's length."""
    recipe = setting.recipe or replace(read_recipe("paper"), epochs=table.epochs)
    recipe = replace(recipe, network=row.change(setting.base), seed=seed)
    if steps:
        recipe = replace(recipe, steps=steps, epochs=None)
    if recipe.steps:
        recipe = replace(recipe, steps=row.times * recipe.steps)
    elif recipe.epochs:
        recipe = replace(recipe, epochs=row.times * recipe.epochs)
    return recipe if data == "phantom" else replace(recipe, ablation=table.held_out == "validation")


def store_of(setting: str, work: Path, *, phantoms: int | None = None) -> Path:
    """Return the prepared phantoms that all rows of all tables train from; drawn by the first one.

    They show the labels of their own collection only, as in MOTS.

    Args:
        setting: Name of the setting.
        work: Where the store lies.
        phantoms: Phantoms a collection, instead of the setting's.

    Raises:
        UserError: If the setting has no phantoms.
    """
    of = SETTINGS[setting]
    cases = phantoms or of.phantoms
    if not cases:
        raise UserError(f"the setting {setting} needs --data: a folder that mots prepare has made")
    folder, contract = work / f"store_{setting}", of.base.preprocessing
    with locked(folder, wait=True):
        if not (folder / "prepared" / "prepared.json").is_file():
            write_collection("mots", folder / "phantoms", cases=cases, spacing=contract.spacing)
        try:
            PreparedSet.open(folder / "prepared")
        except UserError:
            found = find_collections(folder / "phantoms")
            prepare(found, folder / "prepared", Preparation(contract, "seeded"))
    return folder / "prepared"


def name_of(recipe: Recipe, data: str) -> str:
    """Name the folder of a training: equal ones of several tables share one."""
    values = json.dumps([asdict(recipe), data], sort_keys=True)
    method = BYOL if recipe.method == BYOL else recipe.config.architecture
    return f"{method}-{recipe.seed}-{hashlib.sha256(values.encode()).hexdigest()[:12]}"


def trained(recipe: Recipe, data: str, setting: str, work: Path, run: Run) -> Any:
    """Train, or continue, or find it done; return its ``training.json``, None if time was up."""
    folder = work / name_of(recipe, data)
    train = pretrain_byol if recipe.method == BYOL else pretrain
    cases = store_of(setting, work) if data == "phantom" else data
    train(folder, recipe, data=cases, run=replace(run, resume=True))
    record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return record if record["complete"] else None


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
        write_json(path, kept, indent=None)
    return Results(MOTS_CATEGORIES, METRICS, cases=[ScoredCase(**case) for case in kept[what]])


def _score(
    net: Method, data: str, held_out: Literal["validation", "test"], *, cases: int, device: str
) -> Results:
    scoring = Scoring(metrics=METRICS, device=device)
    if data == "phantom":
        return score_phantoms(net, scoring, cases=cases, everywhere=True)
    prepared = PreparedSet.open(data)
    return score_prepared(net, prepared, scoring, split=held_out)
