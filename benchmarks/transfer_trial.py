"""One row of a transfer with one seed: its weights, its fine-tuning, its label maps, its scores."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from settings import Setting
from transfer import CLASSES, Kind, Origin
from transfer_data import Material
from trial import Trial

from mots_pretrained.config import ModelConfig
from mots_pretrained.evaluation.metrics import measure
from mots_pretrained.evaluation.results import Results, ScoredCase
from mots_pretrained.images.volume import read_channels, read_volume
from mots_pretrained.inference import Predictor
from mots_pretrained.inference.submission import save_submission
from mots_pretrained.methods import configured
from mots_pretrained.networks import load
from mots_pretrained.training.downstream import Choices
from mots_pretrained.training.finetune import Finetuning
from mots_pretrained.training.finetune_folder import SCRATCH, Running, Start, finetune_folder
from mots_pretrained.training.log import LOG, write_whole
from mots_pretrained.training.pretrain_byol import BYOL_RECIPE, SelfSupervision, pretrain_byol
from mots_pretrained.training.pretrain_mots import RECORD, Run
from mots_pretrained.training.recipes import Recipe
from mots_pretrained.training.sources import Phantoms

METRICS = ("dice", "hd", "hd95", "msd")
"""What every scan is scored by; a table prints some of them."""


@dataclass(frozen=True)
class Fresh(Start):
    """Random weights of a network that is given as it is, rather than by its size."""

    name: str = SCRATCH
    network: ModelConfig = field(default_factory=ModelConfig)

    def config(self) -> ModelConfig:
        """Return the network's configuration."""
        return self.network


@dataclass(frozen=True)
class Fit:
    """A fine-tuning; two with equal values give equal weights on one machine.

    Attributes:
        start: The weights, or random ones.
        material: What is trained on.
        settings: How, the seed included.
    """

    start: Start
    material: Material
    settings: Finetuning

    def name(self, option: str) -> str:
        """What its folder is called: equal ones of several tables share one."""
        values = {
            "start": asdict(self.start),
            "data": str(self.material.folder.resolve()),
            "held out": self.material.held_out,
            "settings": asdict(self.settings),
        }
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return f"transfer-{option}-{self.settings.seed}-{digest[:12]}"


def start_of(
    origin: Origin, given: str, setting: Setting, *, recipe: Recipe | None, work: Path
) -> tuple[Start, Trial | SelfSupervision | None]:
    """Return what a row starts from, and the pretraining that has to be done before, if any.

    Args:
        origin: The row's.
        given: Name or folder of weights; "none" for random ones, "" to pretrain, with seed 0.
        setting: The size of the network.
        recipe: How to pretrain on phantoms.
        work: Where pretrained networks lie.
    """
    unsupervised = origin.method == "byol3d"
    config = configured("transdodnet" if unsupervised else origin.method, setting.base)
    if origin.random or given == SCRATCH:
        return Fresh(network=config), None
    if given:
        return Start(given), None
    if unsupervised and recipe is not None:
        own = replace(BYOL_RECIPE, steps=recipe.steps, batch=recipe.batch)
        alone = SelfSupervision(network=config, recipe=own, data=Phantoms(randomise=0.0))
        return Start(str(work / byol_name(alone))), alone
    trial = Trial(
        config=config,
        recipe=recipe,
        data=Phantoms(randomise=0.0),
        phantoms=setting.phantoms,
        tasks=origin.tasks,
    )
    return Start(str(work / trial.name)), trial


def byol_name(settings: SelfSupervision) -> str:
    """What the folder of a BYOL-3D pretraining is called."""
    values = json.dumps(asdict(settings), sort_keys=True)
    return f"byol3d-{settings.seed}-{hashlib.sha256(values.encode()).hexdigest()[:12]}"


def self_supervised(settings: SelfSupervision, work: Path, run: Run) -> bool:
    """Pretrain by BYOL-3D, or go on, or find it done; False if time was up before the end."""
    folder = work / byol_name(settings)
    path = folder / RECORD
    if not (path.exists() and json.loads(path.read_text("utf-8"))["complete"]):
        pretrain_byol(folder, settings, replace(run, resume=True))
    return bool(json.loads(path.read_text("utf-8"))["complete"])


def fine_tuned(fit: Fit, folder: Path, running: Running) -> dict[str, Any] | None:
    """Fine-tune, or go on, or read what is done.

    Returns:
        ``steps``, ``seconds`` and the validations' ``curve``; None if time was up before the end.
    """
    history = finetune_folder(
        fit.material.folder,
        folder,
        fit.settings,
        start=fit.start,
        choices=Choices(held_out=fit.material.held_out),
        running=replace(running, resume=True),
    )
    if not history.complete:
        return None
    with (folder / LOG).open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    curve = [(step, dice) for step, dice in record["validations"] if dice is not None]
    return {"steps": int(last["step"]), "seconds": float(last["seconds"]), "curve": curve}


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
        write_whole(path, json.dumps([asdict(case) for case in found.cases]))
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
        ours, truth = (read_volume(path, dtype=np.int32) for path in (written, scan.label))
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
