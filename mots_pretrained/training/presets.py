"""The sizes that ``mots pretrain`` knows: the paper's network, and a small one for two cores."""

from __future__ import annotations

from dataclasses import dataclass

from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.errors import UnknownNameError
from mots_pretrained.methods import configured


@dataclass(frozen=True)
class Size:
    """A network and how it learns.

    Attributes:
        config: The network with its contract.
        recipe: Name in ``RECIPES``.
    """

    config: ModelConfig
    recipe: str


SIZES: dict[str, Size] = {
    # Learns on two cores in hours and fits 10 MB as float16; its coarse contract lets a window
    # of 192 x 288 x 288 mm cost what 48 x 96 x 96 voxels do.
    "small": Size(
        config=ModelConfig(
            encoder=EncoderConfig(depth=10, stem_width=16, widths=(32, 64, 128, 160)),
            transformer=TransformerConfig(
                width=48, heads=4, encoder_layers=1, decoder_layers=1, feedforward=192, levels=3
            ),
            decoder=DecoderConfig(widths=(128, 128, 64, 32, 16)),
            preprocessing=Preprocessing(
                spacing=(4.0, 3.0, 3.0), patch=(48, 96, 96), window=(48, 96, 96)
            ),
        ),
        recipe="small",
    ),
    "paper": Size(config=ModelConfig(), recipe="paper"),
}
"""Size by the name that the command line uses."""


def size_named(name: str) -> Size:
    """Look a size up by its name.

    Raises:
        KeyError: If there is none of that name; the message lists those there are.
    """
    if name not in SIZES:
        raise UnknownNameError(f"unknown size {name!r}; allowed are {', '.join(SIZES)}")
    return SIZES[name]


def configuration(method: str, size: str) -> ModelConfig:
    """Return the configuration of a method's network at a size.

    Raises:
        KeyError: If there is no such method or size; the message lists those there are.
    """
    return configured(method, size_named(size).config)
