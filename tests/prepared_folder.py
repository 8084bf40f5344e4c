"""A small prepared folder of noise with boxes in it, for tests of what reads such folders."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import Case
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.store import (
    PREPARING_VERSION,
    CaseRecord,
    PreparedSet,
    Provenance,
    case_folder,
    write_index,
    write_record,
)
from mots_pretrained.data.stored_case import write_case
from mots_pretrained.tasks import MOTS_TASKS, Task

_AFFINE = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
_SOURCE = Provenance(
    *(("a",), ("b",), "0", "1", (1, 2), (3, 4), "5", (1, 1, 1), (1.0, 1.0, 1.0), "RAS", _AFFINE)
)


def write_prepared(
    folder: Path,
    contract: Preprocessing,
    counts: dict[str, int],
    *,
    tasks: tuple[Task, ...] = MOTS_TASKS,
    shape: tuple[int, int, int] = (34, 40, 36),
) -> PreparedSet:
    """Write so many cases a task: the last tests, the last but one validates, others train."""
    tasks = tuple(task for task in tasks if counts.get(task.name))
    records: list[CaseRecord] = []
    for task in tasks:
        for number in range(counts.get(task.name, 0)):
            rng = np.random.default_rng([len(records), 7])
            image = rng.uniform(-1, 0, (1, *shape)).astype(np.float32)
            target = np.zeros((2, *shape), np.uint8)
            for channel, known in enumerate(task.labelled):
                box = (channel, *(slice(8 + 4 * channel, 28 - 4 * channel) for _ in range(3)))
                target[box] = known
            image[0] += target.sum(0) * 0.5
            case = Case(image, target, task.labelled, (0,), f"{task.name}_{number}")
            place = case_folder(folder, case.name)
            place.mkdir(parents=True)
            step, classes = write_case(place, case)
            source = replace(_SOURCE, content_hash=sha256(case.name.encode()).hexdigest())
            record = CaseRecord(
                *(case.name, task.name, task.name, contract, Targets.of_task(task)),
                *(PREPARING_VERSION, shape, contract.spacing),
                *(task.labelled, step, classes, source),
            )
            write_record(place, record)
            left = counts[task.name] - number
            records.append(
                replace(record, split="test", fold=None)
                if left == 1
                else replace(record, split="train", fold="validation" if left == 2 else "train")
            )
    prepared = PreparedSet(folder, contract, tasks, tuple(records))
    write_index(prepared, {})
    return prepared
