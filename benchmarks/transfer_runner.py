"""Runs Tables 10 to 12, row after row and seed after seed, and goes on after a kill.

Where weights are not given, those on phantoms are pretrained here, once for all seeds; without
weights a row is left out, and the output says so. Trained networks lie under ``--work``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from long_table import LongTable
from runner import Clock, checked, chosen_rows, parser_of, plain_errors, time_is_up
from settings import SETTINGS
from transfer import CLASSES, FINETUNINGS, ORIGINS, Transfer
from transfer_data import Material, kind_of, material_of
from transfer_printed import draw_fig10, draw_fig11, table_text
from transfer_trial import (
    METRICS,
    begun,
    fine_tuned,
    maps_of,
    name_of_fit,
    parameters_of,
    scored,
)
from trial import trained

from mots_pretrained.training.recipe import Recipe


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
        fit = replace(FINETUNINGS[given.setting], validation=self.material.held_out)
        if not self.material.held_out:
            fit = replace(fit, held_out=0)
        self.fit = replace(fit, steps=given.steps) if given.steps else fit
        self.clock = Clock.of(given)
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
        parts += [f"{self.fit.steps} steps", self.material.what]
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
        fit, pretraining = self._begun(name)
        fit = replace(fit, seed=seed)
        folder = self.work / name_of_fit(fit, self.material, ORIGINS[name].option)
        if seed == 0:
            self.maps[name] = maps_of(folder, self.material)
        if self.results.done(name, seed):
            print(f"{where}: done before", flush=True)
            return
        if pretraining and not trained(pretraining, "phantom", self.work, self.clock.run()):
            time_is_up(where)
        done = fine_tuned(fit, self.material, folder, self.clock.run())
        if done is None:
            time_is_up(where)
        self.results.add(
            name,
            seed,
            scored(folder, self.material, self.table.kind, self.clock.device),
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

    def _begun(self, name: str) -> tuple[Recipe, Recipe | None]:
        """Return how a row is fine-tuned, and what has to be pretrained before."""
        given, setting = self.arguments, SETTINGS[self.arguments.setting]
        recipe = setting.recipe
        if recipe is not None and given.pretrain_steps:
            recipe = replace(recipe, steps=given.pretrain_steps, epochs=None)
        return begun(self.fit, ORIGINS[name], self._given(name), setting, recipe, self.work)

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
