"""Phantoms as training cases, drawn on the fly or stored and shown again."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.data.case import Case
from mots_pretrained.data.stored_case import Foreground, StoredCase, checksums, write_case
from mots_pretrained.data.stream import Source
from mots_pretrained.errors import UserError
from mots_pretrained.files import replacing_folder, write_json
from mots_pretrained.images.preprocess import scale_hounsfield
from mots_pretrained.parse import from_dict, read_json
from mots_pretrained.phantom import VERSION as PHANTOMS
from mots_pretrained.phantom import Phantom, task_target, torso
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.lesions import TUMOURS
from mots_pretrained.shapes import Size
from mots_pretrained.tasks import MOTS_TASKS, Task
from mots_pretrained.training.recipe import Recipe
from mots_pretrained.training.sources import CASES, Supply, chosen_tasks

Labels = Literal["partial", "complete"]

_POOL = 56  # phantoms before the first one comes again

OWN_TUMOUR = 0.65
"""Chance of the tumour that a phantom's own domain is about, where all tumours are supervised."""


def phantoms(recipe: Recipe, output: Path) -> Supply:
    """Return phantoms of the recipe's tasks' domains, of all seven if none is named.

    An epoch is as many as the tasks have training scans in MOTS, 920 for all.

    Args:
        recipe: Its tasks, seed and what it says of phantoms.
        output: The training's folder, in which phantoms that come again are stored.

    Raises:
        UserError: If MOTS has no task of a name, or the recipe has fields that only data uses.
    """
    recipe.needs_none_of(("balance", "ablation"), "a training on phantoms; give data by -i")
    chosen = chosen_tasks(recipe.tasks, MOTS_TASKS)

    def source(config: ModelConfig) -> Source:
        names = [task.name for task in config.tasks]
        made = TorsoSource(
            config.preprocessing,
            config.tasks,
            recipe.seed,
            recipe.randomise,
            recipe.labels,
            tuple(names.index(task.name) for task in chosen),
            recipe.tumours,
        )
        if recipe.replay == 1 and recipe.phantoms is None:
            return made
        drawn = hashlib.sha256(f"{PHANTOMS} {made}".encode())  # others have a place of their own
        folder = output / CASES / "phantoms" / drawn.hexdigest()[:12]
        return Pool(made, folder, recipe.replay, recipe.phantoms, recipe.seed)

    scans = sum(task.train for task in chosen)
    return Supply(chosen, scans, recipe.patches_per_case or 4, source, "phantoms", PHANTOMS)


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
        tumours: As in ``Recipe``.
    """

    contract: Preprocessing
    tasks: tuple[Task, ...] = MOTS_TASKS
    seed: int = 0
    randomise: float = 0.5
    labels: Labels = "partial"
    shown: tuple[int, ...] | None = None
    tumours: float | None = None

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
            lesions=self._lesions(rng),
        )

    def _lesions(self, rng: np.random.Generator) -> tuple[str, ...] | None:
        """Draw the tumours that a phantom has for certain; None for those of its collection."""
        if self.tumours is not None:
            return tuple(kind for kind in TUMOURS if rng.random() < self.tumours)
        # Where every target is known, healthy organs are the rule, as in life.
        return () if self.labels == "complete" and rng.random() >= OWN_TUMOUR else None

    def _tasks(self, index: int) -> tuple[tuple[int, ...], int]:
        """Return the tasks that take part, and the one that a phantom imitates."""
        shown = self.shown if self.shown is not None else tuple(range(len(self.tasks)))
        return shown, shown[index % len(shown)]


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
        if place.exists():  # else another may put it there at any moment
            try:
                case = _Stored.read(place).case(place)
                case.check()
                return case
            except (OSError, UserError):  # damaged
                shutil.rmtree(place, ignore_errors=True)
        drawn = self.source(number)
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(place, keep=True) as draft:  # another may have been quicker
            step, classes = write_case(draft, drawn)
            facts = {
                "name": drawn.name,
                "channels": len(drawn.image),
                "shape": drawn.shape,
                "labelled": drawn.labelled,
                "tasks": drawn.tasks,
                "step": step,
                "classes": [dataclasses.asdict(one) for one in classes],
                "sums": checksums(draft),
            }
            write_json(draft / "phantom.json", facts)
        return _Stored.read(place).case(place)


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
    sums: tuple[int, ...] = ()

    @classmethod
    def read(cls, place: Path) -> _Stored:
        """Read what is kept of a phantom; a UserError if it is damaged."""
        return from_dict(cls, read_json(place / "phantom.json"), f"{place}")

    def case(self, folder: Path) -> StoredCase:
        return StoredCase.at(folder, **vars(self))


def _vessels_show(image: NDArray[np.float32], labels: NDArray[np.integer]) -> bool:
    """Tell whether the liver's vessels stand out; where a phase hides them none could be drawn."""
    vessels, liver = image[labels == LABEL["hepatic_vessel"]], image[labels == LABEL["liver"]]
    if not vessels.size or not liver.size:
        return True
    return bool(abs(np.median(vessels) - np.median(liver)) >= 15)  # HU, twice to thrice the noise
