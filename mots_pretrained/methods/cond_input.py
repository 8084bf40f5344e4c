"""Cond-Input: the task enters as a code beside the image's channels (Table 9, [54])."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.methods.static import StaticNetwork
from mots_pretrained.methods.taskwise import CodedNetwork
from mots_pretrained.model.decoder import join_code
from mots_pretrained.shapes import Features, Image, TaskLogits


class CondInput(CodedNetwork):
    """One network that reads the image and, in M further channels, the one-hot task.

    The first instance norm takes the mean of a channel away, and with it most of a constant code:
    what remains enters where the padding ends it, at the window's faces.

    Args:
        config: Architecture "cond_input"; ``encoder.in_channels`` counts the image's channels only.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.network = StaticNetwork(with_code(config), config.head.out_channels)

    def shared(self, image: Image) -> list[Features]:
        """Return the image: the tasks share nothing else."""
        return [image]

    def decode_coded(self, shared: list[Features], code: Tensor) -> TaskLogits:
        """Run the network on image and code."""
        return self.network(join_code(shared[0], code))


def with_code(config: ModelConfig) -> ModelConfig:
    """Return the configuration of a network whose input has a channel more for every task."""
    names = tuple(f"code_{number}" for number in range(len(config.tasks)))
    encoder, contract = config.encoder, config.preprocessing
    return dataclasses.replace(
        config,
        encoder=dataclasses.replace(encoder, in_channels=encoder.in_channels + len(names)),
        preprocessing=dataclasses.replace(contract, channels=(*contract.channels, *names)),
    )
