"""The sizes of networks: the paper's, and a small one for two cores."""

from __future__ import annotations

from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.errors import UnknownNameError

SIZES: dict[str, ModelConfig] = {
    # Learns on two cores in hours and fits 10 MB as float16; its coarse contract lets a window
    # of 192 x 288 x 288 mm cost what 48 x 96 x 96 voxels do.
    "small": ModelConfig(
        encoder=EncoderConfig(depth=10, stem_width=16, widths=(32, 64, 128, 160)),
        transformer=TransformerConfig(
            width=48, heads=4, encoder_layers=1, decoder_layers=1, feedforward=192, levels=3
        ),
        decoder=DecoderConfig(widths=(128, 128, 64, 32, 16)),
        preprocessing=Preprocessing(
            spacing=(4.0, 3.0, 3.0), patch=(48, 96, 96), window=(48, 96, 96)
        ),
    ),
    "paper": ModelConfig(),
}
"""The network with its contract, by the size's name."""


def size_named(name: str) -> ModelConfig:
    """Look a size up by its name.

    Raises:
        UnknownNameError: If there is none of that name; the message lists those there are.
    """
    if name not in SIZES:
        raise UnknownNameError(f"unknown size {name!r}; allowed are {', '.join(SIZES)}")
    return SIZES[name]
