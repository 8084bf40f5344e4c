"""What both sides of the Transformer share: feed-forward network and DeepNorm (Sec. 3.3.3)."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from mots_pretrained.model.deformable_attention import DeformableAttention
from mots_pretrained.shapes import Tokens


class FeedForward(nn.Module):
    """Linear, ReLU, linear; ReLU whatever the CNN's activation is, as published."""

    def __init__(self, width: int, hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: Tokens) -> Tokens:
        """Map ``(B, tokens, width)`` to the same shape."""
        return self.dropout(self.narrow(self.dropout(F.relu(self.widen(z)))))


def deepnorm(encoder_layers: int, decoder_layers: int) -> dict[str, tuple[float, float]]:
    """Return (alpha, beta) of "encoder" and "decoder": residual factor and initial gain.

    Source: DeepNet (Wang et al., 2022), Table of encoder-decoder architectures; with N encoder
    and M decoder layers: encoder 0.81 (N^4 M)^(1/16) and 0.87 (N^4 M)^(-1/16), decoder
    (3 M)^(1/4) and (12 M)^(-1/4).
    """
    n, m = encoder_layers, decoder_layers
    return {
        "encoder": (0.81 * (n**4 * m) ** (1 / 16), 0.87 * (n**4 * m) ** (-1 / 16)),
        "decoder": ((3 * m) ** (1 / 4), (12 * m) ** (-1 / 4)),
    }


def initialise_deepnorm(layer: nn.Module, gain: float) -> None:
    """Draw the matrices on the value path from Xavier-normal with DeepNorm's gain."""
    for module in layer.modules():
        if isinstance(module, DeformableAttention):
            nn.init.xavier_normal_(module.value_projection.weight, gain)
            nn.init.xavier_normal_(module.output_projection.weight, gain)
        elif isinstance(module, FeedForward):
            nn.init.xavier_normal_(module.widen.weight, gain)
            nn.init.xavier_normal_(module.narrow.weight, gain)
