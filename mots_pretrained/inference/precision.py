"""What a network computes in: its own type, or by autocast a shorter one that the device has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch

from mots_pretrained.errors import UserError

Precision = Literal["float32", "bfloat16", "float16"]
"""What a network computes in: its own type, or a shorter one by autocast."""

Wanted = Literal["auto", "float32", "bfloat16", "float16"]
"""What may be asked for: a precision, or that of the device."""


def check_precision(wanted: str) -> None:
    """Refuse what is no precision.

    Raises:
        UserError: If it is none of `Wanted`.
    """
    if wanted not in get_args(Wanted):
        allowed = ", ".join(get_args(Wanted))
        raise UserError(f"unknown precision {wanted!r}; allowed are {allowed}")


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Return what to compute in on a device.

    ``"auto"`` is a shorter type where the device has instructions for it. On a processor with
    AVX-512 BF16 or AMX that is bfloat16, in which the organs' masks of the shipped network agree
    with those in float32 to a Dice of 0.99 (``benchmarks/LOG.md``). On CUDA it is bfloat16 from
    compute capability 8.0 on, float16 from 7.0 on. Anywhere else it is float32.

    Args:
        wanted: One of `Wanted`.
        device: Where the network is.

    Raises:
        UserError: If there is no such precision, or the device does not have it.
    """
    check_precision(wanted)
    if wanted == "auto":
        return _of_the_device(device)
    if wanted == "float16" and device.type == "cpu":
        raise UserError("precision float16 is for CUDA; on a processor take bfloat16 or float32")
    if wanted == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError("this GPU has no bfloat16; take precision float16 or float32")
    return wanted  # type: ignore[return-value]


def _of_the_device(device: torch.device) -> Precision:
    if device.type == "cpu":
        return "bfloat16" if {"avx512_bf16", "amx_bf16"} & _instructions() else "float32"
    if device.type != "cuda":
        return "float32"
    capability = torch.cuda.get_device_capability(device)
    if capability >= (8, 0):
        return "bfloat16"
    return "float16" if capability >= (7, 0) else "float32"


def _instructions() -> set[str]:
    """Return the names of a processor's sets of instructions; older versions of torch tell none."""
    tell: Callable[[], Mapping[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = tell()
    return {name for name, there in capabilities.items() if there is True}
