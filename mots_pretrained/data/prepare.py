"""From the original collections to one prepared folder, resumably and in parallel (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts import Collection
from mots_pretrained.data.prepare_case import Job, Outcome, prepare_case, prepared_before
from mots_pretrained.data.prepared_folder import alone, check_folder, sweep
from mots_pretrained.data.split import split_cases, validation_cases
from mots_pretrained.data.store import (
    CaseRecord,
    Fold,
    PreparedSet,
    SetAside,
    Split,
    write_index,
)
from mots_pretrained.data.workers import end_with_parent
from mots_pretrained.errors import UserError

OnCase = Callable[[int, int, str, str], None]
"""Told how many cases are done, of how many, the last one's identifier, and why it was set aside
(empty if it was not)."""


@dataclass(frozen=True)
class Preparation:
    """What a rerun on the same folder must agree with.

    Attributes:
        contract: What the cases are brought to.
        split: ``"published"``, ``"seeded"`` or ``"all-test"``.
        seed: Of the seeded split and of the validation fold.
    """

    contract: Preprocessing = field(default_factory=Preprocessing)
    split: str = "published"
    seed: int = 0


@dataclass(frozen=True)
class Supervision:
    """What a collection teaches: a line of the plan that ``--dry-run`` prints.

    Attributes:
        collection: Its name.
        organ: The category that its organ labels supervise; None where it has none.
        tumour: Likewise of its tumours.
        train: Training cases, those of the validation fold included.
        validation: Training cases of the validation fold.
        test: Test cases.
        unlabelled: Scans without a label map, which are left out.
        folder: Where it was found.
    """

    collection: str
    organ: str | None
    tumour: str | None
    train: int
    validation: int
    test: int
    unlabelled: int
    folder: str


def supervision(
    collections: Sequence[Collection], preparation: Preparation
) -> tuple[Supervision, ...]:
    """Return which collection supervises which categories, with how many cases; nothing is read.

    Raises:
        ValueError: As ``split_cases`` does.
    """
    split, validation = _split(collections, preparation)
    lines = []
    for collection in collections:
        names = [case.identifier for case in collection.labelled]
        lines.append(
            Supervision(
                collection.name,
                collection.task.organ,
                collection.task.tumour,
                train=sum(split[name] == "train" for name in names),
                validation=sum(name in validation for name in names),
                test=sum(split[name] == "test" for name in names),
                unlabelled=len(collection.cases) - len(names),
                folder=f"{collection.folder}",
            )
        )
    return tuple(lines)


def prepare(
    collections: Sequence[Collection],
    folder: str | os.PathLike[str],
    preparation: Preparation | None = None,
    *,
    workers: int = 0,
    on_case: OnCase | None = None,
) -> PreparedSet:
    """Prepare every labelled case of some collections.

    Killed at any moment and run again, it goes on where it stopped and ends with the same bytes as
    an uninterrupted run, for any number of workers. Further collections may be added later. A case
    that cannot be prepared is set aside with its reason, and tried again by the next run.

    Args:
        collections: What ``sources.find_collections`` found.
        folder: Where to write; new, empty, or of an earlier run with the same ``preparation``.
        preparation: Contract, split and seed; the paper's by default.
        workers: Processes; 0 or 1 works in this one. They are started afresh, so a script's own
            code must stand under ``if __name__ == "__main__"``.
        on_case: Told of every case.

    Raises:
        ValueError: If there is no labelled case, or the folder holds something else, or was
            prepared otherwise, or is being written by another process.
        RuntimeError: If a worker died.
    """
    preparation = preparation or Preparation()
    folder = Path(folder)
    planned = _plan(collections, preparation, folder)
    settings = json.loads(json.dumps(dataclasses.asdict(preparation)))
    tasks = tuple(collection.task for collection in collections)
    check_folder(folder, settings, tasks, {job.identifier for job, _, _ in planned})
    folder.mkdir(parents=True, exist_ok=True)
    prepared = PreparedSet(folder, preparation.contract, tasks, ())
    with alone(folder):
        sweep(folder)
        outcomes = {job.identifier: prepared_before(job) for job, _, _ in planned}
        missing = [job for job, _, _ in planned if outcomes[job.identifier] is None]
        if missing:
            write_index(prepared, settings, complete=False)
            (folder / "cases").mkdir(exist_ok=True)
        reasons = _work(missing, outcomes, workers, on_case)
        prepared = dataclasses.replace(
            prepared,
            records=tuple(
                dataclasses.replace(record, split=split, fold=fold)
                for job, split, fold in planned
                if (record := outcomes[job.identifier]) is not None
            ),
            set_aside=tuple(
                SetAside(job.identifier, job.collection, reasons[job.identifier])
                for job, _, _ in planned
                if job.identifier in reasons
            ),
        )
        sweep(folder)
        write_index(prepared, settings)
    return prepared


def _split(
    collections: Sequence[Collection], preparation: Preparation
) -> tuple[dict[str, Split], frozenset[str]]:
    split = split_cases(collections, preparation.split, preparation.seed)
    return split, validation_cases(collections, split, seed=preparation.seed)


def _plan(
    collections: Sequence[Collection], preparation: Preparation, folder: Path
) -> list[tuple[Job, Split, Fold | None]]:
    """List the labelled cases with their part of the split and their fold."""
    split, validation = _split(collections, preparation)
    planned: list[tuple[Job, Split, Fold | None]] = []
    for collection in collections:
        for case in collection.labelled:
            name = case.identifier
            if not re.fullmatch(r"\w[\w.+ -]*", name):
                raise UserError(
                    f"{case.image}: {name!r} cannot be a folder's name; rename the case"
                )
            fold: Fold | None = None
            if split[name] == "train":
                fold = "validation" if name in validation else "train"
            paths = (collection.folder, case.image, Path(case.label or ""))
            job = Job(
                *(name, collection.name, collection.task, *paths),
                contract=preparation.contract,
                prepared=folder,
            )
            planned.append((job, split[name], fold))
    if not planned:
        raise UserError("there is no labelled case to prepare; name collections with label maps")
    return planned


def _work(
    missing: list[Job],
    outcomes: dict[str, CaseRecord | None],
    workers: int,
    on_case: OnCase | None,
) -> dict[str, str]:
    """Prepare what is missing into ``outcomes``; return the reasons of those set aside."""
    reasons: dict[str, str] = {}
    done = len(outcomes) - len(missing)
    if on_case is not None and done:
        on_case(done, len(outcomes), "", "")
    for job, outcome in _outcomes(missing, workers):
        done += 1
        outcomes[job.identifier] = outcome.record
        if outcome.record is None:
            reasons[job.identifier] = outcome.reason
        for message in outcome.warnings:
            warnings.warn(f"{job.identifier}: {message}", stacklevel=3)
        if on_case is not None:
            on_case(done, len(outcomes), job.identifier, outcome.reason)
    return reasons


def _outcomes(jobs: list[Job], workers: int) -> Iterator[tuple[Job, Outcome]]:
    """Prepare cases, in the order in which they come to an end."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job, prepare_case(job)
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=context, initializer=end_with_parent
    ) as pool:
        running = {pool.submit(prepare_case, job): job for job in jobs}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool:
            raise RuntimeError(
                "a worker process died, perhaps for lack of memory; run the same command with "
                "fewer workers, it goes on where it stopped"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
