"""Where training cases come from: a prepared folder, or scans beside the training (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, overload

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.data.augment import PUBLISHED, Augmentation
from mots_pretrained.data.case import Case
from mots_pretrained.data.layouts import Collection
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.prepare import prepare_folder
from mots_pretrained.data.store import CaseRecord, PreparedSet
from mots_pretrained.data.stream import Cycle, Source
from mots_pretrained.errors import UserError
from mots_pretrained.tasks import Task, task_named
from mots_pretrained.training.launch import on_main
from mots_pretrained.training.processes import rank_and_count
from mots_pretrained.training.recipe import Recipe, Run

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")

AUGMENTATIONS: dict[str, Augmentation | None] = {
    # The published numbers, mirrored left and right only: bodies do not stand on their heads.
    "default": Augmentation(),
    # Sec. 4.1: scaling, flipping, rotation, noise, blur, contrast, brightness; it gives no numbers,
    # so these are the published ones, and nnU-Net's for the rotation.
    "paper": Augmentation(
        rotation=(0.2, 30.0),
        shift=(0.0, 0.0),
        low_resolution=(0.0, (1.0, 1.0)),
        gamma=(0.0, (1, 1)),
    ),
    # The published code: no rotation, all three axes mirrored, by cubic splines.
    "published": PUBLISHED,
    "none": None,
}
"""Augmentation by the name that recipes use."""

CASES = ".cases"
"""Folder within a training's own that holds its prepared cases while it runs."""


@dataclass(frozen=True)
class Supply:
    """Training cases without end.

    Attributes:
        tasks: Tasks that they supervise.
        scans: Cases of one pass, an epoch.
        patches_per_case: Patches to cut from a case each time that it comes.
        source: Gives the source for a network, which has these tasks and perhaps others.
        summary: Description in a few words.
        generator: Version of the phantoms' generator; None of real scans.
        hashes: ``collection/identifier`` of each scan by the hash of its voxels; none of phantoms.
        marks: What tells the cases apart from any others, their labels included.
        cases: Gives every case once for a network, where that makes sense.
    """

    tasks: tuple[Task, ...]
    scans: int
    patches_per_case: int
    source: Callable[[ModelConfig], Source]
    summary: str
    generator: int | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    cases: Callable[[ModelConfig], Sequence[Case]] = lambda config: ()

    @property
    def patches(self) -> int:
        """Patches of one pass."""
        return self.scans * self.patches_per_case


def prepared_cases(folder: str | Path, recipe: Recipe) -> Supply:
    """Return the training cases of the recipe's tasks in a folder that ``mots prepare`` wrote.

    Raises:
        UserError: If there is no such folder, it has no tasks, or no training case of one that is
            named; and, of ``source``, if it was prepared for another contract than the network's.

    Warns:
        UserWarning: Of cases that could not be prepared, and of tasks without a training case.
    """
    recipe.needs_none_of(
        ("labels", "randomise", "tumours", "phantoms", "replay"), "a training on data; leave -i out"
    )
    prepared = PreparedSet.open(folder)
    if not prepared.tasks:
        raise UserError(
            f"{folder} was prepared without tasks, so no method can be pretrained on it; learn an "
            "encoder from its scans (--recipe byol3d), or fine-tune on the labels themselves"
        )
    fold: Literal["train"] | None = "train" if recipe.ablation else None
    with_cases = {record.task for record in prepared.select(split="train", fold=fold)}
    if not with_cases:
        raise UserError(f"{folder} holds no case to train on; prepare it with another --split")
    chosen = chosen_tasks(recipe.tasks, prepared.tasks)
    empty = [task.name for task in chosen if task.name not in with_cases]
    if recipe.tasks and empty:
        raise UserError(f"{folder} holds no case of {empty[0]!r} to train on")
    warn_of_set_aside(prepared)
    if empty and rank_and_count(os.environ)[0] == 0:
        what = f"{folder} holds no case of {', '.join(empty)} to train on"
        warnings.warn(f"{what}; nothing is learned of that", stacklevel=4)
    chosen = tuple(task for task in chosen if task.name in with_cases)
    groups = [prepared.select(split="train", fold=fold, task=task.name) for task in chosen]
    records = [record for group in groups for record in group]
    hashes, marks = prepared.hashes(records), marks_of(records)
    if recipe.balance == "proportional":
        groups = [tuple(record for group in groups for record in group)]

    def opened(config: ModelConfig, of: Sequence[CaseRecord]) -> Opened[CaseRecord]:
        return Opened(tuple(of), partial(prepared.case, tasks=config.tasks))

    def source(config: ModelConfig) -> Source:
        prepared.check_contract(config.preprocessing)
        cycles = [Cycle(opened(config, group), recipe.seed) for group in groups]
        return cycles[0] if len(cycles) == 1 else InTurn(tuple(cycles))

    scans = sum(map(len, groups))
    per_case = recipe.patches_per_case or 1
    what = f"{scans} cases of {folder}"
    return Supply(
        *(chosen, scans, per_case, source, what),
        hashes=hashes,
        marks=marks,
        cases=lambda config: opened(config, records),
    )


def bare_scans(prepared: PreparedSet, recipe: Recipe) -> Supply:
    """Return the scans of a set without tasks, whose labels, if there are any, are left alone.

    Raises:
        UserError: If there is none; and, of ``source``, if they were prepared for another contract
            than the network's.

    Warns:
        UserWarning: Of scans that could not be prepared.
    """
    unused = ("randomise", "tumours", "phantoms", "replay", "balance", "ablation")
    recipe.needs_none_of(unused, "a training on bare scans")
    warn_of_set_aside(prepared)
    records = prepared.records
    if not records:
        raise UserError(f"{prepared.folder} holds no scan to train on")

    def source(config: ModelConfig) -> Source:
        prepared.check_contract(config.preprocessing)
        return Cycle(Opened(records, prepared.case), recipe.seed)

    per_case = recipe.patches_per_case or 4
    what, marks = f"{len(records)} scans", marks_of(records)
    hashes = prepared.hashes(records)
    return Supply((), len(records), per_case, source, what, hashes=hashes, marks=marks)


def warn_of_set_aside(prepared: PreparedSet) -> None:
    """Warn of cases that a set lacks as they could not be prepared; of processes the first does."""
    if (aside := prepared.set_aside) and rank_and_count(os.environ)[0] == 0:
        warnings.warn(
            f"{prepared.folder} lacks cases that could not be prepared, in whatever split: "
            f"{len(aside)}, such as {aside[0].identifier}",
            stacklevel=4,
        )


def marks_of(records: Iterable[CaseRecord]) -> tuple[str, ...]:
    """Return what tells cases apart from any others: hashes of voxels and of label files."""
    return tuple(f"{r.source.content_hash} {r.source.label_sha256}" for r in records)


def stats_of(records: Iterable[CaseRecord]) -> tuple[str, ...]:
    """Return what tells at a glance whether cases' files may have changed: sizes and times."""
    return tuple(f"{r.source.bytes} {r.source.mtimes_ns}" for r in records)


def prepared_beside(
    found: Collection,
    output: Path,
    contract: Preprocessing,
    targets: Targets | None,
    accelerator: Accelerator,
    run: Run,
    *,
    is_ct: bool = False,
) -> PreparedSet:
    """Prepare a folder's cases beside its training, in the main process; all of them open it.

    Resumable: what an interrupted run has prepared is not prepared again. With ``is_ct`` somebody
    has said that the scans are CT, as of ``prepare_folder``.

    Raises:
        UserError: As soon as a case can't be prepared; the message names its file. Of several such
            cases it is the one that a worker came upon first.
    """

    def prepare() -> None:
        told = [0]

        def on_case(done: int, of: int, name: str, reason: str) -> None:
            if reason:  # now, and not once hours have gone into all others
                raise UserError(f"{found.folder}: {reason}")
            if done == of or done >= told[0] + of / 10:
                told[0] = done
                run.tell(f"Prepared {done} of {of} cases")

        prepare_folder(
            *(found, output / CASES, contract, targets),
            workers=run.workers,
            on_case=on_case,
            replace=True,
            is_ct=is_ct,
        )

    on_main(accelerator, prepare)
    return PreparedSet.open(output / CASES)


def remove_cases(output: Path) -> None:
    """Remove what ``prepared_beside`` has prepared."""
    shutil.rmtree(output / CASES, ignore_errors=True)


@dataclass(frozen=True)
class Opened(Sequence[Case], Generic[T]):
    """Cases that lie on disk, each opened anew, so that few files are open at a time.

    Attributes:
        places: What says where each lies.
        open: Gives the case of a place; picklable, for worker processes.
    """

    places: tuple[T, ...]
    open: Callable[[T], Case]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Case]: ...
    def __getitem__(self, index: int | slice) -> Case | Sequence[Case]:
        if isinstance(index, slice):
            return dataclasses.replace(self, places=self.places[index])
        return self.open(self.places[index])


@dataclass(frozen=True)
class InTurn:
    """Several sources as one: case after case from the next of them."""

    sources: tuple[Source, ...]

    def __call__(self, index: int) -> Case:
        """Return case number ``index``."""
        case, which = divmod(index, len(self.sources))
        return self.sources[which](case)


def chosen_tasks(names: Sequence[str], tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return the tasks of these names in their own order, all if no name is given."""
    wanted = [task_named(name, tasks) for name in names]
    return tuple(task for task in tasks if not wanted or task in wanted)
