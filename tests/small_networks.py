"""Configurations of networks small enough for fast tests, one of every architecture."""

from __future__ import annotations

import dataclasses
from typing import Any

from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.published.conference import conference_defaults

SIZE = (16, 32, 64)
"""An input size that every architecture takes, and no two axes alike."""

SMALLEST = {"conference": (16, 32, 16)}
"""A smaller one for the backbone that computes at full resolution."""

TRANSFORMER = TransformerConfig(
    width=12, heads=2, encoder_layers=1, decoder_layers=1, feedforward=16, levels=2
)


def small(architecture: str = "transdodnet", **changes: Any) -> ModelConfig:
    """Return a tiny network of an architecture; ``changes`` replace fields of its ModelConfig."""
    contract = Preprocessing(spacing=(6.0, 4.0, 4.0), patch=SIZE, window=SIZE)
    if architecture == "dodnet_conference" or changes.get("backbone") == "conference":
        base = dataclasses.replace(
            conference_defaults(),
            encoder=EncoderConfig(stem_width=16, widths=(16, 16, 16, 16)),
            decoder=DecoderConfig((16, 16, 16, 16, 16)),
            architecture="dodnet_conference",
        )
    else:
        hybrid = architecture in ("transdodnet", "backbone", "segmenter")
        base = ModelConfig(
            encoder=EncoderConfig(depth=10, stem_width=4, widths=(4, 6, 8, 10)),
            transformer=TRANSFORMER,
            decoder=DecoderConfig((12, 10, 8, 6, 4)),
        )
        if not hybrid:
            base = dataclasses.replace(
                base,
                architecture=architecture,
                transformer=None,
            )
    if architecture == "segmenter":
        changes = {"tasks": (), "classes": ("spleen", "liver"), **changes}
    return dataclasses.replace(
        base, **{"architecture": architecture, "preprocessing": contract, **changes}
    )
