"""Widening the first convolution from one CT channel to several (Sec. 4.5, BraTS)."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mots_pretrained.errors import UserError

ChannelInit = Literal["random", "first", "mean", "first_scaled", "zero_new"]


def check_channel_init(init: str) -> None:
    """Refuse a name that is no way to widen, also where nothing is widened.

    Raises:
        UserError: Naming the ways there are.
    """
    if init not in get_args(ChannelInit):
        raise UserError(
            f"channel_init must be one of {', '.join(get_args(ChannelInit))}, not {init!r:.80}"
        )


def widen_input(weight: Tensor, channels: int, init: ChannelInit = "random") -> Tensor:
    """Return the first convolution's weights for another number of input channels.

    Args:
        weight: ``(out, in, k, k, k)``.
        channels: New number of input channels.
        init: ``"random"`` draws all weights anew, as a new convolution does; ``"first"`` copies
            the first channel's weights to every channel, as in the paper, so that a filter sees
            the channels' sum alone; ``"mean"`` copies the mean over the channels;
            ``"first_scaled"`` divides the copies by their number, so that equal channels give what
            one gave; ``"zero_new"`` keeps the old channels and starts the new ones at zero.

    Returns:
        ``(out, channels, k, k, k)``.

    Raises:
        ValueError: If ``init`` is unknown or ``channels`` is not positive.
    """
    check_channel_init(init)
    if channels < 1:
        raise UserError(f"in_channels must be at least 1, not {channels}")
    if init == "zero_new":
        kept = weight[:, :channels]
        new = weight.new_zeros(len(weight), channels - kept.shape[1], *weight.shape[2:])
        return torch.cat([kept, new], dim=1)
    if init == "random":
        new = weight.new_empty(len(weight), channels, *weight.shape[2:])
        return nn.init.kaiming_uniform_(new, a=math.sqrt(5))  # as of torch's convolutions
    source = weight.mean(dim=1, keepdim=True) if init == "mean" else weight[:, :1]
    copies = source.repeat(1, channels, 1, 1, 1)
    return copies / channels if init == "first_scaled" else copies
