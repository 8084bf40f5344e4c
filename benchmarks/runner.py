"""Runs a table's list of networks, row after row and seed after seed, and goes on after a kill.

What is finished stands in the table's CSV and is not done again; what was begun goes on from its
checkpoint. Trained networks lie under ``--work``; equal rows of several tables share one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from long_table import LongTable
from printed import by_category_text, elsewhere_text, parameters, table_text
from settings import SETTINGS, Table
from trial import WORK, name_of, recipe_of, scored, trained

from mots_pretrained.networks import load
from mots_pretrained.training.machine import best_device, prepare_machine
from mots_pretrained.training.recipe import Run


def main(table: Table) -> None:
    """Run a table as the command line asks for it."""
    arguments = checked(parser_of(table.title))
    with plain_errors():
        run_table(table, arguments)


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
        workers = prepare_machine(device, workers=arguments.workers)
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


def time_is_up(where: str) -> NoReturn:
    """End with status 1, to be run again."""
    print(f"{where}: time is up; run again to go on")
    sys.exit(1)


def run_table(table: Table, arguments: argparse.Namespace) -> None:
    """Do what is left of a table and print it."""
    setting, data, work = SETTINGS[arguments.setting], arguments.data, Path(arguments.work)
    first = recipe_of(table, table.rows[0], setting, data=data, steps=arguments.steps)
    length = f"{first.steps} steps" if first.steps else f"{first.epochs} epochs"
    what = f"{arguments.setting}, {'phantom' if data == 'phantom' else 'prepared'}, {length}"
    kind = "phantom" if data == "phantom" else Path(data).resolve().name
    path = Path(arguments.results) / f"{table.name}_{arguments.setting}_{kind}.csv"
    results, clock = LongTable(path, table.name, what), Clock.of(arguments)
    chosen = chosen_rows(table.name, [row.name for row in table.rows], arguments.rows)
    for seed in range(arguments.seeds):
        for row in (row for row in table.rows if row.name in chosen):
            where = f"{table.name} {row.name}, seed {seed}"
            if results.done(row.name, seed):
                print(f"{where}: done before", flush=True)
                continue
            recipe = recipe_of(table, row, setting, data=data, steps=arguments.steps, seed=seed)
            record = trained(recipe, data, work, clock.run())
            if record is None:
                time_is_up(where)
            folder = work / name_of(recipe, data)
            found = scored(
                load(folder).to(clock.device),
                data,
                table.held_out,
                cases=setting.cases,
                device=clock.device,
                folder=folder,
            )
            results.add(
                row.name,
                seed,
                found,
                parameters=parameters(recipe.config),
                steps=record["steps_done"],
                seconds=record["seconds"],
            )
            print(f"{where}: {record['seconds']} s", flush=True)
    _print(table, results, what, arguments.seeds)


def _print(table: Table, results: LongTable, what: str, seeds: int) -> None:
    number = int(table.name[-2:])
    print(f"\nTable {number}: {table.title}")
    print(
        f"Ours: {what}, {seeds} seed(s), mean ± standard deviation over them. Columns marked paper"
    )
    print("are as printed there, of networks trained and scored on MOTS. Parameters are of the")
    print("paper's size, whatever was trained here.\n")
    print(table_text(table, results))
    if table.name == "table09":
        print(f"\n{by_category_text(table, results)}")
    if text := elsewhere_text(table, results):
        print(f"\nEvery category on every domain, which complete truth allows\n{text}")
    print(f"\n{results.path}")


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
