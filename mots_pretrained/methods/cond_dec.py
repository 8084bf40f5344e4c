"""Cond-Dec: the task enters as a code in the decoder's activations (Table 9, [26])."""

from __future__ import annotations

from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.methods.static import StaticDecoder
from mots_pretrained.methods.taskwise import CodedNetwork
from mots_pretrained.model.backbone import check_input
from mots_pretrained.model.encoder import Encoder
from mots_pretrained.shapes import Features, Image, TaskLogits


class CondDec(CodedNetwork):
    """A shared encoder, and one decoder that receives the task at every step.

    Args:
        config: Architecture "cond_dec"; its transformer is None.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(
            config.encoder, act=config.activation, standardised=config.weight_standardisation
        )
        self.branch = StaticDecoder(config, config.head.out_channels, code=len(config.tasks))

    def shared(self, image: Image) -> list[Features]:
        """Encode, once for all tasks."""
        check_input(image, self.config.encoder.in_channels)
        return self.encoder(image)

    def decode_coded(self, shared: list[Features], code: Tensor) -> TaskLogits:
        """Run the decoder with each sample's code."""
        return self.branch(shared, code)
