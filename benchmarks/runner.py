"""Runs a table's list of networks, row after row and seed after seed, and goes on after a kill.

What is finished stands in the table's CSV and is not done again; what was begun goes on from its
checkpoint. Trained networks lie under ``--work``; equal rows of several tables share one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from long_table import LongTable
from printed import (
    by_category_text,
    differences,
    elsewhere_text,
    pairs_text,
    parameters,
    table_text,
)
from settings import SETTINGS
from tables import Row, Table
from trial import WORK, name_of, recipe_of, scored, trained

from mots_pretrained.networks import load
from mots_pretrained.training.machine import best_device, prepare_machine
from mots_pretrained.training.recipe import Recipe, Run


def main(tables: Sequence[Table]) -> None:
    """Run the tables that the command line asks for."""
    parser = parser_of("Tables 2 to 9")
    parser.add_argument("number", type=int, nargs="+", choices=[int(t.name[5:]) for t in tables])
    arguments = checked(parser)
    with plain_errors():
        for table in tables:
            if int(table.name[5:]) in arguments.number:
                work_off(TableBench(table, arguments), arguments)


@contextmanager
def plain_errors() -> Iterator[None]:
    """End with status 2 and one line where the user's input is wrong."""
    try:
        yield
    except (ValueError, KeyError, FileNotFoundError) as error:
        print(error.args[0] if error.args else error, file=sys.stderr)
        sys.exit(2)


@dataclass(frozen=True)
class Clock:
    """Where a list of trainings runs, and until when.

    Attributes:
        device: Device to train on.
        workers: Processes that make patches.
        checkpoint_minutes: Time between checkpoints.
        end: Moment of ``time.monotonic`` to end at; None for no limit.
    """

    device: str
    workers: int
    checkpoint_minutes: float
    end: float | None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Clock:
        """Return what the command line asks for."""
        device = best_device(arguments.device)
        workers = prepare_machine(device, workers=arguments.workers, threads=arguments.threads)
        end = time.monotonic() + 60 * arguments.max_minutes if arguments.max_minutes else None
        workers = 0 if arguments.setting == "smoke" else workers
        return cls(device, workers, arguments.checkpoint_minutes, end)

    def run(self) -> Run:
        """Return a run for the time that is left."""
        left = None if self.end is None else max(0.0, (self.end - time.monotonic()) / 60)
        return Run(
            device=self.device,
            workers=self.workers,
            checkpoint_minutes=self.checkpoint_minutes,
            max_minutes=left,
        )


@dataclass(frozen=True)
class Training:
    """A network that a job trains.

    Attributes:
        folder: Where it lies.
        kind: What tells how long its steps take.
        recipe: How it is trained.
    """

    folder: Path
    kind: str
    recipe: Recipe


@dataclass(frozen=True)
class Job:
    """One row of a table with one seed.

    Attributes:
        table: Name of the table.
        row: Name of the row.
        seed: Random seed of the training.
        trainings: The networks that it trains, which other jobs may share.
        is_done: Tells whether its lines stand in the CSV.
        do: Does what is left of it; returns False if time was up before the end.
    """

    table: str
    row: str
    seed: int
    trainings: tuple[Training, ...]
    is_done: Callable[[], bool]
    do: Callable[[Clock], bool]

    def __str__(self) -> str:
        return f"{self.table} {self.row}, seed {self.seed}"


class Bench(Protocol):
    """A table at a setting: what there is to do, and what is printed and drawn of its CSV.

    Attributes:
        results: The lines of its CSV.
    """

    results: LongTable

    def jobs(self) -> list[Job]:
        """Return all rows and seeds, seed after seed."""
        ...

    def show(self) -> None:
        """Print the table and draw its figures."""
        ...


def work_off(bench: Bench, arguments: argparse.Namespace) -> None:
    """Do what is left of a table, unless it is to be printed only, and show it."""
    if arguments.print:
        show_all(bench)
        return
    clock = Clock.of(arguments)
    for job in bench.jobs():
        if job.is_done():
            print(f"{job}: done before", flush=True)
        elif not job.do(clock):
            print(f"{job}: time is up; run again to go on")
            sys.exit(1)
    bench.show()


def show_all(bench: Bench) -> None:
    """Print a table at every setting that its CSV has."""
    for setting in bench.results.settings:
        bench.results.setting = setting
        bench.show()


class TableBench:
    """One of Tables 2 to 9 as the command line asks for it."""

    def __init__(self, table: Table, arguments: argparse.Namespace) -> None:
        self.table, self.given, self.work = table, arguments, Path(arguments.work)
        self.setting, self.data = SETTINGS[arguments.setting], arguments.data
        first = recipe_of(table, table.rows[0], self.setting, data=self.data, steps=arguments.steps)
        length = f"{first.steps} steps" if first.steps else f"{first.epochs} epochs"
        kind = "phantom" if self.data == "phantom" else "prepared"
        what = f"{arguments.setting}, {kind}, {length}"
        where = "phantom" if kind == "phantom" else Path(self.data).resolve().name
        path = Path(arguments.results) / f"{table.name}_{arguments.setting}_{where}.csv"
        self.results = LongTable(path, table.name, what)

    def jobs(self) -> list[Job]:
        """Return all rows and seeds, seed after seed."""
        names = [row.name for row in self.table.rows]
        chosen = chosen_rows(self.table.name, names, self.given.rows)
        return [
            self._job(row, seed)
            for seed in range(self.given.seeds)
            for row in self.table.rows
            if row.name in chosen
        ]

    def _job(self, row: Row, seed: int) -> Job:
        recipe = recipe_of(
            self.table, row, self.setting, data=self.data, steps=self.given.steps, seed=seed
        )
        folder = self.work / name_of(recipe, self.data)

        def do(clock: Clock) -> bool:
            record = trained(recipe, self.data, self.given.setting, self.work, clock.run())
            if record is None:
                return False
            found = scored(
                load(folder).to(clock.device),
                self.data,
                self.table.held_out,
                cases=self.setting.cases,
                device=clock.device,
                folder=folder,
            )
            self.results.add(
                row.name,
                seed,
                found,
                parameters=parameters(recipe.config),
                steps=record["steps_done"],
                seconds=record["seconds"],
            )
            print(f"{self.table.name} {row.name}, seed {seed}: {record['seconds']} s", flush=True)
            return True

        training = Training(folder, f"{self.table.name} {row.name}", recipe)
        return Job(
            *(self.table.name, row.name, seed, (training,)),
            is_done=lambda: self.results.done(row.name, seed),
            do=do,
        )

    def show(self) -> None:
        """Print the table, and keep in its CSV how far the final row is ahead of each other."""
        _print(self.table, self.results)
        for names, found in differences(self.table.pairs, self.results).items():
            self.results.compared(names, found)


def _print(table: Table, results: LongTable) -> None:
    number = int(table.name[-2:])
    print(f"\nTable {number}: {table.title}")
    print(f"Ours: {results.setting}, {len(results.seeds)} seed(s), mean ± standard deviation.")
    print("Columns marked paper are as printed there, of networks trained and scored on MOTS.")
    print("Parameters are of the paper's size, whatever was trained here.\n")
    print(table_text(table, results))
    if table.name == "table09":
        print(f"\n{by_category_text(table, results)}")
        print(f"\nDice of the line less the column's, 95 % interval\n{pairs_text(table, results)}")
    if text := elsewhere_text(table, results):
        print(f"\nEvery category on every domain, which complete truth allows\n{text}")
    print(f"\n{results.cost_text()}\n{results.path}")


def chosen_rows(table: str, names: Sequence[str], rows: str) -> set[str]:
    """Return the rows that are asked for by names with commas between; all of "".

    Raises:
        KeyError: If the table has no such row.
    """
    wanted = rows.split(",") if rows else names
    for name in wanted:
        if name not in names:
            raise KeyError(f"{table} has no row {name!r}; its rows are {', '.join(names)}")
    return set(wanted)


def parser_of(title: str) -> argparse.ArgumentParser:
    """Return what all tables' command lines have in common."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--setting", choices=list(SETTINGS), default="small")
    parser.add_argument("--smoke", action="store_true", help="the whole list in about a minute")
    parser.add_argument("--data", default="phantom", help="phantom, or a folder of data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", default="", help="only these, with commas between")
    parser.add_argument("--steps", type=int, default=0, help="instead of the setting's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=-1)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves them")
    parser.add_argument("--print", action="store_true", help="print the CSV, run nothing")
    parser.add_argument("--max-minutes", type=float, default=0.0, help="0: until all is done")
    parser.add_argument("--checkpoint-minutes", type=float, default=3.0)
    parser.add_argument("--results", default=str(here / "results"))
    parser.add_argument("--work", default=str(WORK))
    return parser


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line."""
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.setting, arguments.seeds, arguments.checkpoint_minutes = "smoke", 1, 0.0
    if arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    return arguments
