"""Transfer as lists of values: what is started from, on which data, and what the paper prints.

The networks of all rows have one encoder and one decoder (Sec. 4.5). MOTS* has DoDNet's, without a
Transformer; all others, the random one too, are TransDoDNet's, so that only the weights differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mots_pretrained.tasks import BCV_ORGANS, BRATS_REGIONS
from mots_pretrained.training.recipe import Recipe

Kind = Literal["bcv", "brats"]

NAMES: dict[Kind, str] = {"bcv": "BCV", "brats": "BraTS"}
"""What each collection is called."""

CLASSES: dict[Kind, Mapping[str, tuple[int, ...]]] = {
    "bcv": {name: (value,) for value, name in enumerate(BCV_ORGANS, start=1)},
    "brats": BRATS_REGIONS,
}
"""The values that make up each class in the label maps that the online evaluations take."""


@dataclass(frozen=True)
class Origin:
    """Where a row's weights come from.

    Attributes:
        option: Name of the option that gives them; also of their folders.
        method: The method whose pretrained network it is; "byol3d" trains an encoder alone.
        tasks: Tasks of MOTS to pretrain on; all of them if empty.
        random: Whether the network starts with random weights.
    """

    option: str
    method: str = "transdodnet"
    tasks: tuple[str, ...] = ()
    random: bool = False


ORIGINS: dict[str, Origin] = {
    "TFS": Origin("tfs", random=True),
    "SinglePT": Origin("singlept", tasks=("hepatic_vessel",)),
    "BYOL-3D": Origin("byol3d", method="byol3d"),
    "MOTS*": Origin("mots_star", method="dodnet"),
    "MOTS": Origin("mots"),
}
"""By the paper's names: from scratch, one data set, self-supervised, DoDNet, TransDoDNet."""

FINAL = "MOTS"
"""The row that the others are compared with."""


@dataclass(frozen=True)
class Transfer:
    """One table of Sec. 4.5.

    Attributes:
        name: Such as "table10_bcv"; also of its files.
        title: As it is printed.
        kind: The collection that is fine-tuned on.
        rows: What the paper prints, by metric, of each of ``ORIGINS`` that is run.
        metrics: Names of the metrics to print, "dice" first.
        held_out: "validation": the half (of BraTS a fifth) of the labelled cases is held out and
            watched while training. "test": all labelled cases train, others are scored.
        printed: Lines of the paper that are printed as they are.
    """

    name: str
    title: str
    kind: Kind
    rows: Mapping[str, Mapping[str, float]]
    metrics: tuple[str, ...] = ("dice", "hd")
    held_out: Literal["validation", "test"] = "validation"
    printed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """How many phantoms stand for a collection, and how large they are.

    Attributes:
        train: Labelled ones, of which Table 10 holds out a part.
        test: Those that Tables 11 and 12 score.
        shape: Voxels (D, H, W); None takes the phantoms' own.
        spacing: Millimetres (D, H, W), of torsos only; None takes the phantoms' own.
    """

    train: int
    test: int
    shape: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None


_DRAWN: dict[Kind, Drawn] = {"bcv": Drawn(30, 20), "brats": Drawn(25, 10, (78, 120, 120))}

DRAWN: dict[str, dict[Kind, Drawn]] = {
    "smoke": {
        "bcv": Drawn(6, 2, (20, 32, 32), (16.0, 12.0, 12.0)),
        "brats": Drawn(5, 2, (24, 40, 40)),
    },
    "small": _DRAWN,
    "paper": _DRAWN,
}
"""Phantoms by setting and collection."""

FINETUNINGS: dict[str, Recipe] = {
    "smoke": Recipe(steps=20, batch=1, validate_every=10),
    "small": Recipe(steps=1000),
    "paper": Recipe(steps=25_000),
}
"""How long each setting fine-tunes; the paper gives no number, so the last one is ours."""
