"""From original scans to one prepared folder, resumably and in parallel (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts import Collection
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.prepare_case import Job, Outcome, prepare_case, prepared_before
from mots_pretrained.data.ray_workers import work_off_by_ray
from mots_pretrained.data.split import Split, split_cases, validation_cases
from mots_pretrained.data.store import (
    CaseRecord,
    DamagedError,
    Fold,
    PreparedSet,
    SetAside,
    read_index,
    same_contract,
    write_index,
)
from mots_pretrained.data.workers import work_off
from mots_pretrained.errors import UserError
from mots_pretrained.files import RUN_LOG, locked, remove_drafts
from mots_pretrained.parse import from_dict
from mots_pretrained.tasks import Task

Part = tuple[Split, Fold | None]
"""Split of a case, and its fold of the training split."""

OnCase = Callable[[int, int, str, str], None]
"""Callback that receives how many cases are done, of how many, the last one's identifier, and why
it was set aside (empty if it was not). What it raises ends the run, which can be taken up again."""


@dataclass(frozen=True)
class Preparation:
    """What a rerun on the same folder must agree with.

    Attributes:
        contract: What the cases are brought to.
        split: ``"published"``, ``"seeded"`` or ``"all-test"``.
        seed: Random seed for the seeded split and the validation fold.
    """

    contract: Preprocessing = field(default_factory=Preprocessing)
    split: str = "published"
    seed: int = 0


def prepare(
    collections: Sequence[Collection],
    folder: str | os.PathLike[str],
    preparation: Preparation | None = None,
    *,
    workers: int = 0,
    engine: str = "local",
    on_case: OnCase | None = None,
) -> PreparedSet:
    """Prepare every labelled case of some collections for pretraining.

    Killed at any moment and run again, it goes on where it stopped and ends with the same bytes as
    an uninterrupted run, for any number of workers. Further collections may be added later. A case
    that cannot be prepared is set aside with its reason, and tried again by the next run.

    Args:
        collections: What ``layouts.find_collections`` found.
        folder: Where to write; new, empty, or of an earlier run with the same ``preparation``.
        preparation: Contract, split and seed; the paper's by default.
        workers: Processes; 0 or 1 works in this one. They are started afresh, so a script's own
            code must stand under ``if __name__ == "__main__"``.
        engine: ``"local"``, or ``"ray"``: a core a case on all machines of a Ray cluster.
        on_case: Callback after every case.

    Raises:
        UserError: If there is no labelled case, or the folder holds something else, or was
            prepared otherwise, or is being written by another process; or if a worker died.
    """
    preparation = preparation or Preparation()
    split = split_cases(collections, preparation.split, preparation.seed)
    validation = validation_cases(collections, split, seed=preparation.seed)
    jobs: list[Job] = []
    parts: dict[str, Part] = {}
    for collection in collections:
        task = collection.supervises
        for case in collection.labelled:
            fold: Fold | None = None
            if split[case.name] == "train":
                fold = "validation" if case.name in validation else "train"
            parts[case.name] = split[case.name], fold
            jobs.append(
                Job(
                    case,
                    *(collection.name, collection.folder, preparation.contract, Path(folder)),
                    targets=Targets.of_task(task),
                    task=task.name,
                )
            )
    tasks = tuple(collection.supervises for collection in collections)
    wanted = PreparedSet(Path(folder), preparation.contract, tasks)
    settings = dataclasses.asdict(preparation)
    return _fill(
        wanted, jobs, settings, parts=parts, workers=workers, engine=engine, on_case=on_case
    )


def prepare_folder(
    collection: Collection,
    folder: str | os.PathLike[str],
    contract: Preprocessing,
    targets: Targets | None = None,
    *,
    workers: int = 0,
    on_case: OnCase | None = None,
    replace: bool = False,
    is_ct: bool = False,
) -> PreparedSet:
    """Prepare one folder's cases with downstream classes, or scans without labels.

    As resumable as ``prepare``; a case is read only if its files, the contract, the targets or
    this package's way of preparing have changed.

    Args:
        collection: What ``layouts.find_labelled`` or ``find_bare`` found.
        folder: Where to write; new, empty, or of an earlier run.
        contract: What to bring the cases to.
        targets: What the label values become; None reads no labels.
        workers: As in ``prepare``.
        on_case: Callback after every case.
        replace: Prepare anew what the folder holds of another contract or other targets, and
            remove cases that are not the collection's, instead of refusing the folder.
        is_ct: Whether somebody has said that the scans are CT: one without air was clipped then,
            and is not warned of.

    Returns:
        The set, all of whose cases are of the split "train" and the fold "train". Cases that could
        not be prepared are in ``set_aside``.

    Raises:
        UserError: As ``prepare``, or if no label map holds anything but background.

    Warns:
        UserWarning: If no case holds a certain class.
    """
    jobs = folder_jobs(collection, folder, contract, targets)
    jobs = [dataclasses.replace(job, is_ct=is_ct) for job in jobs]
    wanted = PreparedSet(Path(folder), contract, targets=targets)
    settings = {
        "contract": dataclasses.asdict(contract),
        "targets": None if targets is None else dataclasses.asdict(targets),
    }
    prepared = _fill(wanted, jobs, settings, replace=replace, workers=workers, on_case=on_case)
    if targets is not None and prepared.records:
        _check_present(prepared, targets, collection.folder)
    return prepared


def folder_jobs(
    collection: Collection,
    folder: str | os.PathLike[str],
    contract: Preprocessing,
    targets: Targets | None = None,
) -> list[Job]:
    """Return what ``prepare_folder``, with these arguments, has to do: a job a case."""
    return [
        Job(
            *(case, collection.name, collection.folder, contract, Path(folder)),
            None if targets is None else targets.labelling(case.labelled),
        )
        for case in (collection.cases if targets is None else collection.labelled)
    ]


def _fill(
    wanted: PreparedSet,
    jobs: Sequence[Job],
    settings: Mapping[str, Any],
    *,
    parts: Mapping[str, Part] | None = None,
    replace: bool = False,
    workers: int,
    engine: str = "local",
    on_case: OnCase | None,
) -> PreparedSet:
    """Prepare what is missing of a set into its folder, and write its index."""
    if not jobs:
        raise UserError("there is no labelled case to prepare; name collections with label maps")
    names = Counter(job.files.name for job in jobs)
    if len(names) < len(jobs):
        raise UserError(f"two cases are called {names.most_common(1)[0][0]!r}; rename one of them")
    told = json.loads(json.dumps(settings))
    check_folder(wanted, told, jobs, replace=replace)
    folder = wanted.folder
    with locked(folder):
        _sweep(folder, {job.place.name for job in jobs} if replace else None)
        known = {job.files.name: prepared_before(job) for job in jobs}
        missing = [job for job in jobs if known[job.files.name] is None]
        if missing:
            write_index(wanted, told, complete=False)
            (folder / "cases").mkdir(exist_ok=True)
        again = ", it goes on where it stopped"
        if engine == "ray":
            outcomes = work_off_by_ray(prepare_case, missing)
        else:
            outcomes = work_off(prepare_case, missing, workers=workers, again=again)
        reasons = _work(outcomes, len(missing), known, on_case)
        records = []
        for job in jobs:
            record = known[job.files.name]
            if record is not None:
                split, fold = parts[job.files.name] if parts else ("train", "train")
                records.append(dataclasses.replace(record, split=split, fold=fold))
        aside = [
            SetAside(job.files.name, job.collection, reasons[job.files.name])
            for job in jobs
            if job.files.name in reasons
        ]
        prepared = dataclasses.replace(wanted, records=tuple(records), set_aside=tuple(aside))
        write_index(prepared, told)
    return prepared


def _work(
    outcomes: Iterator[tuple[Job, Outcome]],
    missing: int,
    known: dict[str, CaseRecord | None],
    on_case: OnCase | None,
) -> dict[str, str]:
    """Take what was missing into ``known``; return the reasons of those set aside."""
    reasons: dict[str, str] = {}
    done = len(known) - missing
    if on_case is not None and done:
        on_case(done, len(known), "", "")
    with closing(outcomes):  # type: ignore[type-var]  # on_case may end it, and the workers then
        for job, outcome in outcomes:
            done += 1
            name = job.files.name
            known[name] = outcome.record
            if outcome.record is None:
                reasons[name] = outcome.reason
            for message in outcome.warnings:
                warnings.warn(f"{name}: {message}", stacklevel=4)
            if on_case is not None:
                on_case(done, len(known), name, outcome.reason)
    return reasons


def check_folder(
    wanted: PreparedSet, settings: Mapping[str, Any], jobs: Sequence[Job], *, replace: bool
) -> None:
    """Refuse a folder that holds anything but an earlier run of this very preparation.

    Args:
        wanted: What is to be prepared; its folder need not be there, and an earlier run may have
            had fewer tasks.
        settings: What an earlier run must have been made with.
        jobs: The cases that the folder is to hold.
        replace: Whether another preparation may be replaced.

    Raises:
        UserError: If it is a file or holds something else; the message says what.
    """
    folder = wanted.folder
    if folder.is_file():
        raise UserError(f"{folder} is a file; give a folder to write into")
    if not (folder / "prepared.json").is_file():
        visible = [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]
        visible = [path for path in visible if path.name != RUN_LOG]
        if visible:
            raise UserError(
                f"{folder} holds {visible[0].name} and no prepared.json; give a new or empty folder"
            )
        return
    if replace:
        return
    where = f"{folder / 'prepared.json'}"
    try:
        index = read_index(folder)
    except DamagedError:  # each case has its own record, which is compared
        warnings.warn(f"{where} is damaged, and is written anew", stacklevel=3)
        return
    before = index["settings"]
    if not same_contract(from_dict(Preprocessing, index["contract"], where), wanted.contract):
        raise UserError(
            f"{folder} was prepared with {_contract_told(index['contract'])}, now it is to be "
            f"{_contract_told(settings['contract'])}; use the same, or another folder"
        )
    for name in {*before, *settings} - {"contract"}:
        if before.get(name) != settings.get(name):
            raise UserError(
                f"{folder} was prepared with {name} {before.get(name)!r}, now it is to be {name} "
                f"{settings.get(name)!r}; use the same, or another folder"
            )
    now = {task.name: task for task in wanted.tasks}
    for values in index["tasks"]:
        task = from_dict(Task, values, where)
        if now.get(task.name, task) != task:
            raise UserError(
                f"{folder} was prepared with other label values of {task.name}; give another folder"
            )
    there = {path.name for path in folder.glob("cases/[!.]*")}
    other = sorted(there - {job.place.name for job in jobs})
    if other:
        raise UserError(
            f"{folder} holds {len(other)} cases that the collections given do not, such as "
            f"{other[0]}; name these as well, or another folder"
        )


def _check_present(prepared: PreparedSet, targets: Targets, where: Path) -> None:
    """Refuse labels that are all background, and warn of classes that no case has."""
    exclusive = targets.form == "classes"
    present = {
        found.value - 1 if exclusive else found.channel
        for record in prepared.records
        for found in record.foreground
    }
    if not present:
        first = prepared.records[0].source.labels[0]
        raise UserError(
            f"{where / first} and all other label maps hold nothing of "
            f"{', '.join(targets.names)}; give labels, or name the values that they hold"
        )
    absent = [name for at, name in enumerate(targets.names) if at not in present]
    if absent:
        warnings.warn(
            f"no label map of {where} holds {', '.join(absent)}; it can't be learned", stacklevel=3
        )


def _sweep(folder: Path, kept: set[str] | None) -> None:
    """Remove what killed processes have left half-done, and, if names are given, other cases."""
    for path in folder.glob("cases/*"):
        if path.name.startswith(".") or (kept is not None and path.name not in kept):
            shutil.rmtree(path, ignore_errors=True)
    remove_drafts(folder)


def _contract_told(contract: Mapping[str, Any]) -> str:
    spacing, clip = contract.get("spacing"), contract.get("clip")
    return f"a contract of {spacing} mm, clip {clip}, channels {contract.get('channels')}"
