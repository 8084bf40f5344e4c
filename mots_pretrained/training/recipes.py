"""How to pretrain, by name: ours for the small network, Sec. 4.1, and what the published code does.

Where paper and code agree, or the paper is silent (clipping, weight decay, foreground), the two
recipes say the same; ``docs/differences.md`` has the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from mots_pretrained.data.augment import PUBLISHED, Augmentation
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.training.loop import Precision

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
"""Augmentation by the name that recipes and the command line use."""


@dataclass(frozen=True)
class Recipe:
    """How the weights are found.

    Attributes:
        rate: AdamW's initial learning rate.
        steps: Optimiser steps; None where ``epochs`` says how long.
        epochs: Passes over the scans, one patch of each. The rate then falls once an epoch, as
            Sec. 4.1 counts, else with every step.
        batch: Patches a micro-batch.
        weight_decay: On all weights.
        clip: Largest gradient norm; None leaves it.
        warm_up: Epochs (steps, where these count) of rate rising from 1 %.
        transformer_rate: Initial rate of the Transformer's own group of weights; None for one
            group of all.
        ema: Decay of the averaged weights, which are the ones kept; None keeps the last ones.
        foreground: Probability that a patch is centred on something labelled.
        augmentation: Name in ``AUGMENTATIONS``.
        precision: Arithmetic of the forward pass.
    """

    rate: float
    steps: int | None = None
    epochs: int | None = None
    batch: int = 2
    weight_decay: float = 1e-4
    clip: float | None = 0.1
    warm_up: int = 0
    transformer_rate: float | None = None
    ema: float | None = None
    foreground: float = 0.5
    augmentation: str = "default"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise UserError("a recipe needs either steps or epochs")
        length = self.steps if self.steps is not None else self.epochs or 0
        if length < 1 or self.batch < 1:
            raise UserError("steps, epochs and batch must be at least 1")
        for rate in (self.rate, self.transformer_rate):
            if rate is not None and not 0 < rate < 1:
                raise UserError(f"the learning rate must lie between 0 and 1, not {rate}")
        if self.weight_decay < 0 or (self.clip is not None and self.clip <= 0):
            raise UserError("weight decay must be 0 or more, and clip more than 0")
        if self.ema is not None and not 0 < self.ema < 1:
            raise UserError(f"the decay of the average must lie in (0, 1), not {self.ema}")
        if not 0 <= self.foreground <= 1:
            raise UserError(f"foreground must be 0 to 1, not {self.foreground}")
        for what, value, allowed in (
            ("augmentation", self.augmentation, tuple(AUGMENTATIONS)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in allowed:
                raise UserError(f"unknown {what} {value!r}; allowed are {', '.join(allowed)}")


RECIPES: dict[str, Recipe] = {
    "small": Recipe(rate=1e-3, steps=20_000, ema=0.999),
    "paper": Recipe(rate=2e-4, epochs=1000, augmentation="paper"),
    "published": Recipe(
        rate=2e-4,
        epochs=1000,
        warm_up=10,
        transformer_rate=2e-4,
        augmentation="published",
        precision="float16",
    ),
}
"""Recipe by the name that ``SIZES`` and the command line use."""


def recipe_named(name: str) -> Recipe:
    """Look a recipe up by its name.

    Raises:
        KeyError: If there is none of that name; the message lists those there are.
    """
    if name not in RECIPES:
        raise UnknownNameError(f"unknown recipe {name!r}; allowed are {', '.join(RECIPES)}")
    return RECIPES[name]
