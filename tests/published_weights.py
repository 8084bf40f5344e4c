"""Small networks that the published code could compute, their checkpoints, and spoilt ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mots_pretrained.config import DecoderConfig, EncoderConfig, ModelConfig, TransformerConfig
from mots_pretrained.published.keys import published_keys

Weights = dict[str, Tensor]


def published(**changes: Any) -> ModelConfig:
    """A small TransDoDNet that the published code could compute."""
    transformer = {
        "width": 12,
        "heads": 4,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "feedforward": 20,
        "encoder_points": 3,
        "decoder_points": 2,
        "position_code": "published",
        "coordinate_order": "published",
        "offset_divisor": "published",
        **changes.pop("transformer", {}),
    }
    return ModelConfig(
        encoder=EncoderConfig(depth=changes.pop("depth", 10), stem_width=4, widths=(4, 6, 8, 10)),
        transformer=TransformerConfig(**transformer),
        decoder=DecoderConfig((12, 10, 8, 6, 4)),
        **changes,
    )


def random_weights(config: ModelConfig) -> Weights:
    """A network's weights by published name."""
    return {entry.published: torch.randn(entry.shape) for entry in published_keys(config)}


class Bomb:
    """Makes a folder ``ran`` where its pickle is run."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def changed(**changes: Any) -> Callable[[Weights], Weights]:
    """Replace weights; None takes one away. Two underscores stand for a dot."""

    def change(weights: Weights) -> Weights:
        new = {**weights, **{name.replace("__", "."): value for name, value in changes.items()}}
        return {name: value for name, value in new.items() if value is not None}

    return change


SPOILT: dict[str, tuple[Callable[[Weights], Any], str]] = {
    "missing weight": (changed(fusionConv__0__bias=None), "1 missing (fusionConv.0.bias)"),
    "missing part": (changed(controller__weight=None), "lacks controller.weight"),
    "extra weight": (changed(head__weight=torch.zeros(2)), "1 unexpected (head.weight)"),
    "another shape": (changed(controller__bias=torch.zeros(3)), "controller.bias has shape"),
    "flat": (changed(conv1__weight=torch.zeros(5)), "conv1.weight has shape (5,)"),
    "not a number": (changed(conv1__weight=torch.tensor([torch.nan])), "not finite"),
    "whole numbers": (changed(conv1__weight=torch.zeros(1).long()), "torch.int64"),
    "text": (changed(conv1__weight="text"), "'conv1.weight' is no weight tensor"),
    "another network": (lambda w: {"fc.weight": torch.zeros(2, 2)}, "named fc.weight"),
    "twice": (lambda w: {**w, "module.conv1.weight": w["conv1.weight"]}, "conv1.weight twice"),
    "one tensor": (lambda w: w["conv1.weight"], "holds no weights by name"),
    "a list": (lambda w: [*w.values()], "holds no weights by name"),
    "optimizer alone": (lambda w: {"optimizer": {"state": {}}}, "holds no weights by name"),
    "nothing": (lambda w: {}, "holds no weights by name"),
    "code": (lambda w: {"state_dict": w, "hook": Bomb()}, "store its state_dict() alone"),
}
"""How a checkpoint of the 2021 network is spoilt, and what is said of it."""
