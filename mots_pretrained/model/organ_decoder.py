"""The organ decoder: organ embeddings read the memory and become t_Idec (Eq. 13)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mots_pretrained.config import TransformerConfig
from mots_pretrained.model.position import Shape
from mots_pretrained.model.transformer import (
    FeedForward,
    deepnorm,
    deformable_attention,
    initialise_deepnorm,
)
from mots_pretrained.model.transformer_encoder import flatten_levels, level_shapes
from mots_pretrained.shapes import Features, Tokens


class DecoderLayer(nn.Module):
    """Self-attention over the queries, deformable cross-attention, feed-forward network.

    Args:
        config: The Transformer's configuration.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.alpha, beta = deepnorm(config.encoder_layers, config.decoder_layers)["decoder"]
        self.self_attention = nn.MultiheadAttention(
            config.width, config.heads, dropout=config.dropout, batch_first=True
        )
        self.norm_self = nn.LayerNorm(config.width)
        self.cross_attention = deformable_attention(config, points=config.decoder_points)
        self.norm_cross = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config.width, config.feedforward, dropout=config.dropout)
        self.norm_feedforward = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        initialise_deepnorm(self, beta)

    def forward(
        self,
        t: Tokens,
        embedding: Tensor,
        reference: Tensor,
        memory: Tokens,
        shapes: list[Shape],
    ) -> Tokens:
        """Return t_i of t_{i-1} ``(B, M, d)``, E_q ``(M, d)`` and the memory ``(B, tokens, d)``."""
        if self.pre_norm:  # residuals unscaled, as published
            t = t + self._attend_self(self.norm_self(t), embedding)
            x = self.norm_cross(t) + embedding
            t = t + self.dropout(self.cross_attention(x, reference, memory, shapes))
            return t + self.feedforward(self.norm_feedforward(t))
        t = self.norm_self(self._attend_self(t, embedding) + t * self.alpha)
        crossed = self.dropout(self.cross_attention(t + embedding, reference, memory, shapes))
        t = self.norm_cross(crossed + t * self.alpha)
        return self.norm_feedforward(self.feedforward(t) + t * self.alpha)

    def _attend_self(self, value: Tensor, embedding: Tensor) -> Tensor:
        query = value + embedding
        attended, _ = self.self_attention(query, query, value, need_weights=False)
        return self.dropout(attended)


class OrganDecoder(nn.Module):
    """Decodes M learned organ embeddings from the Transformer's memory.

    Args:
        config: The Transformer's configuration.
        queries: M, one query a task.
    """

    def __init__(self, config: TransformerConfig, queries: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(queries, config.width))  # E_q
        self.initial = nn.Parameter(torch.randn(queries, config.width))  # t_0
        self.reference = nn.Linear(config.width, 3)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        if config.pre_norm:
            # Never applied: the published network has it and takes its last layer's output before
            # it. It stays, so that published weights survive the way here and back.
            self.norm = nn.LayerNorm(config.width)

    def forward(self, memory: list[Features]) -> Tokens:
        """Return t_Idec, one embedding a task, ``(B, M, d)``.

        Args:
            memory: The Transformer's levels, finest first.
        """
        shapes, tokens = level_shapes(memory), flatten_levels(memory)
        reference = self.reference(self.embedding).sigmoid()[None]  # one for all layers
        t = self.initial.expand(tokens.shape[0], -1, -1)
        for layer in self.layers:
            t = layer(t, self.embedding, reference, tokens, shapes)
        return t
