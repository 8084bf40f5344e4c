"""How large the networks of a table are, how long they train and on which phantoms."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.training.recipe import SIZES, Recipe, read_recipe


@dataclass(frozen=True)
class Setting:
    """What a table's rows have in common.

    Attributes:
        base: The final network at this size.
        recipe: How it learns; None: Sec. 4.1, for the table's own number of epochs.
        phantoms: Phantoms a collection in the store that all rows and tables train from, a fifth
            of which is left out; 0 where only data will do.
        cases: How many other phantoms to score.
    """

    base: ModelConfig
    recipe: Recipe | None
    phantoms: int = 0
    cases: int = 0


COARSE = Preprocessing(spacing=(9.0, 5.0, 5.0), patch=(32, 64, 64), window=(32, 64, 64))
"""A contract whose patch of 288 x 320 x 320 mm holds most of a trunk."""

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
                spacing=(24.0, 16.0, 16.0), patch=(16, 32, 64), window=(16, 32, 64)
            ),
        ),
        recipe=Recipe(rate=1e-3, steps=2),
        phantoms=2,
        cases=7,
    ),
    # What evidence.py runs: minutes a row on one core.
    "evidence": Setting(
        base=replace(SIZES["small"], preprocessing=COARSE),
        recipe=replace(read_recipe("small"), steps=3000),
        phantoms=50,
        cases=42,
    ),
    "small": Setting(
        SIZES["small"], replace(read_recipe("small"), steps=2000), phantoms=50, cases=28
    ),
    "paper": Setting(SIZES["paper"], None),
}
