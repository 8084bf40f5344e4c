"""Phantoms on disk, in the public collections' layouts, headers and label values (Table 1)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.files import write_bytes, write_json
from mots_pretrained.images.scan_files import visible_files
from mots_pretrained.phantom.brain import brain
from mots_pretrained.phantom.labels import LABEL, TORSO_LABELS, task_target
from mots_pretrained.phantom.layouts import (
    APPLE_DOUBLE,
    DECATHLON,
    Header,
    Layout,
    bcv_layout,
    mots_layout,
    write_dataset_json,
    write_scan,
)
from mots_pretrained.phantom.torso import Phantom, Triple, torso
from mots_pretrained.tasks import BCV_ORGANS, BRATS_MODALITIES, MOTS_TASKS, Task, task_named

if TYPE_CHECKING:
    from mots_pretrained.shapes import Size

KINDS: tuple[str, ...] = ("mots", "bcv", "brats")
"""What can be written: the seven collections of MOTS, BCV, or BraTS 2018."""

SMALL: Size = (48, 64, 64)
"""A shape for tests and demonstrations."""

BRAIN_LABELS: dict[int, str] = {1: "necrotic_core", 2: "oedema", 4: "enhancing_tumour"}
"""Names of a brain's label values, which are BraTS's own."""

OnCase = Callable[[str, int, int], None]
"""Callback that receives a case's identifier, its number from 1 on, and how many there are."""


@dataclass(frozen=True)
class WrittenCase:
    """A case on disk; paths are relative to the root.

    Attributes:
        identifier: The collection's own, e.g. ``"case_00003"``.
        task: Task of Table 1 that it belongs to, or ``"bcv"`` or ``"brats"``.
        images: The scan, or the channels in the model's order.
        label: The collection's own label map; None where it gives none.
        complete: The complete label map.
    """

    identifier: str
    task: str
    images: tuple[str, ...]
    label: str | None
    complete: str


@dataclass(frozen=True)
class _Wish:
    root: Path
    seed: int
    shape: Size | None
    spacing: Triple | None


def write_collection(
    kind: str,
    root: str | os.PathLike[str],
    *,
    cases: int,
    seed: int = 0,
    shape: Size | None = None,
    spacing: Triple | None = None,
    progress: OnCase | None = None,
) -> list[WrittenCase]:
    """Write look-alikes of public collections, and the complete truth beside them.

    ``ROOT/complete_labels`` holds every case's complete label map on the scan's own grid,
    ``labels.json`` (value to name) and ``cases.json`` (which file belongs to which). A rerun with
    the same arguments writes the same voxels again, and one with more cases adds to them; no file
    is ever half-written.

    Args:
        kind: One of :data:`KINDS`.
        root: Folder to write into; made where missing.
        cases: Labelled cases a collection; the Decathlon's have one unlabelled scan more.
        seed: Any non-negative integer.
        shape: Voxels ``(D, H, W)``; 96 x 128 x 128 for torsos, BraTS's grid for brains.
        spacing: Millimetres ``(D, H, W)``, torsos only; by default what the scan's range needs.
        progress: Called as ``progress(identifier, done, total)`` after every case.

    Raises:
        KeyError: If there is no such kind.
        UserError: If cases, seed, shape or spacing are impossible, the root is a file, or its
            collections hold other files, such as those of an earlier call with more cases.
    """
    folder = _checked_root(kind, root, cases, seed, spacing)
    _check_nothing_else(kind, folder, cases)
    wish = _Wish(folder, seed, shape, spacing)
    jobs: list[Callable[[], WrittenCase]]
    if kind == "mots":
        jobs = [
            partial(_mots_case, wish, task, index, labelled=labelled)
            for task, index, labelled in _mots_numbers(cases)
        ]
    else:
        jobs = [partial(_bcv_case if kind == "bcv" else _brats_case, wish, i) for i in range(cases)]
    written = []
    for job in jobs:
        written.append(job())
        if progress is not None:
            progress(written[-1].identifier, len(written), len(jobs))
    _write_lists(kind, folder, written, cases)
    return written


def _checked_root(
    kind: str, root: str | os.PathLike[str], cases: int, seed: int, spacing: Triple | None
) -> Path:
    if kind not in KINDS:
        raise UnknownNameError(f"unknown kind of phantoms {kind!r}; there are: {', '.join(KINDS)}")
    if cases < 1:
        raise UserError(f"the number of cases is at least 1, not {cases}")
    if seed < 0:
        raise UserError(f"a seed is a non-negative integer, not {seed}")
    if spacing is not None and kind == "brats":
        raise UserError("BraTS's field of view is fixed: give brains a shape, no spacing")
    folder = Path(root)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder to write into")
    return folder


def _check_nothing_else(kind: str, root: Path, cases: int) -> None:
    """Refuse collections with files beside those to be written, which would count as theirs."""
    planned = _planned(kind, cases)
    own = {"complete_labels/labels.json", "complete_labels/cases.json"}
    if kind == "mots":
        own |= {f"{source.folder}/dataset.json" for source in DECATHLON.values()}
    for case in planned:
        own |= {*case.images, case.complete, case.label or case.complete}
    folders = {file.partition("/")[0] for file in own}
    for path in visible_files(root):
        there = path.relative_to(root).as_posix()
        if there.partition("/")[0] in folders and there not in own:
            raise UserError(
                f"{root} holds {there}, which is none of these {len(planned)} phantoms; give "
                "another folder, or remove it and what else is left of earlier ones"
            )


def _planned(kind: str, cases: int) -> list[WrittenCase]:
    if kind == "brats":
        return [_brats_files(index) for index in range(cases)]
    if kind == "bcv":
        return [_torso_files("bcv", bcv_layout(index), labelled=True) for index in range(cases)]
    return [
        _torso_files(task.name, mots_layout(task.name, i, labelled=labelled), labelled=labelled)
        for task, i, labelled in _mots_numbers(cases)
    ]


def _mots_numbers(cases: int) -> list[tuple[Task, int, bool]]:
    """Each task's cases by number, and whether they are labelled; imagesTs holds one more."""
    counts = [(task, cases + (task.name in DECATHLON)) for task in MOTS_TASKS]
    return [(task, index, index < cases) for task, count in counts for index in range(count)]


def _mots_case(wish: _Wish, task: Task, index: int, *, labelled: bool) -> WrittenCase:
    phantom = torso(
        _case_seed(wish.seed, task.name, index),
        domain=task.name,
        shape=wish.shape,
        spacing=wish.spacing,
    )
    layout = mots_layout(task.name, index, labelled=labelled)
    if task.name in DECATHLON:
        scan = wish.root / layout.image
        scan.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(scan.with_name(f"._{scan.name}"), APPLE_DOUBLE)
    label = source_label(phantom.labels, task) if labelled else None
    return _write_torso(wish.root, task.name, layout, phantom, label)


def _bcv_case(wish: _Wish, index: int) -> WrittenCase:
    phantom = torso(
        _case_seed(wish.seed, "bcv", index),
        # BCV's scans are portal venous, of patients with and without lesions.
        domain=("liver", "spleen", "pancreas")[index % 3],
        phase="portal",
        shape=wish.shape,
        spacing=wish.spacing,
    )
    return _write_torso(wish.root, "bcv", bcv_layout(index), phantom, bcv_label(phantom.labels))


def _brats_case(wish: _Wish, index: int) -> WrittenCase:
    grade = _grade(index)
    seed = _case_seed(wish.seed, "brats", index)
    phantom = brain(seed, grade=grade, shape=wish.shape) if wish.shape else brain(seed, grade=grade)
    case, header = _brats_files(index), Header("LPS", sform=1, qform=0)
    files = [(case.complete, phantom.labels, "uint8"), (case.label, phantom.labels, "uint8")]
    files += [
        (path, channel, "int16") for path, channel in zip(case.images, phantom.images, strict=True)
    ]
    for path, array, dtype in files:
        write_scan(wish.root / str(path), array, phantom.spacing, header=header, dtype=dtype)
    return case


def _brats_files(index: int) -> WrittenCase:
    grade, name = _grade(index), f"Brats18_Phantom_{index + 1:03d}_1"
    images = tuple(f"{grade}/{name}/{name}_{modality}.nii.gz" for modality in BRATS_MODALITIES)
    label, complete = f"{grade}/{name}/{name}_seg.nii.gz", f"complete_labels/{name}.nii.gz"
    return WrittenCase(name, "brats", images, label, complete)


def _grade(index: int) -> Literal["HGG", "LGG"]:
    """About three in four are of high grade; from two cases on there are both grades."""
    return "LGG" if index % 4 == 1 else "HGG"


def source_label(labels: NDArray[np.uint8], task: Task | str) -> NDArray[np.uint8]:
    """What a task's own collection would have drawn of a complete label map, in its own values."""
    task = task_named(task) if isinstance(task, str) else task
    organ, tumour = task_target(labels, task)
    drawn = np.zeros(labels.shape, dtype=np.uint8)
    if task.organ is not None:
        drawn[organ] = 1
    if task.tumour is not None:
        drawn[tumour] = task.tumour_values[0]
    return drawn


def bcv_label(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BCV's 13 organs of a complete label map; what grows or runs in an organ counts as it."""
    drawn = np.where(labels <= len(BCV_ORGANS), labels, 0).astype(np.uint8)
    drawn[task_target(labels, "liver")[0]] = LABEL["liver"]
    drawn[task_target(labels, "pancreas")[0]] = LABEL["pancreas"]
    # A kidney's tumour or cyst belongs to the kidney on its side of the body.
    grown = np.isin(labels, [LABEL["kidney_tumour"], LABEL["kidney_cyst"]])
    if grown.any():
        sides = {
            name: np.argwhere(labels == LABEL[name]) for name in ("right_kidney", "left_kidney")
        }
        known = {name: where.mean(axis=0) for name, where in sides.items() if len(where)}
        at = np.argwhere(grown)
        if known:
            names = list(known)
            far = np.stack([np.abs(at - known[name]).sum(axis=1) for name in names])
            drawn[tuple(at.T)] = np.array([LABEL[name] for name in names])[far.argmin(axis=0)]
    return drawn


def _write_torso(
    root: Path, task: str, layout: Layout, phantom: Phantom, label: NDArray[np.uint8] | None
) -> WrittenCase:
    header, spacing = layout.header, phantom.spacing
    case = _torso_files(task, layout, labelled=label is not None)
    write_scan(root / case.complete, phantom.labels, spacing, header=header, dtype="uint8")
    if label is not None:
        write_scan(root / layout.label, label, spacing, header=header, dtype=header.label)
    write_scan(root / layout.image, phantom.image, spacing, header=header, dtype=header.image)
    return case


def _torso_files(task: str, layout: Layout, *, labelled: bool) -> WrittenCase:
    complete = f"complete_labels/{task}_{layout.identifier}.nii.gz"
    label = layout.label if labelled else None
    return WrittenCase(layout.identifier, task, (layout.image,), label, complete)


def _write_lists(kind: str, root: Path, written: list[WrittenCase], cases: int) -> None:
    if kind == "mots":
        for task in MOTS_TASKS:
            if task.name in DECATHLON:
                write_dataset_json(root, task, cases)
    names = BRAIN_LABELS if kind == "brats" else dict(enumerate(TORSO_LABELS, start=1))
    named, listed = {str(k): v for k, v in names.items()}, [vars(case) for case in written]
    write_json(root / "complete_labels" / "labels.json", named, indent=1)
    write_json(root / "complete_labels" / "cases.json", listed, indent=1)


def _case_seed(seed: int, collection: str, index: int) -> int:
    entropy = [seed, *collection.encode(), index]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
