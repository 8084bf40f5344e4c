"""Multi-Nets: the task chooses the whole network, one a task (Fig. 2a, Table 9)."""

from __future__ import annotations

from torch import nn

from mots_pretrained.config import ModelConfig
from mots_pretrained.methods.static import StaticNetwork
from mots_pretrained.methods.taskwise import TaskwiseNetwork
from mots_pretrained.shapes import Features, Image, TaskLogits


class MultiNets(TaskwiseNetwork):
    """As many networks as tasks; a step trains those only whose tasks are in the batch.

    Args:
        config: Architecture "multi_nets"; each network is one of this configuration.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(
            StaticNetwork(config, config.head.out_channels) for _ in config.tasks
        )

    def shared(self, image: Image) -> list[Features]:
        """Return the image: the tasks share nothing else."""
        return [image]

    def decode(self, shared: list[Features], task: int) -> TaskLogits:
        """Run the task's own network."""
        return self.networks[task](shared[0])
