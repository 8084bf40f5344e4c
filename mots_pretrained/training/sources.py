"""Where training cases come from: phantoms made on the fly, or a prepared folder (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Literal, TypeVar, get_args, overload

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.data.case import Case
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.data.stream import Cycle, Source
from mots_pretrained.errors import UserError
from mots_pretrained.images.preprocess import scale_hounsfield
from mots_pretrained.phantom import Phantom, task_target, torso
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.tasks import MOTS_TASKS, Task, task_named

T = TypeVar("T")
Labels = Literal["partial", "complete"]
Balance = Literal["proportional", "balanced"]
Fold = Literal["all", "train"]

OWN_TUMOUR = 0.65
"""Chance of the tumour that a phantom's own domain is about, where all tumours are supervised."""


@dataclass(frozen=True)
class Supply:
    """Training cases without end.

    Attributes:
        tasks: What they supervise.
        scans: Cases of one pass, an epoch.
        patches_per_case: Patches to cut from a case each time that it comes.
        source: Gives the source for a network, which has these tasks and perhaps others.
        summary: What it is, in a few words.
        hashes: ``collection/identifier`` of each scan by the hash of its voxels; none of phantoms.
    """

    tasks: tuple[Task, ...]
    scans: int
    patches_per_case: int
    source: Callable[[ModelConfig], Source]
    summary: str
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Phantoms:
    """Phantoms, each made as it is needed.

    Attributes:
        randomise: How far appearance and shape leave the plausible, 0 to 1.
        labels: ``"partial"``: a phantom shows its own collection's labels, as in MOTS.
            ``"complete"``: of every phantom all tasks' targets are known.
        patches_per_case: Patches cut from each phantom.
    """

    randomise: float = 0.5
    labels: Labels = "partial"
    patches_per_case: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.randomise <= 1:
            raise UserError(f"randomise must be 0 to 1, not {self.randomise}")
        if self.patches_per_case < 1:
            raise UserError(f"patches per case must be at least 1, not {self.patches_per_case}")
        _check("labels", self.labels, get_args(Labels))

    def supply(self, tasks: Sequence[str] = (), *, seed: int = 0) -> Supply:
        """Return phantoms of the named tasks' domains, of all seven if none is named.

        An epoch is as many as the tasks have training scans in MOTS, 920 for all.

        Raises:
            KeyError: If MOTS has no task of a name.
        """
        chosen = _chosen(tasks, MOTS_TASKS)

        def source(config: ModelConfig) -> Source:
            names = [task.name for task in config.tasks]
            shown = tuple(names.index(task.name) for task in chosen)
            contract = config.preprocessing
            return TorsoSource(contract, config.tasks, seed, self.randomise, self.labels, shown)

        scans = sum(task.train for task in chosen)
        return Supply(chosen, scans, self.patches_per_case, source, "phantoms")


@dataclass(frozen=True)
class Prepared:
    """The training split of a folder that ``mots prepare`` has written.

    Attributes:
        folder: Where it lies.
        fold: ``"all"`` of the training cases, or ``"train"``: without the fifth that the ablations
            validate on (Sec. 4.2).
        balance: ``"proportional"``: every scan once an epoch, as published; ``"balanced"``: each
            task equally often, whatever its number of scans.
    """

    folder: str
    fold: Fold = "all"
    balance: Balance = "proportional"

    def __post_init__(self) -> None:
        _check("fold", self.fold, get_args(Fold))
        _check("sampling", self.balance, get_args(Balance))

    def supply(self, tasks: Sequence[str] = (), *, seed: int = 0) -> Supply:
        """Return the folder's cases of the named tasks, of all that it has if none is named.

        Raises:
            FileNotFoundError: If there is no such folder.
            KeyError: If it has no task of a name.
            ValueError: If a task has no training case in it; and, of ``source``, if the folder was
                prepared for another contract than the network's.
        """
        prepared = PreparedSet.open(self.folder)
        fold: Literal["train"] | None = "train" if self.fold == "train" else None
        with_cases = {record.task for record in prepared.select(split="train", fold=fold)}
        if not with_cases:
            raise UserError(
                f"{self.folder} holds no case to train on; prepare it with another --split"
            )
        chosen = _chosen(tasks, prepared.tasks)
        if tasks and (empty := [task.name for task in chosen if task.name not in with_cases]):
            raise UserError(f"{self.folder} holds no case of {empty[0]!r} to train on")
        chosen = tuple(task for task in chosen if task.name in with_cases)
        groups = [prepared.select(split="train", fold=fold, task=task.name) for task in chosen]
        hashes = prepared.hashes(record for group in groups for record in group)
        if self.balance == "proportional":
            groups = [tuple(record for group in groups for record in group)]

        def source(config: ModelConfig) -> Source:
            prepared.check_contract(config.preprocessing)
            case = partial(prepared.case, tasks=config.tasks)
            cycles = [Cycle(Opened(group, case), seed) for group in groups]
            return cycles[0] if len(cycles) == 1 else InTurn(tuple(cycles))

        scans = sum(map(len, groups))
        return Supply(chosen, scans, 1, source, f"{scans} cases of {self.folder}", hashes)


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


@dataclass(frozen=True)
class TorsoSource:
    """Phantoms without end, task after task: of seven, phantom ``i`` is of task ``i mod 7``.

    Attributes:
        contract: Spacing and intensities that the network expects.
        tasks: The network's tasks.
        seed: Of the phantoms.
        randomise: As in ``Phantoms``.
        labels: As in ``Phantoms``.
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
    return bool(abs(np.median(vessels) - np.median(liver)) >= 15)  # HU, about one noise


def _chosen(names: Sequence[str], tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return the tasks of these names in their own order, all if no name is given."""
    wanted = [task_named(name, tasks) for name in names]
    return tuple(task for task in tasks if not wanted or task in wanted)


def _check(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"unknown {what} {value!r}; allowed are {', '.join(allowed)}")
