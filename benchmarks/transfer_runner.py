"""Runs Tables 10 to 12, row after row and seed after seed, and goes on after a kill.

Where weights are not given, those on phantoms are pretrained here, once for all seeds; without
weights a row is left out, and the output says so. Trained networks lie under ``--work``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from long_table import LongTable
from runner import checked, chosen_rows, parser_of, plain_errors
from settings import SETTINGS
from transfer import CLASSES, FINETUNINGS, ORIGINS, Transfer
from transfer_data import Material, kind_of, material_of
from transfer_printed import draw_fig10, draw_fig11, table_text
from transfer_trial import (
    METRICS,
    Fit,
    fine_tuned,
    maps_of,
    parameters_of,
    scored,
    self_supervised,
    start_of,
)
from trial import Trial, trained

from mots_pretrained.training.finetune_folder import Running, Start
from mots_pretrained.training.machine import best_device, prepare_machine
from mots_pretrained.training.pretrain_byol import SelfSupervision
from mots_pretrained.training.pretrain_mots import Run


def main(tables: Sequence[Transfer]) -> None:
    """Run those of the tables whose collection the data are, as the command line asks for it."""
    arguments = _arguments(tables[0].title)
    with plain_errors():
        kinds = {t.kind for t in tables}
        if arguments.data != "phantom":
            kinds &= {kind_of(arguments.data)}
        if not kinds:
            raise ValueError(f"{arguments.data} is not the collection of {tables[0].title}")
        for table in tables:
            if table.kind in kinds:
                Bench(table, arguments).run()


@dataclass
class Bench:
    """One table being run.

    Attributes:
        table: The table.
        arguments: The command line's.
    """

    table: Transfer
    arguments: argparse.Namespace

    def __post_init__(self) -> None:
        given, table = self.arguments, self.table
        self.work = Path(given.work)
        self.material = material_of(
            table, given.setting, data=given.data, test=given.test, work=self.work
        )
        settings = FINETUNINGS[given.setting]
        self.settings = replace(settings, steps=given.steps) if given.steps else settings
        self.device = best_device(given.device)
        workers = prepare_machine(self.device, workers=given.workers)
        self.workers = 0 if given.setting == "smoke" else workers
        self.end = time.monotonic() + 60 * given.max_minutes if given.max_minutes else None
        kind = "phantom" if given.data == "phantom" else self.material.folder.resolve().name
        path = Path(given.results) / f"{table.name}_{given.setting}_{kind}.csv"
        self.results = LongTable(
            path, table.name, self.what, categories=tuple(CLASSES[table.kind]), metrics=METRICS
        )
        self.maps: dict[str, Path] = {}

    @property
    def what(self) -> str:
        """What all lines of the table share."""
        given = self.arguments
        parts = [given.setting, "phantom" if given.data == "phantom" else str(self.material.folder)]
        parts += [f"{self.settings.steps} steps", self.material.what]
        if given.pretrain_steps:
            parts.append(f"pretrained for {given.pretrain_steps} steps")
        for name in self.table.rows:
            if weights := self._given(name):
                parts.append(f"{name} from {weights}")
        return ", ".join(parts)

    def run(self) -> None:
        """Do what is left, print the table and draw its figures."""
        wanted = chosen_rows(self.table.name, [*self.table.rows], self.arguments.rows)
        for seed in range(self.arguments.seeds):
            for name in (name for name in self.table.rows if name in wanted):
                self._row(name, seed)
        self._print()

    def _row(self, name: str, seed: int) -> None:
        where = f"{self.table.name} {name}, seed {seed}"
        option = "--" + ORIGINS[name].option.replace("_", "-")
        if not self._has_weights(name):
            if seed == 0:
                print(f"{self.table.name} {name}: left out; give its weights by {option} DIR")
            return
        start, pretraining = self._start(name)
        fit = Fit(start, self.material, replace(self.settings, seed=seed))
        folder = self.work / fit.name(ORIGINS[name].option)
        if seed == 0:
            self.maps[name] = maps_of(folder, self.material)
        if self.results.done(name, seed):
            print(f"{where}: done before", flush=True)
            return
        if pretraining is not None and not self._pretrained(pretraining):
            _time_is_up(where)
        running = Running(device=self.device, workers=self.workers, max_minutes=self._minutes())
        done = fine_tuned(fit, folder, running)
        if done is None:
            _time_is_up(where)
        self.results.add(
            name,
            seed,
            scored(folder, self.material, self.table.kind, self.device),
            parameters=parameters_of(folder),
            **done,
        )
        self._submit(ORIGINS[name].option, seed, maps_of(folder, self.material))
        print(f"{where}: {done['seconds']} s", flush=True)

    def _given(self, name: str) -> str:
        """Return the weights that the command line names for a row."""
        return getattr(self.arguments, ORIGINS[name].option, "")

    def _has_weights(self, name: str) -> bool:
        origin, setting = ORIGINS[name], SETTINGS[self.arguments.setting]
        here = self.arguments.data == "phantom" and setting.recipe is not None
        return bool(self._given(name)) or origin.random or here

    def _start(self, name: str) -> tuple[Start, Trial | SelfSupervision | None]:
        given, setting = self.arguments, SETTINGS[self.arguments.setting]
        recipe = setting.recipe
        if recipe is not None and given.pretrain_steps:
            recipe = replace(recipe, steps=given.pretrain_steps, epochs=None)
        origin, weights = ORIGINS[name], self._given(name)
        return start_of(origin, weights, setting, recipe=recipe, work=self.work)

    def _pretrained(self, pretraining: Trial | SelfSupervision) -> bool:
        """Pretrain, or go on, or find it done; False if time was up before the end."""
        if isinstance(pretraining, Trial):
            return trained(pretraining, self.work, self._run()) is not None
        return self_supervised(pretraining, self.work, self._run())

    def _run(self) -> Run:
        return Run(
            device=self.device,
            workers=self.workers,
            checkpoint_minutes=self.arguments.checkpoint_minutes,
            max_minutes=self._minutes(),
        )

    def _minutes(self) -> float | None:
        return None if self.end is None else max(0.0, (self.end - time.monotonic()) / 60)

    def _submit(self, option: str, seed: int, maps: Path) -> None:
        """Copy the label maps to where the user wants them for the online evaluation."""
        if not self.arguments.submission:
            return
        place = Path(self.arguments.submission) / self.table.name / option / f"seed_{seed}"
        ignored = shutil.ignore_patterns("*.json")
        shutil.copytree(maps, place, dirs_exist_ok=True, ignore=ignored)
        print(f"for the online evaluation: {place}")

    def _print(self) -> None:
        table, path = self.table, self.results.path
        print(f"\n{table.title}")
        print(f"Ours: {self.what}, {self.arguments.seeds} seed(s), mean ± standard deviation over")
        print(
            "them. Columns and lines marked paper's are as printed there, on the real collection."
        )
        if self.material.held_out:
            print("Weights are those of the best validation on these very cases, in every row.")
        print(f"\n{table_text(table, self.results)}\n\n{path}")
        if draw_fig10(table, self.results, path.with_name(f"{path.stem}_fig10.png")):
            print(path.with_name(f"{path.stem}_fig10.png"))
        if _draw_fig11(table, self.material, self.maps, path.with_name(f"{path.stem}_fig11.png")):
            print(path.with_name(f"{path.stem}_fig11.png"))


def _draw_fig11(table: Transfer, material: Material, maps: dict[str, Path], path: Path) -> bool:
    there = {name: folder for name, folder in maps.items() if folder.is_dir()}
    return table.held_out == "validation" and draw_fig11(table, material, there, path)


def _time_is_up(where: str) -> NoReturn:
    print(f"{where}: time is up; run again to go on")
    sys.exit(1)


def _arguments(title: str) -> argparse.Namespace:
    parser = parser_of(title)
    parser.add_argument("--test", default="", help="a folder of test scans, labelled or not")
    parser.add_argument("--pretrain-steps", type=int, default=0, help="instead of the setting's")
    parser.add_argument("--submission", default="", help="copy label maps for the evaluations here")
    for name, origin in ORIGINS.items():
        if not origin.random:
            option = "--" + origin.option.replace("_", "-")
            parser.add_argument(
                option, default="", metavar="NAME|DIR|none", help=f"weights of the row {name}"
            )
    return checked(parser)
