"""Tables 10 to 12, Figs. 10 and 11: what pretrained weights are worth elsewhere (Sec. 4.5).

The networks of all rows have one encoder and one decoder. MOTS* has DoDNet's, without a
Transformer; all others, the random one too, are TransDoDNet's, so that only the weights differ.
Table 10 holds out the half of BCV's 30 labelled scans that ``data.layouts.bcv`` names (of BraTS,
which the paper has not there, a fifth); its further tables have 1, 4 and 12 labelled scans, and a
random new head beside the fitted one. Of Table 12 the paper's text has the averages only; its HD is
taken to be the online evaluation's, the 95th percentile.

    python benchmarks/transfer.py table10_bcv_4 --setting small --seeds 3
    python benchmarks/transfer.py table10_bcv --setting paper --data BCV/RawData/Training \\
        --singlept DIR --byol3d DIR --mots-star DIR --mots DIR --device cuda
    python benchmarks/transfer.py table11 --setting paper --data BCV/RawData/Training \\
        --test BCV/RawData/Testing --mots-star DIR --mots DIR --submission OUT --device cuda
    python benchmarks/transfer.py table12 --setting paper --data BraTS18/Training \\
        --test BraTS18/Validation --mots DIR --submission OUT --device cuda

Tables 11 and 12 train on all labelled scans, to the last step, and score phantoms of their own, or
write label maps of ``--test`` for the online evaluations, whose labels are withheld.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

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

RANDOM_STEM = "random first layer"

VARIANTS: dict[str, dict[str, Any]] = {
    "random head": {"fit_head": False},
    RANDOM_STEM: {"channel_init": "random"},
    **{init: {"channel_init": init} for init in ("first_scaled", "zero_new")},
}
"""What a row's fine-tuning does otherwise, by what stands in brackets after its origin."""


def parts_of(row: str) -> tuple[Origin, str]:
    """Return where a row's weights come from, and its variant, if any.

    Example:
        >>> parts_of("MOTS (zero_new)")[1]
        'zero_new'
    """
    origin, _, variant = row.partition(" (")
    return ORIGINS[origin], variant.rstrip(")")


FINAL, RANDOM = "MOTS", "TFS"
"""The row that the others are compared with, and that of random weights."""


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
        train: Labelled scans to train on, those that come first; None for all.
    """

    name: str
    title: str
    kind: Kind
    rows: Mapping[str, Mapping[str, float]]
    metrics: tuple[str, ...] = ("dice", "hd")
    held_out: Literal["validation", "test"] = "validation"
    printed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    train: int | None = None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Rows that are compared: the final one with each other, and each other with scratch."""
        others = [name for name in self.rows if name != FINAL]
        return [(FINAL, name) for name in others] + [
            (name, RANDOM) for name in others if name != RANDOM
        ]


BCV = Transfer(
    name="table10_bcv",
    title="Table 10: starts of a fine-tuning on BCV",
    kind="bcv",
    rows={
        "TFS": {"dice": 81.53, "hd": 8.14},
        "SinglePT": {"dice": 81.68, "hd": 8.02},
        "BYOL-3D": {"dice": 82.31, "hd": 7.89},
        "MOTS*": {"dice": 82.51, "hd": 7.77},
        "MOTS": {"dice": 83.19, "hd": 7.44},
    },
)

FEW = tuple(
    replace(
        BCV,
        name=f"table10_bcv_{count}",
        title=f"Table 10's starts with {count} labelled scans of BCV; none such in the paper",
        rows={name: {} for name in ("TFS", *(
            f"{name}{head}" for head in ("", " (random head)") for name in ORIGINS if name != "TFS"
        ))},
        train=count,
    )
    for count in (1, 4, 12)
)  # fmt: skip
"""The tables of few labelled scans."""

TRANSFERS = (
    BCV,
    *FEW,
    Transfer(
        name="table10_brats",
        title="Table 10's starts of a fine-tuning, on BraTS; the paper prints no such table",
        kind="brats",
        rows={name: {} for name in ORIGINS},
    ),
    Transfer(
        name="table11",
        title="Table 11: BCV's test set",
        kind="bcv",
        metrics=("dice", "hd", "msd"),
        held_out="test",
        rows={
            "TFS": {"dice": 87.28, "hd": 14.55, "msd": 1.49},
            "MOTS*": {"dice": 88.21, "hd": 13.11, "msd": 0.89},
            "MOTS": {"dice": 88.60, "hd": 12.83, "msd": 0.86},
        },
        printed={
            "Auto Context": {"dice": 78.24, "hd": 26.10, "msd": 1.94},
            "deedsJointCL": {"dice": 79.00, "hd": 25.50, "msd": 2.26},
            "DLTK": {"dice": 81.54, "hd": 62.87, "msd": 1.86},
            "PaNN": {"dice": 84.97, "hd": 18.47, "msd": 1.45},
            "nnUnet": {"dice": 88.10, "hd": 17.26, "msd": 1.39},
        },
    ),
    Transfer(
        name="table12",
        title="Table 12: BraTS 2018, and ways to widen the first layer to four channels",
        kind="brats",
        metrics=("dice", "hd95"),
        held_out="test",
        rows={
            "TFS": {"dice": 85.74, "hd95": 4.74},
            "MOTS": {"dice": 86.18, "hd95": 4.39},
            **{f"MOTS ({x})": {} for x in ("first_scaled", "zero_new", RANDOM_STEM)},
        },
    ),
)
"""Tables 10 to 12."""


BRATS_MM = (155.0, 240.0, 240.0)
"""BraTS's field of view, which phantoms share whatever their shape."""


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
        "bcv": Drawn(30, 2, (16, 32, 32), (24.0, 16.0, 16.0)),
        "brats": Drawn(5, 2, (24, 40, 40)),
    },
    "evidence": {
        "bcv": Drawn(30, 20, (32, 64, 64), (9.0, 5.0, 5.0)),
        "brats": Drawn(8, 20, (32, 64, 64)),
    },
    "small": _DRAWN,
    "paper": _DRAWN,
}
"""Phantoms by setting and collection."""

FINETUNINGS: dict[str, Recipe] = {
    "smoke": Recipe(steps=20, batch=1, validate_every=10, fit_steps=10),
    "evidence": Recipe(steps=300, validate_every=30),
    "small": Recipe(steps=1000),
    "paper": Recipe(steps=25_000),
}
"""How long each setting fine-tunes; the paper gives no number, so the last one is ours."""

if __name__ == "__main__":
    from transfer_runner import main

    main(TRANSFERS)
