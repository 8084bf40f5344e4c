"""Runs Tables 10 to 12, row after row and seed after seed, and goes on after a kill.

Where weights are not given, those on phantoms are pretrained here, for as many steps in every row
and with the row's seed, as Table 9 trains them; without
weights a row is left out, and the output says so. Trained networks lie under ``--work``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from long_table import LongTable
from printed import differences
from runner import Clock, Job, Training, checked, chosen_rows, parser_of, plain_errors, work_off
from settings import SETTINGS
from transfer import (
    BRATS_MM,
    CLASSES,
    DRAWN,
    FINETUNINGS,
    ORIGINS,
    VARIANTS,
    Transfer,
    parts_of,
)
from transfer_data import Material, kind_of, material_of
from transfer_printed import draw_fig10, draw_fig11, sooner_text, table_text
from transfer_trial import (
    METRICS,
    begun,
    fine_tuned,
    maps_of,
    name_of_fit,
    parameters_of,
    scored,
)
from trial import name_of, trained

from mots_pretrained.training.recipe import Recipe


def main(tables: Sequence[Transfer]) -> None:
    """Run the tables that the command line asks for."""
    arguments = _arguments(tables)
    with plain_errors():
        for table in tables:
            if table.name in arguments.table:
                work_off(TransferBench(table, arguments), arguments)


class TransferBench:
    """One of Tables 10 to 12 as the command line asks for it."""

    def __init__(self, table: Transfer, arguments: argparse.Namespace) -> None:
        self.table, self.given, self.work = table, arguments, Path(arguments.work)
        given = arguments
        if given.data != "phantom" and kind_of(given.data) != table.kind:
            raise ValueError(f"{given.data} is not the collection of {table.title}")
        fit = FINETUNINGS[given.setting]
        self.fit = replace(fit, steps=given.steps) if given.steps else fit
        kind = "phantom" if given.data == "phantom" else Path(given.data).resolve().name
        path = Path(given.results) / f"{table.name}_{given.setting}_{kind}.csv"
        self.results = LongTable(
            path, table.name, self.what, categories=tuple(CLASSES[table.kind]), metrics=METRICS
        )

    @cached_property
    def material(self) -> Material:
        """The scans; phantoms are drawn when they are first asked for."""
        given = self.given
        return material_of(
            self.table, given.setting, data=given.data, test=given.test, work=self.work
        )

    @property
    def what(self) -> str:
        """What all lines of the table share."""
        given, train = self.given, self.table.train
        parts = [given.setting, given.data, f"{self.fit.steps} steps"]
        if train is not None:
            parts.append(f"{train} labelled scans")
        if given.test:
            parts.append(f"scored on {given.test}")
        if given.pretrain_steps:
            parts.append(f"pretrained for {given.pretrain_steps} steps")
        for name in self.table.rows:
            if (weights := self._given(name)) and f"{name} from {weights}" not in parts:
                parts.append(f"{name} from {weights}")
        return ", ".join(parts)

    def jobs(self) -> list[Job]:
        """Return all rows and seeds, seed after seed; of weights that are not given, none."""
        wanted = chosen_rows(self.table.name, [*self.table.rows], self.given.rows)
        for name in wanted:
            if not self._has_weights(name):
                option = "--" + parts_of(name)[0].option.replace("_", "-")
                print(f"{self.table.name} {name}: left out; give its weights by {option} DIR")
        return [
            self._job(name, seed)
            for seed in range(self.given.seeds)
            for name in self.table.rows
            if name in wanted and self._has_weights(name)
        ]

    def _job(self, name: str, seed: int) -> Job:
        fit, pretraining = self._begun(name, seed)
        trainings = [Training(self._folder(name, fit), f"fine-tuning {self.table.kind}", fit)]
        if pretraining is not None:
            before = self.work / name_of(pretraining, "phantom")
            trainings.insert(0, Training(before, name.split(" (")[0], pretraining))
        return Job(
            *(self.table.name, name, seed, tuple(trainings)),
            is_done=lambda: self.results.done(name, seed),
            do=lambda clock: self._do(name, seed, clock),
        )

    def _do(self, name: str, seed: int, clock: Clock) -> bool:
        fit, pretraining = self._begun(name, seed)
        folder, material = self._folder(name, fit), self.material
        given = self.given
        if pretraining and not trained(
            pretraining, "phantom", given.setting, self.work, clock.run()
        ):
            return False
        done = fine_tuned(self._on_data(fit), material, folder, clock.run())
        if done is None:
            return False
        self.results.add(
            name,
            seed,
            scored(folder, material, self.table.kind, clock.device),
            parameters=parameters_of(folder),
            **done,
        )
        self._submit(name, seed, maps_of(folder, material))
        print(f"{self.table.name} {name}, seed {seed}: {done['seconds']:.1f} s", flush=True)
        return True

    def _on_data(self, fit: Recipe) -> Recipe:
        """Return a row's recipe with what the data says."""
        held_out = self.material.held_out
        own = {"validation": held_out} if held_out else {"held_out": 0, "validate_every": None}
        fit = replace(fit, **own)
        if self.table.kind != "brats":
            return fit
        shape = DRAWN[self.given.setting]["brats"].shape
        if self.given.data == "phantom" and shape is not None:
            # Weights that have four channels already would else keep the spacing of CT.
            d, h, w = (full / n for full, n in zip(BRATS_MM, shape, strict=True))
            fit = replace(fit, spacing=(d, h, w))
        return fit

    def _folder(self, name: str, fit: Recipe) -> Path:
        data = self.given.data
        where = data if data == "phantom" else str(Path(data).resolve())
        return self.work / name_of_fit(fit, self.table, where, name)

    def _given(self, name: str) -> str:
        """Return the weights that the command line names for a row."""
        return getattr(self.given, parts_of(name)[0].option, "")

    def _has_weights(self, name: str) -> bool:
        origin, setting = parts_of(name)[0], SETTINGS[self.given.setting]
        here = self.given.data == "phantom" and setting.recipe is not None
        return bool(self._given(name)) or origin.random or here

    def _begun(self, name: str, seed: int) -> tuple[Recipe, Recipe | None]:
        """Return how a row is fine-tuned, and what has to be pretrained before."""
        given, setting = self.given, SETTINGS[self.given.setting]
        origin, variant = parts_of(name)
        recipe = setting.recipe
        if recipe is not None and given.pretrain_steps:
            recipe = replace(recipe, steps=given.pretrain_steps, epochs=None)
        paper = {"channel_init": "first"}
        fit = replace(self.fit, seed=seed, **paper | VARIANTS.get(variant, {}))
        return begun(fit, origin, self._given(name), setting, recipe, self.work)

    def _submit(self, name: str, seed: int, maps: Path) -> None:
        """Copy the label maps to where the user wants them for the online evaluation."""
        if not self.given.submission:
            return
        origin, variant = parts_of(name)
        row = "_".join([origin.option, *variant.split()])
        place = Path(self.given.submission) / self.table.name / row / f"seed_{seed}"
        ignored = shutil.ignore_patterns("*.json")
        shutil.copytree(maps, place, dirs_exist_ok=True, ignore=ignored)
        print(f"for the online evaluation: {place}")

    def show(self) -> None:
        """Print the table, keep in its CSV how its rows differ, and draw its figures."""
        table, path = self.table, self.results.path
        print(f"\n{table.title}")
        print(f"Ours: {self.results.setting}, {len(self.results.seeds)} seed(s), mean ± standard")
        print("deviation. Columns and lines marked paper's are as printed there, on the real")
        print("collection.")
        if table.held_out == "validation":
            print("Weights are those of the best validation on these very cases, in every row.")
        print(f"\n{table_text(table, self.results)}\n\n{self.results.cost_text()}\n{path}")
        for names, found in differences(table.pairs, self.results).items():
            self.results.compared(names, found)
        figure = path.with_name(f"{path.stem}_fig10.png")
        if draw_fig10(table, self.results, figure):
            print(f"\n{sooner_text(table, self.results)}\n\n{figure}")
        figure = path.with_name(f"{path.stem}_fig11.png")
        if table.held_out == "validation" and not self.given.print:
            folders = {n: self._folder(n, self._begun(n, 0)[0]) for n in table.rows}
            maps = {n: maps_of(folder, self.material) for n, folder in folders.items()}
            there = {name: folder for name, folder in maps.items() if folder.is_dir()}
            if draw_fig11(table, self.material, there, figure):
                print(figure)


def _arguments(tables: Sequence[Transfer]) -> argparse.Namespace:
    parser = parser_of("Tables 10 to 12")
    parser.add_argument("table", nargs="+", choices=[table.name for table in tables])
    add_options(parser)
    return checked(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what transfers take beside all tables' options."""
    parser.add_argument("--test", default="", help="a folder of test scans, labelled or not")
    parser.add_argument("--pretrain-steps", type=int, default=0, help="instead of the setting's")
    parser.add_argument("--submission", default="", help="copy label maps for the evaluations here")
    for name, origin in ORIGINS.items():
        if not origin.random:
            option = "--" + origin.option.replace("_", "-")
            parser.add_argument(
                option, default="", metavar="NAME|DIR|none", help=f"weights of the row {name}"
            )
