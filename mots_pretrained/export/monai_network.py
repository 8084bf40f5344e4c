"""A network that gives probabilities window by window, as a MONAI bundle runs it."""

from __future__ import annotations

from torch import Tensor, nn

from mots_pretrained.config import ModelConfig
from mots_pretrained.inference.network import Probabilities
from mots_pretrained.networks import build


class ProbabilityNetwork(nn.Module):
    """A network with tasks or a segmenter, followed by its softmax or sigmoid.

    Windows' probabilities are averaged, as `Predictor` does, not their logits.

    Args:
        config: The network's configuration; the weights are loaded later.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.module = build(config)

    def forward(self, windows: Tensor) -> Tensor:
        """Return ``(B, K, D, H, W)``: classes with the background, regions, or tasks' categories.

        Args:
            windows: ``(B, C, D, H, W)`` scaled by the contract.
        """
        network = Probabilities(self.module)
        found = network(windows)
        network.checked((0, found))
        return found
