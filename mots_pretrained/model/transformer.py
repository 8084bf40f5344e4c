"""What both sides of the Transformer share: feed-forward network and DeepNorm (Sec. 3.3.3)."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from mots_pretrained.config import TransformerConfig
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


def deformable_attention(config: TransformerConfig, *, points: int) -> DeformableAttention:
    """Return the attention of a layer that samples ``points`` points a head and level."""
    return DeformableAttention(
        config.width,
        heads=config.heads,
        levels=config.levels,
        points=points,
        divisor=config.offset_divisor,
    )


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
    """Draw a layer's matrices from Xavier-normal, those on the value path with DeepNorm's gain.

    As DeepNet has it: values, outputs and feed-forward networks, those of the self-attention of
    the organ decoder included, are drawn with the gain, queries and keys with gain 1. Offsets and
    attention weights are no part of DeepNet and keep the start that deformable attention gives
    them. The published code differs in both: there the packed matrix of queries, keys and values
    of the self-attention, its output, the offsets and the attention weights all have gain 1.
    """
    for module in layer.modules():
        if isinstance(module, DeformableAttention):
            nn.init.xavier_normal_(module.value_projection.weight, gain)
            nn.init.xavier_normal_(module.output_projection.weight, gain)
        elif isinstance(module, FeedForward):
            nn.init.xavier_normal_(module.widen.weight, gain)
            nn.init.xavier_normal_(module.narrow.weight, gain)
        elif isinstance(module, nn.MultiheadAttention):
            query, key, value = module.in_proj_weight.detach().chunk(3)
            nn.init.xavier_normal_(query)
            nn.init.xavier_normal_(key)
            nn.init.xavier_normal_(value, gain)
            nn.init.xavier_normal_(module.out_proj.weight, gain)
