"""The store of prepared cases, from which pretraining, fine-tuning and BYOL-3D train.

``PreparedSet.open(folder)`` opens what ``data.prepare`` has written: ``prepare`` the collections of
MOTS, ``prepare_folder`` one folder of scans with downstream classes or without labels. ``select``
gives records by split, fold and task, ``case`` a case that is read by slices, ``read`` one in
memory. Every image is stored in the same 16-bit form.

A prepared folder holds ``prepared.json`` (contract, tasks or targets, one record a case, cases set
aside) and ``cases/NAME/`` with ``image.b2nd``, ``target.b2nd``, ``foreground.npy``, ``case.json``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mots_pretrained import files
from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import Case
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.split import Split
from mots_pretrained.data.stored_case import Foreground, StoredCase
from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.parse import from_dict, read_json
from mots_pretrained.shapes import Size
from mots_pretrained.tasks import Task

FORMAT_VERSION = 2
"""Version of prepared.json that this package writes and reads."""

PREPARING_VERSION = 4
"""Raised whenever the same files would give other arrays: cases of another one are made anew."""

Fold = Literal["train", "validation"]

_CONTRACT = ("spacing", "orientation", "intensity", "clip", "channels")  # what preparing depends on


@dataclass(frozen=True)
class Provenance:
    """Where a case comes from.

    Attributes:
        images: The scan's files, one or one a channel, relative to its collection's folder.
        labels: The label map's file, or the masks', likewise; empty without labels.
        image_sha256: Checksum of the scan's file, or of its files one after the other.
        label_sha256: Likewise of the label map or the masks; "" without labels.
        bytes: Size of each file, images first.
        mtimes_ns: When each file was last changed, nanoseconds. Files of the same size and time
            are taken for the same; else the checksums tell.
        content_hash: Hash of the scan's voxels, whatever the file's packing.
        shape: Voxels along the file's own three axes.
        spacing: Millimetres along the file's own axes.
        orientation: What the file's axes run towards, e.g. ``"LPS"``.
        affine: ``(4, 4)``, from the file's voxels to world millimetres (RAS+).
    """

    images: tuple[str, ...]
    labels: tuple[str, ...]
    image_sha256: str
    label_sha256: str
    bytes: tuple[int, ...]
    mtimes_ns: tuple[int, ...]
    content_hash: str
    shape: Size
    spacing: tuple[float, float, float]
    orientation: str
    affine: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class CaseRecord:
    """What a prepared set says of one case.

    Attributes:
        identifier: The case's own name.
        collection: Name of the collection it belongs to.
        task: Name of the task that the collection supervises; "" where it is none of MOTS's kind.
        contract: What the case was brought to.
        targets: What its label values became; None without labels.
        version: ``PREPARING_VERSION`` of the code that made it.
        shape: Voxels along (D, H, W).
        spacing: Millimetres along (D, H, W): the contract's, to within a part of a voxel.
        labelled: Which target channels or classes are annotated, as of ``Case``; empty without
            labels.
        step: What the stored whole numbers of the image are multiplied by.
        foreground: The classes present, in the order of ``Case.foreground``.
        source: Where it comes from.
        sums: CRC-32 of the case's own files, by which damage is found; empty if they were written
            before there were any.
        split: ``"train"`` or ``"test"``.
        fold: ``"train"`` or ``"validation"`` for a training case; None for a test case.
    """

    identifier: str
    collection: str
    task: str
    contract: Preprocessing
    targets: Targets | None
    version: int
    shape: Size
    spacing: tuple[float, float, float]
    labelled: tuple[bool, ...]
    step: float
    foreground: tuple[Foreground, ...]
    source: Provenance
    sums: tuple[int, ...] = ()
    split: Split = "train"
    fold: Fold | None = None


class DamagedError(UserError):
    """A record of the store is not as it was written."""


@dataclass(frozen=True)
class SetAside:
    """A case that could not be prepared, and why."""

    identifier: str
    collection: str
    reason: str


@dataclass(frozen=True)
class PreparedSet:
    """A folder of prepared cases.

    Attributes:
        folder: Where it lies.
        contract: The preprocessing that its cases have gone through.
        tasks: What its collections supervise, in the order of Table 1, then others; empty where
            it was prepared for downstream classes, or from scans without labels.
        records: Its cases.
        set_aside: The cases that could not be prepared.
        targets: The downstream classes; None where there are none.

    Example:
        >>> prepared = PreparedSet.open("prepared")  # doctest: +SKIP
        >>> prepared.case(prepared.select(split="train", task="liver")[0])  # doctest: +SKIP
    """

    folder: Path
    contract: Preprocessing
    tasks: tuple[Task, ...] = ()
    records: tuple[CaseRecord, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    targets: Targets | None = None

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> PreparedSet:
        """Open a prepared folder; no voxel is read.

        Raises:
            MissingFileError: If the folder is none that was prepared.
            UserError: If its preparation has not ended, or its ``prepared.json`` is damaged or
                of another version.
        """
        content = read_index(Path(folder))
        if content["format_version"] < FORMAT_VERSION:
            raise UserError(
                f"{folder} was prepared by an older version of this package; run the same mots "
                "prepare command again, which prepares it anew"
            )
        if not content["complete"]:
            raise UserError(
                f"{folder} is only partly prepared; run the same mots prepare command again, "
                "which goes on where it stopped"
            )
        where, targets = f"{Path(folder) / 'prepared.json'}", content.get("targets")
        return cls(
            Path(folder),
            from_dict(Preprocessing, content["contract"], where),
            tuple(from_dict(Task, task, where) for task in content["tasks"]),
            tuple(from_dict(CaseRecord, record, where) for record in content["records"]),
            tuple(from_dict(SetAside, case, where) for case in content["set_aside"]),
            None if targets is None else from_dict(Targets, targets, where),
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
            UnknownNameError: If no collection of the set supervises that task.
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

    def named(self, names: Iterable[str]) -> tuple[CaseRecord, ...]:
        """Return the records of these identifiers, in their order.

        Raises:
            UnknownNameError: If there is none of a name.
        """
        by_name = {record.identifier: record for record in self.records}
        for name in (names := tuple(names)):
            if name not in by_name:
                raise UnknownNameError(
                    f"no case {name!r} in {self.folder}; there are {', '.join(sorted(by_name))}"
                )
        return tuple(by_name[name] for name in names)

    def check_contract(self, contract: Preprocessing) -> None:
        """Refuse a network for which the cases were not prepared.

        Patch and window are the network's own; nothing prepared depends on them.

        Raises:
            UserError: If the contracts differ in anything else.
        """
        for name in _CONTRACT:
            there, here = getattr(self.contract, name), getattr(contract, name)
            if there != here:
                raise UserError(
                    f"{self.folder} was prepared with {name} {there}, the model expects {here}; "
                    "prepare it anew with: mots prepare --contract and the model's name"
                )

    def case(self, record: CaseRecord, *, tasks: tuple[Task, ...] | None = None) -> Case:
        """Return a case whose voxels are read where they are asked for, patch by patch.

        It is small, and may be sent to other processes.

        Args:
            record: One of the set's records.
            tasks: The model's tasks, in which the case's is looked up; the set's by default.

        Raises:
            UnknownNameError: If the case's task is none of these.
        """
        names = [task.name for task in (self.tasks if tasks is None else tasks)]
        if record.task and record.task not in names:
            raise UnknownNameError(
                f"{record.identifier} is of task {record.task!r}; known are {', '.join(names)}"
            )
        return StoredCase.at(
            case_folder(self.folder, record.identifier),
            name=record.identifier,
            channels=len(self.contract.channels),
            shape=record.shape,
            labelled=record.labelled,
            tasks=(names.index(record.task),) if record.task else (),
            step=record.step,
            classes=record.foreground,
            targets=1 if record.targets and record.targets.form == "classes" else None,
            sums=record.sums,
        )

    def read(self, record: CaseRecord, *, tasks: tuple[Task, ...] | None = None) -> Case:
        """Return a case with its whole arrays in memory; arguments as in ``case``."""
        case = self.case(record, tasks=tasks)
        return Case(case.image[:], case.target[:], case.labelled, case.tasks, case.name)


def same_contract(one: Preprocessing, other: Preprocessing) -> bool:
    """Tell whether two contracts give the same prepared arrays; patch and window may differ."""
    return all(getattr(one, name) == getattr(other, name) for name in _CONTRACT)


def case_folder(folder: Path, identifier: str) -> Path:
    """Return where a prepared folder keeps a case; no two identifiers share a place.

    Example:
        >>> case_folder(Path("p"), "site 1/ct").as_posix()
        'p/cases/site 1%2Fct'
    """
    name = re.sub(r"[^\w.+ -]|^\.|[. ]$", lambda match: f"%{ord(match[0]):02X}", identifier)
    if len(name.encode()) > 180:  # file systems take 255 bytes
        name = f"{name.encode()[:100].decode(errors='ignore')}%{_digest(identifier)}"
    return folder / "cases" / name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def write_record(folder: Path, record: CaseRecord) -> None:
    """Write a case's ``case.json``: all that does not depend on the other cases."""
    values = dataclasses.asdict(record)
    del values["split"], values["fold"]
    files.write_json(folder / "case.json", _sealed(values), indent=1)


def read_record(folder: Path) -> CaseRecord:
    """Read a case's ``case.json``; its split and fold are the defaults.

    Raises:
        UserError: If it is damaged.
        OSError: If it is not there.
    """
    path = folder / "case.json"
    return from_dict(CaseRecord, _unsealed(path), f"{path}")


def _sealed(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with a checksum of all of them."""
    return {**values, _SEAL: _sum_of(values)}


def _unsealed(path: Path) -> Any:
    """Read values that were sealed; those of earlier versions are not.

    Raises:
        DamagedError: If the file is damaged.
    """
    try:
        content = read_json(path)
    except UserError as error:
        raise DamagedError(f"{error}; run the same command that prepared it again") from None
    if isinstance(content, dict) and _SEAL in content and content.pop(_SEAL) != _sum_of(content):
        raise DamagedError(
            f"{path} is damaged: its content has not the checksum that it names; run the same "
            "command that prepared it again"
        )
    return content


def _sum_of(values: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


_SEAL = "crc32"


def read_index(folder: Path) -> dict[str, Any]:
    """Read ``prepared.json``, whether its preparation has ended or not.

    Raises:
        MissingFileError: If the folder is none that was prepared.
        UserError: If the file is damaged or of a newer version.
    """
    path = folder / "prepared.json"
    if not path.is_file():
        raise MissingFileError(
            f"{folder} is no prepared folder (it has no prepared.json); make one with: "
            "mots prepare -i ROOT -o DIR"
        )
    content = _unsealed(path)
    missing = sorted(_INDEX - set(content)) if isinstance(content, dict) else sorted(_INDEX)
    if missing:
        raise DamagedError(f"{path} lacks {missing[0]!r}: it is none that mots prepare has written")
    version = content["format_version"]
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format_version {version}, this package reads up to {FORMAT_VERSION}; "
            "upgrade with: pip install -U mots_pretrained"
        )
    for name in ("tasks", "records", "set_aside"):
        if not isinstance(content[name], list):
            raise UserError(f"{path}: {name} must be a list, not {content[name]!r:.80}")
    return dict(content)


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
    files.write_json(prepared.folder / "prepared.json", _sealed(content), indent=1)


_INDEX = {
    *("format_version", "complete", "settings"),
    *("contract", "tasks", "records", "set_aside"),
}
