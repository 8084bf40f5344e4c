"""Multi-Head: the task chooses the decoder, behind one encoder (Fig. 2b, Chen et al. [11])."""

from __future__ import annotations

from torch import nn

from mots_pretrained.config import ModelConfig
from mots_pretrained.methods.static import StaticDecoder
from mots_pretrained.methods.taskwise import TaskwiseNetwork
from mots_pretrained.model.backbone import check_input
from mots_pretrained.model.encoder import Encoder
from mots_pretrained.shapes import Features, Image, TaskLogits


class MultiHead(TaskwiseNetwork):
    """A shared encoder and as many decoders as tasks.

    Sec. 4.4 halves the decoders' channels for want of memory; that is the configuration's matter
    (``methods.configured("multi_head", base)`` does it), so that it can be undone.

    Args:
        config: Architecture "multi_head"; its transformer is None, its decoder each decoder's.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(
            config.encoder, act=config.activation, standardised=config.weight_standardisation
        )
        self.branches = nn.ModuleList(
            StaticDecoder(config, config.head.out_channels) for _ in config.tasks
        )

    def shared(self, image: Image) -> list[Features]:
        """Encode, once for all tasks."""
        check_input(image, self.config.encoder.in_channels)
        return self.encoder(image)

    def decode(self, shared: list[Features], task: int) -> TaskLogits:
        """Run the task's own decoder."""
        return self.branches[task](shared)
