"""Tables 2 to 9 as lists of changes to one network, in the paper's numbers (Secs. 4.2 and 4.4).

Ablations train for 500 epochs with 20 % of the training cases held out; Table 9 for 1000, scored on
the test set. Tables 2 to 4 have one Transformer layer each and d 384; the text says one scale, the
parameter counts of Tables 4 and 5 come out with three only. At a small setting the Transformer's
widths are scaled as its network is: 192 is that network's own.

    python benchmarks/tables.py 9 --smoke                       # the whole list, to see it run
    python benchmarks/tables.py 9 --setting small --seeds 3     # on phantoms
    python benchmarks/tables.py 5 --setting paper --data PREPARED --device cuda
    python benchmarks/tables.py 9 --setting evidence --print    # of its CSV, nothing is run
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mots_pretrained.config import Fusion, HeadConfig, ModelConfig
from mots_pretrained.methods import configured
from mots_pretrained.published.table9 import PAPER_MEANS

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
        times: Steps of this row as a multiple of the others'.
    """

    name: str
    change: Change
    paper: Mapping[str, float] = field(default_factory=dict)
    times: int = 1


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

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Rows that are compared: the final one with each other."""
        return [(self.final, row.name) for row in self.rows if row.name != self.final]


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
    """The network of Tables 2 to 4, with a head."""
    change = transformer(width=384, encoder=1, decoder=1)
    return lambda base: replace(change(base), head=head)


def method(name: str, *, extra_blocks: int = 0) -> Change:
    """Another method over the same encoder-decoder, its last stage deepened if asked for."""

    def change(base: ModelConfig) -> ModelConfig:
        config = configured(name, base)
        return replace(config, encoder=replace(config.encoder, extra_blocks=extra_blocks))

    return change


def printed(dice: float, hd: float, parameters: float | None = None) -> dict[str, float]:
    """What the paper prints of a row."""
    counted = {} if parameters is None else {"parameters": parameters}
    return {**counted, "dice": dice, "hd": hd}


METHODS = {
    "Multi-Nets": "multi_nets",
    "TAL": "tal",
    "Multi-Head": "multi_head",
    "Cond-Input": "cond_input",
    "Cond-Dec": "cond_dec",
    "DoDNet": "dodnet",
    "TransDoDNet": "transdodnet",
}
"""The seven methods by the names that Table 9 gives them."""

FULL = "Multi-Nets (full)"
"""Multi-Nets again, each of whose seven networks has the steps that the others have in all."""

TABLES = (
    Table(
        "table02",
        "Dynamic head of other depths, width 8",
        final="3",
        generated=True,
        rows=(
            Row("2", ablated(HeadConfig(depth=2)), printed(72.11, 21.46, 90)),
            Row("3", ablated(), printed(72.3, 20.74, 162)),
            Row("4", ablated(HeadConfig(depth=4)), printed(71.43, 22.54, 234)),
        ),
    ),
    Table(
        "table03",
        "Dynamic head of other widths, depth 3",  # the caption says 4 to 8, the rows 4 to 16
        final="8",
        generated=True,
        rows=(
            Row("4", ablated(HeadConfig(width=4)), printed(71.51, 25.29, 50)),
            Row("8", ablated(), printed(72.3, 20.74, 162)),
            Row("16", ablated(HeadConfig(width=16)), printed(71.97, 23.57, 578)),
        ),
    ),
    Table(
        "table04",
        "Kernel generators; * has two more blocks in the encoder's last stage",
        final="Transformer",
        rows=(
            Row("Convolution", method("dodnet"), printed(70.52, 26.40, 35.31)),
            Row("Convolution*", method("dodnet", extra_blocks=2), printed(70.98, 23.95, 42.49)),
            Row("Transformer", ablated(), printed(72.30, 20.74, 40.52)),
        ),
    ),
    Table(
        "table05",
        "Transformer encoder + decoder layers, d 384",
        final="3+3",
        rows=tuple(
            Row(f"{e}+{d}", transformer(width=384, encoder=e, decoder=d), printed(*paper))
            for (e, d), paper in {
                (1, 1): (72.3, 20.74, 40.52),
                (3, 1): (72.62, 20.31, 43.77),
                (1, 3): (72.57, 20.59, 44.96),
                (3, 3): (73.37, 18.61, 48.21),
                (6, 6): (73.07, 19.31, 59.74),
            }.items()
        ),
    ),
    Table(
        "table06",
        "Transformer of other widths, 3+3 layers",
        final="192",
        rows=(
            Row("96", transformer(width=96), printed(71.55, 22.58, 36.49)),
            Row("192", transformer(width=192), printed(73.79, 18.95, 39.05)),
            Row("384", transformer(width=384), printed(73.37, 18.61, 48.21)),
            Row("768", transformer(width=768), printed(72.02, 23.18, 82.67)),
        ),
    ),
    Table(
        "table07",
        "Scales of deformable attention, d 192, 3+3 layers",
        final="3",
        rows=(
            Row("1", transformer(levels=1), printed(72.8, 20.27)),
            Row("2", transformer(levels=2), printed(73.36, 19.11)),
            Row("3", transformer(levels=3), printed(73.79, 18.95)),
        ),
    ),
    Table(
        "table08",
        "What the CNN decoder is given (Fig. 6), d 192, 3+3 layers",
        final="Mode-A",
        rows=(
            Row("Mode-A", transformer(fusion="A"), printed(73.79, 18.95)),
            Row("Mode-B", transformer(fusion="B"), printed(72.48, 20.87)),
            Row("Mode-C", transformer(fusion="C"), printed(72.6, 20.6)),
        ),
    ),
    Table(
        "table09",
        "Methods for partially labelled tasks; Multi-Nets' seven networks share the others' steps",
        final="TransDoDNet",
        epochs=1000,
        held_out="test",
        rows=(
            *(
                Row(title, method(name), printed(*PAPER_MEANS[title]))
                for title, name in METHODS.items()
            ),
            Row(FULL, method("multi_nets"), times=7),
        ),
    ),
)
"""Tables 2 to 9."""

if __name__ == "__main__":
    from runner import main

    main(TABLES)
