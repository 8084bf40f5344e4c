"""``mots prepare``: bring the original collections to a model's contract, ready for training."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mots_pretrained.cli import FAILED, collections, console, options
from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.config import Preprocessing
    from mots_pretrained.data.prepare import OnCase
    from mots_pretrained.data.split import Supervision
    from mots_pretrained.data.store import PreparedSet


@collections.with_folders
def prepare(
    *,
    root: collections.Root = "",
    output: Annotated[str, typer.Option("-o", "--output", help="Folder to write into")] = "",
    folders: Mapping[str, str],
    collection: collections.Described = None,
    contract: Annotated[
        str, typer.Option(help="Model that the data are for, by name or folder; or paper")
    ] = "paper",
    split: Annotated[
        str, typer.Option(help="Which cases train and test: published, seeded or all-test")
    ] = "published",
    seed: collections.Seed = 0,
    workers: collections.Workers = 0,
    engine: Annotated[
        str, typer.Option(help="local: this machine; ray: all machines of a Ray cluster")
    ] = "local",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be prepared; write nothing")
    ] = False,
    json: options.Json = False,
) -> int:
    """Bring the original collections to a model's contract, ready for training; resumable."""
    from mots_pretrained.data.prepare import Preparation
    from mots_pretrained.data.prepare import prepare as prepare_collections
    from mots_pretrained.data.split import supervision
    from mots_pretrained.stages import begin_work, stage

    if engine not in ("local", "ray"):
        raise UserError(f"unknown engine {engine!r}; allowed are local, ray")
    count = collections.worker_count(workers)
    found = collections.find(root, folders, collection)
    if not output and not dry_run:
        raise UserError("where to? name a folder with -o DIR, or only look with --dry-run")
    preparation = Preparation(_contract(contract), split, seed)
    plan = supervision(found, split, seed)
    if dry_run:
        _show_plan(plan, preparation.contract, json)
        return 0
    for text in _table(plan):
        console.say(text)
    count_cases = sum(line.train + line.test for line in plan)
    begin_work()
    with _bar(count_cases) as on_case, stage("prepare", cases=count_cases):
        prepared = prepare_collections(
            found, output, preparation, workers=count, engine=engine, on_case=on_case
        )
    return _report(prepared, json)


def _contract(name: str) -> Preprocessing:
    from mots_pretrained.config import Preprocessing

    if name == "paper":
        return Preprocessing()
    from mots_pretrained.weights.checkpoint import load_config
    from mots_pretrained.weights.download import resolve

    return load_config(resolve(name)).preprocessing


def _show_plan(plan: Sequence[Supervision], contract: Preprocessing, json: bool) -> None:
    if json:
        import dataclasses

        console.show_json(
            {
                "contract": dataclasses.asdict(contract),
                "collections": [dataclasses.asdict(line) for line in plan],
            }
        )
        return
    for text in _table(plan):
        console.show(text)
    spacing, (low, high) = contract.spacing, contract.clip
    scale = f"HU [{low:g}, {high:g}] -> [-1, 1]" if contract.intensity == "ct" else "z-scored"
    console.show(f"Contract: {' x '.join(f'{step:g}' for step in spacing)} mm, {scale}")


def _table(plan: Sequence[Supervision]) -> Iterator[str]:
    """Lay the plan out in columns."""
    rows = [("collection", "organ", "tumour", "train", "of these validation", "test", "no label")]
    for line in plan:
        counts = (line.train, line.validation, line.test, line.unlabelled)
        names = (line.collection, line.organ or "-", line.tumour or "-")
        rows.append((*names, *map(str, counts)))  # type: ignore[arg-type]
    sums = [sum(int(row[column]) for row in rows[1:]) for column in range(3, 7)]
    rows.append(("together", "", "", *map(str, sums)))  # type: ignore[arg-type]
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    for row in rows:
        cells = [
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _report(prepared: PreparedSet, json: bool) -> int:
    """Tell what was made; 1 if no case could be prepared."""
    test = len(prepared.select(split="test"))
    aside = prepared.set_aside
    if json:
        console.show_json(
            {
                "output": f"{prepared.folder}",
                "cases": len(prepared.records),
                "train": len(prepared.records) - test,
                "validation": len(prepared.select(fold="validation")),
                "test": test,
                "set_aside": [vars(case) for case in aside],
            }
        )
    else:
        for case in aside:
            console.show(f"set aside {case.identifier}: {case.reason}")
        left = f"; {len(aside)} set aside" if aside else ""
        console.show(
            f"{prepared.folder}: {len(prepared.records)} cases, "
            f"{len(prepared.records) - test} to train and {test} to test on{left}"
        )
    return 0 if prepared.records else FAILED


@contextmanager
def _bar(total: int) -> Iterator[OnCase]:
    """Yield a function that shows progress: a bar on a terminal, a line a case elsewhere."""
    if console.quiet() or not sys.stdout.isatty():
        yield _say
        return
    with console.bar(total) as update:
        yield lambda done, of, name, _: update(done, of, name)


def _say(done: int, total: int, name: str, reason: str) -> None:
    if not name:
        console.say(f"{done} of {total} were prepared before")
        return
    console.say(f"{done:>4} of {total}  {name}" + (f"  set aside: {reason}" if reason else ""))
