"""How large the networks of a table are and how long they train: the paper's way, or a small one.

Rows of tables are changes to a setting's network, written in the paper's numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    Fusion,
    HeadConfig,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.methods import configured
from mots_pretrained.training.recipe import SIZES, Recipe, read_recipe


@dataclass(frozen=True)
class Setting:
    """What a table's rows have in common.

    Attributes:
        base: The final network at this size.
        recipe: How it learns; None: Sec. 4.1, for the table's own number of epochs.
        phantoms: How many different ones to train on, where the data are phantoms; None: no two
            alike.
        cases: How many phantoms to score.
    """

    base: ModelConfig
    recipe: Recipe | None
    phantoms: int | None = None
    cases: int = 235


SETTINGS: dict[str, Setting] = {
    # To see a whole list run and resume, nothing more: nothing is learnt in so few steps.
    "smoke": Setting(
        base=ModelConfig(
            encoder=EncoderConfig(depth=10, stem_width=4, widths=(8, 8, 8, 8)),
            transformer=TransformerConfig(
                width=12, heads=2, encoder_layers=1, decoder_layers=1, feedforward=48
            ),
            decoder=DecoderConfig((8, 8, 8, 8, 8)),
            preprocessing=Preprocessing(
                spacing=(16.0, 12.0, 12.0), patch=(16, 32, 64), window=(16, 32, 64)
            ),
        ),
        recipe=Recipe(rate=1e-3, steps=2),
        phantoms=7,
        cases=14,
    ),
    "small": Setting(SIZES["small"], replace(read_recipe("small"), steps=2000), cases=28),
    "paper": Setting(SIZES["paper"], None),
}

Change = Callable[[ModelConfig], ModelConfig]
"""From a setting's final network to a row's."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: As the paper prints it.
        change: What it changes in the final network.
        paper: What the paper prints: any of "dice", "hd" and "parameters" (millions, or the
            number itself for generated ones).
    """

    name: str
    change: Change
    paper: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """One table of the paper.

    Attributes:
        name: Such as "table02"; also of its CSV file.
        title: One line.
        rows: Its lines.
        final: Name of the row that the others are compared with.
        epochs: Passes over the training cases: 500 in the ablations (Sec. 4.2), 1000 in Table 9.
        held_out: What is scored: 20 % of the training cases in the ablations, else the test set.
        generated: Whether the table counts generated parameters instead of all.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    final: str
    epochs: int = 500
    held_out: Literal["validation", "test"] = "validation"
    generated: bool = False


def transformer(
    *,
    width: int = 192,
    encoder: int = 3,
    decoder: int = 3,
    levels: int = 3,
    fusion: Fusion = "A",
) -> Change:
    """Change the Transformer; a width of the paper's is scaled as the setting's network is."""

    def change(base: ModelConfig) -> ModelConfig:
        final = base.transformer
        if final is None:
            raise ValueError("the setting's network has no Transformer to change")
        own = width * final.width // 192
        return replace(
            base,
            transformer=replace(
                final,
                width=own,
                feedforward=4 * own,
                encoder_layers=encoder,
                decoder_layers=decoder,
                levels=levels,
                fusion=fusion,
            ),
        )

    return change


def ablated(head: HeadConfig = HeadConfig()) -> Change:  # noqa: B008
    """The network of Tables 2 to 4: d 384, one layer each, three scales, and a head.

    Sec. 4.2.1 says one scale; the parameter counts of Tables 4 and 5 come out with three only.
    """
    change = transformer(width=384, encoder=1, decoder=1)
    return lambda base: replace(change(base), head=head)


def head_rows(field: str, paper: dict[int, tuple[int, float, float]]) -> tuple[Row, ...]:
    """Rows of Tables 2 and 3: values of a field of the head, with parameters, Dice and HD there."""
    return tuple(
        Row(
            f"{value}",
            ablated(HeadConfig(**{field: value})),
            {"parameters": parameters, "dice": dice, "hd": hd},
        )
        for value, (parameters, dice, hd) in paper.items()
    )


def method(name: str, *, extra_blocks: int = 0) -> Change:
    """Another method over the same encoder-decoder, its last stage deepened if asked for."""

    def change(base: ModelConfig) -> ModelConfig:
        config = configured(name, base)
        return replace(config, encoder=replace(config.encoder, extra_blocks=extra_blocks))

    return change
