"""One row of a transfer with one seed: its weights, its fine-tuning, its label maps, its scores."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from settings import Setting
from transfer import CLASSES, Kind, Origin, Transfer, parts_of
from transfer_data import Material
from trial import name_of

from mots_pretrained.evaluation.metrics import measure
from mots_pretrained.evaluation.results import Results, ScoredCase
from mots_pretrained.files import write_json
from mots_pretrained.images.reading import read_channels, read_labels
from mots_pretrained.inference import Predictor
from mots_pretrained.inference.submission import save_submission
from mots_pretrained.methods import configured
from mots_pretrained.networks import load
from mots_pretrained.training.finetune_folder import finetune_folder
from mots_pretrained.training.folder import RECORD
from mots_pretrained.training.log import LOG
from mots_pretrained.training.recipe import BYOL, Recipe, Run, read_recipe

METRICS = ("dice", "hd", "hd95", "msd")
"""What every scan is scored by; a table prints some of them."""

SCRATCH = "none"
"""In place of a model's name: random weights."""


def begun(
    fit: Recipe,
    origin: Origin,
    given: str,
    setting: Setting,
    pretraining: Recipe | None,
    work: Path,
) -> tuple[Recipe, Recipe | None]:
    """Return how a row is fine-tuned, and the pretraining that has to be done before, if any.

    Args:
        fit: How all rows are fine-tuned.
        origin: The row's.
        given: Name or folder of weights; "none" for random ones, "" to pretrain with fit's seed.
        setting: The size of the network.
        pretraining: How to pretrain on phantoms.
        work: Where pretrained networks lie.
    """
    unsupervised = origin.method == BYOL
    config = configured("transdodnet" if unsupervised else origin.method, setting.base)
    if origin.random or given == SCRATCH or (not given and pretraining is None):
        return replace(fit, network=config), None
    if given or pretraining is None:
        return replace(fit, start=given), None
    own = replace(pretraining, network=config, tasks=origin.tasks, seed=fit.seed)
    if unsupervised:
        own = replace(read_recipe(BYOL), network=config, seed=fit.seed,
                      steps=pretraining.steps, batch=pretraining.batch)  # fmt: skip
    return replace(fit, start=str(work / name_of(own, "phantom"))), own


def name_of_fit(recipe: Recipe, table: Transfer, data: str, row: str) -> str:
    """Name the folder of a row's fine-tuning.

    What the data makes of the recipe has no part in it, so that no scan is looked at for a name.
    """
    values = [asdict(recipe), table.kind, table.held_out, table.train, data, row]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    option = parts_of(row)[0].option
    return f"transfer-{option}-{recipe.seed}-{digest[:12]}"


def fine_tuned(recipe: Recipe, material: Material, folder: Path, run: Run) -> dict[str, Any] | None:
    """Fine-tune, or continue, or read what is done.

    Returns:
        ``steps``, ``seconds`` (those of fitting the head included) and the validations' ``curve``;
        None if time was up before the end.
    """
    history = finetune_folder(material.folder, folder, recipe, run=replace(run, resume=True))
    if not history.complete:
        return None
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    fitting = (record["head_fitted"] or {}).get("seconds", 0.0)
    with (folder / LOG).open(newline="", encoding="utf-8") as file:
        spent = {int(row["step"]): float(row["seconds"]) for row in csv.DictReader(file)}
    steps = max(spent, default=0)
    curve = [
        (step, dice, fitting + spent.get(step, 0.0))
        for step, dice in record["validations"]
        if dice is not None
    ]
    return {"steps": steps, "seconds": fitting + spent.get(steps, 0.0), "curve": curve}


def maps_of(folder: Path, material: Material) -> Path:
    """Return where a network's label maps of these scans lie, one folder for each set of scans."""
    files = "\n".join(str(path.resolve()) for scan in material.scored for path in scan.images)
    return folder / f"label_maps_{hashlib.sha256(files.encode()).hexdigest()[:8]}"


def parameters_of(folder: Path) -> int:
    """Count a saved network's parameters."""
    return sum(p.numel() for p in load(folder).parameters())


def scored(folder: Path, material: Material, kind: Kind, device: str) -> Results:
    """Write a label map of each scan as the online evaluation takes it, and score those.

    Only scans with labels are scored, on their own grids. What was scored before is read.
    """
    maps = maps_of(folder, material)
    path = maps / "scores.json"
    if not path.exists():
        found = _score(folder, maps, material, kind, device)
        write_json(path, [asdict(case) for case in found.cases], indent=None)
    cases = [ScoredCase(**case) for case in json.loads(path.read_text("utf-8"))]
    return Results(tuple(CLASSES[kind]), METRICS, cases=cases)


def _score(folder: Path, maps: Path, material: Material, kind: Kind, device: str) -> Results:
    predictor = Predictor(load(folder), device=device)
    classes = CLASSES[kind]
    results = Results(tuple(classes), METRICS)
    for scan in material.scored:
        written = save_submission(predictor(read_channels(scan.images)), maps, kind)
        if scan.label is None:
            continue
        ours, truth = (read_labels(path) for path in (written, scan.label))
        scores = {
            name: measure(
                np.isin(ours.array, values),
                np.isin(truth.array, values),
                spacing=truth.spacing,
                metrics=METRICS,
            )
            for name, values in classes.items()
        }
        results.add(scan.name, scores)
    return results
