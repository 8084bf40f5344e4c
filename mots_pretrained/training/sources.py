"""Where training cases come from: phantoms made on the fly, or a prepared folder (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.data.augment import PUBLISHED, Augmentation
from mots_pretrained.data.case import Case
from mots_pretrained.data.layouts import Collection
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.prepare import prepare_folder
from mots_pretrained.data.store import CaseRecord, PreparedSet
from mots_pretrained.data.stored_case import Foreground, StoredCase, write_case
from mots_pretrained.data.stream import Cycle, Source
from mots_pretrained.errors import UserError
from mots_pretrained.files import replacing_folder, write_json
from mots_pretrained.images.preprocess import scale_hounsfield
from mots_pretrained.parse import from_dict
from mots_pretrained.phantom import VERSION as PHANTOMS
from mots_pretrained.phantom import Phantom, task_target, torso
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.shapes import Size
from mots_pretrained.tasks import MOTS_TASKS, Task, task_named
from mots_pretrained.training.launch import on_main
from mots_pretrained.training.recipe import Recipe, Run

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
Labels = Literal["partial", "complete"]

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

_POOL = 56  # phantoms before the first one comes again

OWN_TUMOUR = 0.65
"""Chance of the tumour that a phantom's own domain is about, where all tumours are supervised."""


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


def phantoms(recipe: Recipe, output: Path) -> Supply:
    """Return phantoms of the recipe's tasks' domains, of all seven if none is named.

    An epoch is as many as the tasks have training scans in MOTS, 920 for all.

    Args:
        recipe: Its tasks, seed and what it says of phantoms.
        output: The training's folder, in which phantoms that come again are stored.

    Raises:
        UserError: If MOTS has no task of a name, or the recipe has fields that only data uses.
    """
    _without(recipe, ("balance", "ablation"), "a training on phantoms; give data by -i")
    chosen = _chosen(recipe.tasks, MOTS_TASKS)

    def source(config: ModelConfig) -> Source:
        names = [task.name for task in config.tasks]
        made = TorsoSource(
            config.preprocessing,
            config.tasks,
            recipe.seed,
            recipe.randomise,
            recipe.labels,
            tuple(names.index(task.name) for task in chosen),
        )
        if recipe.replay == 1 and recipe.phantoms is None:
            return made
        folder = output / CASES / "phantoms"
        return Pool(made, folder, recipe.replay, recipe.phantoms, recipe.seed)

    scans = sum(task.train for task in chosen)
    return Supply(chosen, scans, recipe.patches_per_case or 4, source, "phantoms", PHANTOMS)


def prepared_cases(folder: str | Path, recipe: Recipe) -> Supply:
    """Return the training cases of the recipe's tasks in a folder that ``mots prepare`` wrote.

    Raises:
        UserError: If there is no such folder, or no training case of a task in it; and, of
            ``source``, if it was prepared for another contract than the network's.
    """
    _without(
        recipe, ("labels", "randomise", "phantoms", "replay"), "a training on data; leave -i out"
    )
    prepared = PreparedSet.open(folder)
    fold: Literal["train"] | None = "train" if recipe.ablation else None
    with_cases = {record.task for record in prepared.select(split="train", fold=fold)}
    if not with_cases:
        raise UserError(f"{folder} holds no case to train on; prepare it with another --split")
    chosen = _chosen(recipe.tasks, prepared.tasks)
    empty = [task.name for task in chosen if task.name not in with_cases]
    if recipe.tasks and empty:
        raise UserError(f"{folder} holds no case of {empty[0]!r} to train on")
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
    """Return scans without labels, which were prepared beside the training."""
    unused = ("randomise", "phantoms", "replay", "balance", "ablation")
    _without(recipe, unused, "a training on bare scans")
    records = prepared.records
    hashes = {record.source.content_hash: record.identifier for record in records}

    def source(config: ModelConfig) -> Source:
        return Cycle(Opened(records, prepared.case), recipe.seed)

    per_case = recipe.patches_per_case or 4
    what, marks = f"{len(records)} scans", marks_of(records)
    return Supply((), len(records), per_case, source, what, hashes=hashes, marks=marks)


def marks_of(records: Iterable[CaseRecord]) -> tuple[str, ...]:
    """Return what tells cases apart from any others: hashes of voxels and of label files."""
    return tuple(f"{r.source.content_hash} {r.source.label_sha256}" for r in records)


def prepared_beside(
    found: Collection,
    output: Path,
    contract: Preprocessing,
    targets: Targets | None,
    accelerator: Accelerator,
    run: Run,
) -> PreparedSet:
    """Prepare a folder's cases beside its training, in the main process; all of them open it.

    Resumable: what an interrupted run has prepared is not prepared again.

    Raises:
        UserError: If a case can't be prepared; the message names the file.
    """

    def prepare() -> None:
        told = [0]

        def on_case(done: int, of: int, name: str, reason: str) -> None:
            if done == of or done >= told[0] + of / 10:
                told[0] = done
                run.tell(f"Prepared {done} of {of} cases")

        prepared = prepare_folder(
            *(found, output / CASES, contract, targets),
            workers=run.workers,
            on_case=on_case,
            replace=True,
        )
        if prepared.set_aside:
            raise UserError(f"{found.folder}: {prepared.set_aside[0].reason}")

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
class Pool:
    """Phantoms that are drawn once, stored, and come again among others that join them.

    Drawing a phantom costs as much as several training steps. Which one case ``i`` is depends on
    nothing but ``i`` and the seed; whoever asks for one that is not stored draws it.

    Attributes:
        source: Gives phantom number i.
        folder: Where they are stored.
        replay: How often a phantom comes on average.
        most: Different phantoms at most; None for any number.
        seed: Random seed for which comes when.
    """

    source: Source
    folder: Path
    replay: int = 1
    most: int | None = None
    seed: int = 0

    def __call__(self, index: int) -> Case:
        """Return case number ``index``."""
        return self._case(self.number(index))

    def number(self, index: int) -> int:
        """Return the number of the phantom that case ``index`` is."""
        joined, again = divmod(max(0, index - _POOL), self.replay)
        newest = index if index < _POOL else _POOL + joined
        last = newest if self.most is None else min(newest, self.most - 1)
        if last == newest and again == 0:
            return newest
        return int(np.random.default_rng([self.seed, 6, index]).integers(last + 1))

    def _case(self, number: int) -> Case:
        place = self.folder / f"{number:06d}"
        if not place.is_dir():
            case = self.source(number)
            place.parent.mkdir(parents=True, exist_ok=True)
            with replacing_folder(place, keep=True) as draft:  # another may have been quicker
                step, classes = write_case(draft, case)
                facts = {
                    "name": case.name,
                    "channels": len(case.image),
                    "shape": case.shape,
                    "labelled": case.labelled,
                    "tasks": case.tasks,
                    "step": step,
                    "classes": [dataclasses.asdict(one) for one in classes],
                }
                write_json(draft / "phantom.json", facts)
        facts = json.loads((place / "phantom.json").read_text("utf-8"))
        return from_dict(_Stored, facts, f"{place}").case(place)


@dataclass(frozen=True)
class _Stored:
    """What the pool keeps of a phantom beside its voxels."""

    name: str
    channels: int
    shape: Size
    labelled: tuple[bool, ...]
    tasks: tuple[int, ...]
    step: float
    classes: tuple[Foreground, ...]

    def case(self, folder: Path) -> Case:
        return StoredCase.at(folder, **vars(self))


@dataclass(frozen=True)
class InTurn:
    """Several sources as one: case after case from the next of them."""

    sources: tuple[Source, ...]

    def __call__(self, index: int) -> Case:
        """Return case number ``index``."""
        case, which = divmod(index, len(self.sources))
        return self.sources[which](case)


@dataclass(frozen=True)
class TorsoSource:
    """Phantoms without end, task after task: of seven, phantom ``i`` is of task ``i mod 7``.

    Attributes:
        contract: Spacing and intensities that the network expects.
        tasks: The network's tasks.
        seed: Of the phantoms.
        randomise: As in ``Recipe``.
        labels: As in ``Recipe``.
        shown: Which of the tasks take part; None for all.
    """

    contract: Preprocessing
    tasks: tuple[Task, ...] = MOTS_TASKS
    seed: int = 0
    randomise: float = 0.5
    labels: Labels = "partial"
    shown: tuple[int, ...] | None = None

    def __call__(self, index: int) -> Case:
        """Make phantom number ``index`` as a case."""
        shown, own = self._tasks(index)
        phantom = self.phantom(index)
        chosen = (own,) if self.labels == "partial" else shown
        labelled = [known for task in chosen for known in self.tasks[task].labelled]
        target = np.concatenate(
            [task_target(phantom.labels, self.tasks[task]) for task in chosen]
        ).astype(np.uint8)
        image = phantom.image.astype(np.float32)
        if self.labels == "complete" and not _vessels_show(image, phantom.labels):
            names = [self.tasks[task].organ for task in chosen]
            if "hepatic_vessel" in names:
                labelled[2 * names.index("hepatic_vessel")] = False
        target[~np.array(labelled)] = 0
        scale_hounsfield(image, self.contract.clip)
        return Case(image[None], target, tuple(labelled), chosen, f"phantom {index}")

    def phantom(self, index: int, *, phase: str | None = None) -> Phantom:
        """Make phantom number ``index``, in a contrast phase of its domain's or the given one."""
        _, own = self._tasks(index)
        rng = np.random.default_rng([self.seed, 3, index])
        return torso(
            int(rng.integers(2**31)),
            domain=self.tasks[own].name,
            spacing=self.contract.spacing,
            randomise=self.randomise,
            phase=phase,
            # Where every target is known, healthy organs are the rule, as in life.
            lesions=() if self.labels == "complete" and rng.random() >= OWN_TUMOUR else None,
        )

    def _tasks(self, index: int) -> tuple[tuple[int, ...], int]:
        """Return the tasks that take part, and the one that a phantom imitates."""
        shown = self.shown if self.shown is not None else tuple(range(len(self.tasks)))
        return shown, shown[index % len(shown)]


def _vessels_show(image: NDArray[np.float32], labels: NDArray[np.integer]) -> bool:
    """Tell whether the liver's vessels stand out; where a phase hides them none could be drawn."""
    vessels, liver = image[labels == LABEL["hepatic_vessel"]], image[labels == LABEL["liver"]]
    if not vessels.size or not liver.size:
        return True
    return bool(abs(np.median(vessels) - np.median(liver)) >= 15)  # HU, twice to thrice the noise


def _chosen(names: Sequence[str], tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return the tasks of these names in their own order, all if no name is given."""
    wanted = [task_named(name, tasks) for name in names]
    return tuple(task for task in tasks if not wanted or task in wanted)


def _without(recipe: Recipe, fields: tuple[str, ...], what: str) -> None:
    """Raise a UserError if one of these fields differs from its default."""
    own = {one.name for one in dataclasses.fields(recipe)}
    recipe.needs_only(frozenset(own - {*fields}), what)
