"""The backbones that a segmenter can use, by name."""

from __future__ import annotations

import dataclasses

from mots_pretrained.config import ModelConfig
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.published.conference import ConferenceUNet

BACKBONES: dict[str, type[MOTSBackbone] | type[ConferenceUNet]] = {
    "mots": MOTSBackbone,
    "conference": ConferenceUNet,
}
"""Class by ``ModelConfig.backbone``."""


def build_backbone(config: ModelConfig) -> MOTSBackbone | ConferenceUNet:
    """Build the backbone that a configuration names, of whatever network, with random weights."""
    alone = dataclasses.replace(config, architecture="backbone", exclusive=True)
    return BACKBONES[config.backbone](alone)
