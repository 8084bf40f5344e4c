"""Activation checkpointing: blocks compute again in the backward pass what they would have kept."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.utils.checkpoint import checkpoint

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@contextmanager
def recomputed(model: nn.Module) -> Iterator[None]:
    """While it lasts, forward passes keep no more than the inputs of the model's blocks.

    Values, gradients and random numbers are the same; the backward pass takes a forward pass
    longer. Inside, a forward pass serves one backward pass through whatever was computed.

    Args:
        model: Any; its blocks are what :func:`blocks` finds.
    """
    found = list(blocks(model))
    for block in found:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in found:
            del block.forward  # the class's own shows again


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks that a model is made of, none within another.

    These are the members of its containers that have members themselves (residual blocks,
    Transformer layers), and sequences of single layers (stems, projections).
    """
    for child in model.children():
        members = list(child.children())
        if not members:
            continue
        is_container = isinstance(child, _CONTAINERS)
        is_chain = isinstance(child, nn.Sequential) and not any(
            list(member.children()) for member in members
        )
        if is_chain or (isinstance(model, _CONTAINERS) and not is_container):
            yield child
        else:
            yield from blocks(child)
