"""What carries over to real people: the flagship's recipe with one thing taken away at a time.

Trained on phantoms with all their labels, scored on what a JSON file lists: scans with labels, and
label maps without scans, which are painted with the phantoms' tissues. An entry is
``{"name": ..., "labels": FILE, "names": FILE, "image": FILE or null}``; paths are relative to the
file. Weights of other trainings (0.1.0's, of the old anatomy) are scored beside by ``--models``.

    python benchmarks/carry_over.py --look look.json --setting evidence --seeds 2
    python benchmarks/carry_over.py --look look.json --models old=FOLDER transdodnet.phantom
    python benchmarks/carry_over.py --print
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import numpy as np
from long_table import LongTable
from real_look import look, painted
from runner import Clock, Job, Training, checked, parser_of, plain_errors, work_off
from settings import SETTINGS
from trial import name_of

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.names import LabelNames, label_names
from mots_pretrained.evaluation.results import aligned, shown
from mots_pretrained.evaluation.table import Line, machine
from mots_pretrained.images.reading import read_labels, read_volume
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.networks import load
from mots_pretrained.training.pretrain import pretrain
from mots_pretrained.training.recipe import Recipe, read_recipe

NAME = "carry_over"
_GENERATOR = "mots_pretrained.phantom.torso"
_SOURCES = "mots_pretrained.training.phantoms"

ROWS: dict[str, tuple[dict[str, Any], dict[tuple[str, str], float]]] = {
    "recipe": ({}, {}),
    # Slabs and odd fields of view go with it, since randomise says how often they come.
    "without randomisation": ({"randomise": 0.0}, {}),
    # Every phantom has the tumour that its collection is about.
    "without healthy organs": ({"tumours": None}, {(_SOURCES, "OWN_TUMOUR"): 1.0}),
    "without slabs": ({}, {(_GENERATOR, "SLABS"): 0.0}),
}
"""What of the recipe, and of the constants of the modules that draw phantoms, a row changes."""


class CarryOver:
    """The table as the command line asks for it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.given, self.work = arguments, Path(arguments.work)
        recipe = read_recipe("phantom")
        base = SETTINGS[arguments.setting].base
        steps = arguments.steps or _steps(arguments.setting)
        self.recipe = replace(
            recipe,
            network=base,
            steps=steps,
            warm_up=min(recipe.warm_up, steps // 10),
            precision="float32",
            half=False,
        )
        self.what = f"{arguments.setting}, {steps} steps"
        if Path(arguments.look).is_file():  # rows of other scans are others
            looked = hashlib.sha256(Path(arguments.look).read_bytes())
            self.what += f", scans {looked.hexdigest()[:8]}"
        path = Path(arguments.results) / f"{NAME}_{arguments.setting}.csv"
        self.results = LongTable(path, NAME, self.what)

    def jobs(self) -> list[Job]:
        """Return all rows and seeds, and the models that are only scored; none without scans."""
        given = self.given
        if not given.look:
            print(f"{NAME}: left out; give its scans and label maps by --look FILE")
            return []
        jobs = [self._job(row, seed) for seed in range(given.seeds) for row in ROWS]
        for model in given.models:
            name, _, place = model.rpartition("=")
            jobs.append(self._scored_only(name or place, place))
        return jobs

    def _job(self, row: str, seed: int) -> Job:
        changes, constants = ROWS[row]
        recipe: Recipe = replace(self.recipe, seed=seed, **changes)
        folder = self.work / f"{name_of(recipe, f'{NAME} {row}')}"

        def do(clock: Clock) -> bool:
            with changed(constants):  # phantoms are drawn in this process
                pretrain(folder, recipe, run=replace(clock.run(), resume=True, workers=0))
            record = json.loads((folder / "training.json").read_text("utf-8"))
            if not record["complete"]:
                return False
            steps, seconds = record["steps_done"], record["seconds"]
            self._score(row, seed, str(folder), steps, seconds, device=clock.device)
            return True

        training = Training(folder, f"{NAME} {row}", recipe)
        done = lambda: self.results.done(row, seed)  # noqa: E731
        return Job(NAME, row, seed, (training,), is_done=done, do=do)

    def _scored_only(self, row: str, model: str) -> Job:
        def do(clock: Clock) -> bool:
            self._score(row, 0, model, "", 0.0, device=clock.device)
            return True

        done = lambda: self.results.done(row, 0)  # noqa: E731
        return Job(NAME, row, 0, (), is_done=done, do=do)

    def _score(
        self, row: str, seed: int, model: str, steps: int | str, seconds: float, *, device: str
    ) -> None:
        predictor = Predictor(load(model), device=device)
        shared = {"table": NAME, "row": row, "setting": self.what, "seed": str(seed)}
        shared |= {"steps": str(steps), "seconds": f"{seconds:.1f}", "machine": machine()}
        lines: list[Line] = []
        for name, volume, labels, names in looked_at(Path(self.given.look)):
            for category, found in look(predictor, volume, labels, names).items():
                lines += [
                    {**shared, "case": name, "category": category, "metric": m, "value": repr(v)}
                    for m, v in found.items()
                ]
        if not lines:
            raise UserError(f"{self.given.look} lists nothing that the networks label")
        self.results.extend(lines)
        print(f"{NAME} {row}, seed {seed}: {seconds:.1f} s", flush=True)

    def show(self) -> None:
        """Print the means over seeds and scans, a row a line."""
        found: dict[str, dict[tuple[str, str], list[float]]] = {}
        for line in self.results.lines:
            if line["setting"] == self.results.setting:
                cell = found.setdefault(line["row"], {})
                cell.setdefault((line["category"], line["metric"]), []).append(float(line["value"]))
        columns = list(dict.fromkeys(key for cells in found.values() for key in cells))
        table = [["row", *(f"{category}, {metric}" for category, metric in columns)]]
        for row, cells in found.items():
            means = (shown(fmean(cells[key]) if key in cells else None) for key in columns)
            table.append([row, *means])
        seeds = f"{len(self.results.seeds)} seed(s)"
        print(f"\nWhat carries over: {self.results.setting}, {seeds}\n{aligned(table)}")
        print(f"\n{self.results.cost_text()}\n{self.results.path}")


@contextmanager
def changed(constants: dict[tuple[str, str], float]) -> Iterator[None]:
    """Give constants of modules other values."""
    with ExitStack() as stack:
        for (module, name), value in constants.items():
            stack.enter_context(patch.object(sys.modules[module], name, value))
        yield


def looked_at(path: Path) -> Iterator[tuple[str, Volume, np.ndarray, LabelNames]]:
    """Yield name, scan, label map and names of each entry; without a scan the map is painted."""
    for entry in json.loads(path.read_text("utf-8")):
        labels = read_labels(path.parent / entry["labels"])
        names = label_names(str(path.parent / entry["names"]))
        given = entry.get("image")
        volume = read_volume(path.parent / given) if given else painted(labels, names, 0, 0.0)
        yield entry["name"], volume, labels.array, names


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what this takes beside all tables' options."""
    parser.add_argument("--look", default="", help="JSON file of scans and label maps")
    parser.add_argument("--models", nargs="*", default=[], metavar="[NAME=]MODEL")


def _steps(setting: str) -> int:
    recipe = SETTINGS[setting].recipe
    if recipe is None or recipe.steps is None:
        raise ValueError(f"the setting {setting} has no number of steps; give --steps")
    return recipe.steps


def main() -> None:
    parser = parser_of("What carries over to real people")
    add_options(parser)
    arguments = checked(parser)
    with plain_errors():
        work_off(CarryOver(arguments), arguments)


if __name__ == "__main__":
    main()
