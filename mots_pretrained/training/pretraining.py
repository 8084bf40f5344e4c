"""What a pretraining is, as one value: network, recipe, data, tasks, seed (Sec. 4.1)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import torch

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.augment import Augmentation
from mots_pretrained.data.sides import Order, mirrored_tasks
from mots_pretrained.data.stream import PatchStream, Sampling
from mots_pretrained.errors import UserError
from mots_pretrained.methods import METHODS, Method
from mots_pretrained.tasks import Task
from mots_pretrained.training.presets import SIZES, configuration
from mots_pretrained.training.recipes import AUGMENTATIONS, RECIPES, Recipe
from mots_pretrained.training.sources import Phantoms, Prepared, Supply
from mots_pretrained.training.start import Carried, network_from


@dataclass(frozen=True)
class Pretraining:
    """What a pretraining is; two with equal values give equal weights on one machine.

    Attributes:
        method: Name in ``METHODS``.
        size: Name in ``SIZES``.
        recipe: How the weights are found; None takes the size's own.
        data: Where training cases come from.
        tasks: Names of those to learn; all that the data supervises by default. One alone gives
            the paper's SinglePT.
        start: Name or folder of weights to go on from, whose method, size and contract then rule;
            None starts at random.
        accumulate: Micro-batches a step, on each process.
        seed: Of weights, phantoms, patches and dropout.
    """

    method: str = "transdodnet"
    size: str = "small"
    recipe: Recipe | None = None
    data: Phantoms | Prepared = field(default_factory=Phantoms)
    tasks: tuple[str, ...] = ()
    start: str | None = None
    accumulate: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        configuration(self.method, self.size)
        if self.accumulate < 1:
            raise UserError(f"a step needs at least 1 micro-batch, not {self.accumulate}")
        if self.seed < 0:
            raise UserError(f"seed must be 0 or more, not {self.seed}")

    @property
    def chosen_recipe(self) -> Recipe:
        """The recipe given, or the size's own."""
        return self.recipe or RECIPES[SIZES[self.size].recipe]

    def supply(self) -> Supply:
        """Return the training cases."""
        return self.data.supply(self.tasks, seed=self.seed)

    def steps(self, scans: int, processes: int = 1) -> int:
        """Return the optimiser steps in all, of so many scans an epoch."""
        recipe = self.chosen_recipe
        return recipe.steps or (recipe.epochs or 0) * self.steps_per_epoch(scans, processes)

    def steps_per_epoch(self, scans: int, processes: int = 1) -> int:
        """Return the steps of one pass over the scans, one patch of each."""
        return -(-scans // (self.chosen_recipe.batch * self.accumulate * processes))

    def network(self, tasks: tuple[Task, ...]) -> tuple[Method, Carried | None]:
        """Build the network that learns these tasks, and say what was carried over into it."""
        torch.manual_seed(self.seed)
        if self.start is not None:
            return network_from(self.start, tasks)
        config = dataclasses.replace(configuration(self.method, self.size), tasks=tasks)
        return METHODS[self.method](config), None

    def stream(self, supply: Supply, config: ModelConfig, *, workers: int = 0) -> PatchStream:
        """Return the stream of patches that a network sees."""
        recipe, contract = self.chosen_recipe, config.preprocessing
        augmentation, sides = mirroring(AUGMENTATIONS[recipe.augmentation], config.tasks)
        sampling = Sampling(
            patch=contract.patch,
            spacing=contract.spacing,
            foreground=recipe.foreground,
            patches_per_case=supply.patches_per_case,
            augmentation=augmentation,
            sides=sides,
        )
        return PatchStream(supply.source(config), sampling, self.seed, workers)


def mirroring(
    augmentation: Augmentation | None, tasks: tuple[Task, ...]
) -> tuple[Augmentation | None, Order | None]:
    """Return what of the mirroring is right for these tasks, and which becomes which by it.

    Left and right change places only where every one-sided task has its counterpart.
    """
    sides = mirrored_tasks(tasks)
    if augmentation is not None and sides is None:
        kept = tuple(axis for axis in augmentation.mirror if axis != 2)
        augmentation = dataclasses.replace(augmentation, mirror=kept)
    return augmentation, sides
