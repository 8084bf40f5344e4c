"""Prepared cases on disk: what the folder says of itself, and its cases by split and task.

A prepared folder holds ``prepared.json`` (contract, tasks, one record a case, cases set aside) and
``cases/IDENTIFIER/`` with ``image.b2nd``, ``target.b2nd``, ``foreground.npy`` and ``case.json``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.patches import Case
from mots_pretrained.data.stored_case import Foreground, StoredCase
from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.parse import from_dict
from mots_pretrained.tasks import Task

FORMAT_VERSION = 1
"""Version of prepared.json that this package writes, and the newest that it reads."""

Size = tuple[int, int, int]
Split = Literal["train", "test"]
Fold = Literal["train", "validation"]


@dataclass(frozen=True)
class Provenance:
    """Where a case comes from.

    Attributes:
        image: The scan's file, relative to its collection's folder.
        label: The label map's file, likewise.
        image_sha256: Checksum of the scan's file.
        label_sha256: Checksum of the label map's file.
        image_bytes: Size of the scan's file.
        label_bytes: Size of the label map's file.
        content_hash: Of the scan's voxels and grid, whatever the file's packing.
        shape: Voxels along the file's own three axes.
        spacing: Millimetres along the file's own axes.
        orientation: What the file's axes run towards, e.g. ``"LPS"``.
        affine: ``(4, 4)``, from the file's voxels to world millimetres (RAS+).
    """

    image: str
    label: str
    image_sha256: str
    label_sha256: str
    image_bytes: int
    label_bytes: int
    content_hash: str
    shape: Size
    spacing: tuple[float, float, float]
    orientation: str
    affine: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class CaseRecord:
    """What a prepared set says of one case.

    Attributes:
        identifier: The collection's own name of it, and that of its folder.
        collection: Name of the collection it belongs to.
        task: Name of the task that the collection supervises.
        shape: Voxels along (D, H, W).
        spacing: Millimetres along (D, H, W): the contract's, to within a part of a voxel.
        labelled: Which target channels (organ, tumour) the collection annotates.
        step: What the stored whole numbers of the image are multiplied by.
        foreground: The classes present, in the order of ``Case.foreground``.
        source: Where it comes from.
        split: ``"train"`` or ``"test"``.
        fold: Of a training case ``"train"`` or ``"validation"``; None of a test case.
    """

    identifier: str
    collection: str
    task: str
    shape: Size
    spacing: tuple[float, float, float]
    labelled: tuple[bool, ...]
    step: float
    foreground: tuple[Foreground, ...]
    source: Provenance
    split: Split = "train"
    fold: Fold | None = None


@dataclass(frozen=True)
class SetAside:
    """A case that could not be prepared, and why."""

    identifier: str
    collection: str
    reason: str


@dataclass(frozen=True)
class PreparedSet:
    """A folder that ``mots prepare`` has written.

    Attributes:
        folder: Where it lies.
        contract: The preprocessing that its cases have gone through.
        tasks: What its collections supervise, in the order of Table 1, then others.
        records: Its cases.
        set_aside: The cases that could not be prepared.

    Example:
        >>> prepared = PreparedSet.open("prepared")  # doctest: +SKIP
        >>> prepared.case(prepared.select(split="train", task="liver")[0])  # doctest: +SKIP
    """

    folder: Path
    contract: Preprocessing
    tasks: tuple[Task, ...]
    records: tuple[CaseRecord, ...]
    set_aside: tuple[SetAside, ...] = ()

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> PreparedSet:
        """Open a prepared folder; no voxel is read.

        Raises:
            FileNotFoundError: If the folder is none that ``mots prepare`` has written.
            ValueError: If its preparation has not ended, or its ``prepared.json`` is damaged or
                of a newer version.
        """
        content = read_index(Path(folder))
        if not content["complete"]:
            raise UserError(
                f"{folder} is only partly prepared; run the same mots prepare command again, "
                "which goes on where it stopped"
            )
        where = f"{Path(folder) / 'prepared.json'}"
        return cls(
            Path(folder),
            from_dict(Preprocessing, content["contract"], where),
            tuple(from_dict(Task, task, where) for task in content["tasks"]),
            tuple(from_dict(CaseRecord, record, where) for record in content["records"]),
            tuple(from_dict(SetAside, case, where) for case in content["set_aside"]),
        )

    @staticmethod
    def hashes(records: Iterable[CaseRecord]) -> dict[str, str]:
        """Return ``collection/identifier`` by the hash of the scan's voxels, for each record."""
        return {r.source.content_hash: f"{r.collection}/{r.identifier}" for r in records}

    def select(
        self, *, split: Split | None = None, fold: Fold | None = None, task: str | None = None
    ) -> tuple[CaseRecord, ...]:
        """Return the records of a split, a fold of the training split, or a task.

        Raises:
            KeyError: If no collection of the set supervises that task.
        """
        if task is not None and task not in [known.name for known in self.tasks]:
            known = ", ".join(known.name for known in self.tasks)
            raise UnknownNameError(f"no case of task {task!r} in {self.folder}; it has: {known}")
        return tuple(
            record
            for record in self.records
            if (split is None or record.split == split)
            and (fold is None or record.fold == fold)
            and (task is None or record.task == task)
        )

    def case(self, record: CaseRecord, *, tasks: tuple[Task, ...] | None = None) -> Case:
        """Return a case whose voxels are read where they are asked for, patch by patch.

        It is small, and may be sent to other processes.

        Args:
            record: One of the set's records.
            tasks: The model's tasks, in which the case's is looked up; the set's by default.

        Raises:
            KeyError: If the case's task is none of these.
        """
        names = [task.name for task in (self.tasks if tasks is None else tasks)]
        if record.task not in names:
            raise UnknownNameError(
                f"{record.identifier} is of task {record.task!r}; known are {', '.join(names)}"
            )
        return StoredCase.at(
            case_folder(self.folder, record.identifier),
            channels=len(self.contract.channels),
            shape=record.shape,
            labelled=record.labelled,
            tasks=(names.index(record.task),),
            step=record.step,
            classes=record.foreground,
        )

    def read(self, record: CaseRecord, *, tasks: tuple[Task, ...] | None = None) -> Case:
        """Return a case with its whole arrays in memory; arguments as in ``case``."""
        case = self.case(record, tasks=tasks)
        return Case(case.image[:], case.target[:], case.labelled, case.tasks, case.name)


def case_folder(folder: Path, identifier: str) -> Path:
    """Return where a prepared folder keeps a case."""
    return folder / "cases" / identifier


def write_record(folder: Path, record: CaseRecord) -> None:
    """Write a case's ``case.json``: all that does not depend on the other cases."""
    values = dataclasses.asdict(record)
    del values["split"], values["fold"]
    (folder / "case.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_record(folder: Path) -> CaseRecord:
    """Read a case's ``case.json``; its split and fold are the defaults."""
    path = folder / "case.json"
    return from_dict(CaseRecord, json.loads(path.read_text(encoding="utf-8")), f"{path}")


def read_index(folder: Path) -> dict[str, Any]:
    """Read ``prepared.json``, whether its preparation has ended or not.

    Raises:
        FileNotFoundError: If the folder is none that ``mots prepare`` has written.
        ValueError: If the file is damaged or of a newer version.
    """
    path = folder / "prepared.json"
    if not path.is_file():
        raise MissingFileError(
            f"{folder} is no prepared folder (it has no prepared.json); make one with: "
            "mots prepare -i ROOT -o DIR"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error})") from None
    missing = sorted(_INDEX - set(content)) if isinstance(content, dict) else sorted(_INDEX)
    if missing:
        raise UserError(f"{path} lacks {missing[0]!r}: it is none that mots prepare has written")
    version = content["format_version"]
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format_version {version}, this package reads up to {FORMAT_VERSION}; "
            "upgrade with: pip install -U mots_pretrained"
        )
    return content


def write_index(prepared: PreparedSet, settings: dict[str, Any], *, complete: bool = True) -> None:
    """Write ``prepared.json``; it appears whole or not at all.

    Args:
        prepared: What the folder holds.
        settings: What a rerun on the same folder must agree with.
        complete: Whether every case was seen to.
    """
    values = dataclasses.asdict(prepared)
    del values["folder"]
    content = {
        "format_version": FORMAT_VERSION,
        "complete": complete,
        "settings": settings,
        **values,
    }
    temporary = prepared.folder / ".prepared.json"
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, prepared.folder / "prepared.json")


_INDEX = {
    *("format_version", "complete", "settings"),
    *("contract", "tasks", "records", "set_aside"),
}
