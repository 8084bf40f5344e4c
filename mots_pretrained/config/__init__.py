"""What a network is and what its input must be; stored as config.json beside weights."""

from mots_pretrained.config.model import (
    FORMAT_VERSION,
    Activation,
    AddedConfig,
    Architecture,
    Backbone,
    DecoderConfig,
    EncoderConfig,
    Fusion,
    HeadConfig,
    HeadKind,
    ModelConfig,
    NewHeadConfig,
    Preprocessing,
    SeenVolume,
    TransformerConfig,
)

__all__ = [
    "FORMAT_VERSION",
    "Activation",
    "AddedConfig",
    "Architecture",
    "Backbone",
    "DecoderConfig",
    "EncoderConfig",
    "Fusion",
    "HeadConfig",
    "HeadKind",
    "ModelConfig",
    "NewHeadConfig",
    "Preprocessing",
    "SeenVolume",
    "TransformerConfig",
]
