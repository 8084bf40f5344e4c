"""Options that several verbs share; of those that train also the recipe, the run and progress."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import console
from mots_pretrained.training.processes import rank_and_count

if TYPE_CHECKING:
    from mots_pretrained.training.log import LogRow
    from mots_pretrained.training.recipe import Recipe, Run

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, or auto")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Use deterministic kernels alone")
]

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one value of the recipe, as steps=500; repeatable"),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the training in OUTPUT")]
MaxMinutes = Annotated[
    float, typer.Option("--max-minutes", help="Stop cleanly after so many minutes; 0: no limit")
]
Workers = Annotated[
    int,
    typer.Option("--workers", help="Processes that make patches; -1: as many as fit the machine"),
]

_SECONDS_A_LINE = 20.0


def recipe_in_force(name: str, settings: Sequence[str], **changes: Any) -> tuple[Recipe, Run]:
    """Return the recipe that options ask for, and what ``--set`` says of the run.

    Args:
        name: Name or file of a recipe.
        settings: What ``--set`` gave, each ``NAME=VALUE``.
        changes: Fields that options of their own give.
    """
    from dataclasses import replace

    from mots_pretrained.training.recipe import Run, read_recipe, with_settings

    recipe, run = with_settings(read_recipe(name), Run(), settings)
    return replace(recipe, **changes), run


@contextmanager
def on_this_machine(
    run: Run,
    *,
    device: str,
    workers: int,
    resume: bool,
    max_minutes: float,
    deterministic: bool = False,
) -> Iterator[Run]:
    """Yield a run as options ask for it, whose progress is shown; only the main process shows.

    Args:
        run: What ``--set`` has said of it.
        device: Device, or ``"auto"``.
        workers: Worker processes; -1: as many as fit the machine.
        resume: Whether to continue.
        max_minutes: Time limit; 0: none.
        deterministic: Use deterministic kernels alone.
    """
    from dataclasses import replace

    from mots_pretrained.training.machine import (
        best_device,
        compute_deterministically,
        prepare_machine,
    )

    chosen = best_device(device)
    workers = prepare_machine(chosen, workers=workers)
    if deterministic:
        compute_deterministically(chosen, training=True)
    if not is_main():
        console.set_level(quiet=True)
    with progress() as show:
        yield replace(
            run,
            device=chosen,
            workers=workers,
            resume=resume,
            max_minutes=max_minutes or None,
            on_log=show,
            say=console.say,
        )


def is_main() -> bool:
    """Return whether this is the one of several processes that writes and shows."""
    return rank_and_count(os.environ)[0] == 0


@contextmanager
def progress() -> Iterator[Any]:
    """Yield a callback that shows log rows: a bar on a terminal, a line now and then elsewhere."""
    if console.quiet() or not sys.stdout.isatty():
        yield _Lines()
        return
    with console.bar() as update:
        yield lambda row: update(row.step, row.steps, _parts(row))


class _Lines:
    """Says a row, but not more often than every twenty seconds, and the last."""

    def __init__(self) -> None:
        self.last = time.monotonic() - _SECONDS_A_LINE

    def __call__(self, row: LogRow) -> None:
        if row.step < row.steps and time.monotonic() - self.last < _SECONDS_A_LINE:
            return
        self.last = time.monotonic()
        console.say(f"step {row.step} of {row.steps}, {_parts(row)}, {row.seconds / 60:.1f} min")


def _parts(row: LogRow) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in row.losses.items())
