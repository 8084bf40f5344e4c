"""A network's fingerprint: its logits on a bundled input, to tell later whether it still computes.

Hashes of weights show that a file is whole; only logits show that code and weights fit together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig

FINGERPRINT = "fingerprint.json"
"""Name of the file beside the weights."""

SIZE = (32, 64, 64)
"""Size (D, H, W) of the bundled input; every architecture takes it."""

TOLERANCE = 1e-3
"""Allowed deviation of logits, in their standard deviation: single precision elsewhere."""

_SAMPLES = 64


def bundled_input(channels: int) -> Tensor:
    """Return ``(1, channels, 32, 64, 64)`` in [-1, 1]: waves, the same on every machine."""
    d, h, w = (torch.arange(size, dtype=torch.float64) for size in SIZE)
    wave = (
        torch.sin(0.35 * d)[:, None, None]
        + torch.sin(0.23 * h + 1.0)[None, :, None]
        + torch.cos(0.17 * w)[None, None, :]
    )
    shifted = [wave.roll(5 * channel, dims=2) for channel in range(channels)]
    return (torch.stack(shifted)[None] / 3).float()


@torch.no_grad()
def fingerprint(
    network: Callable[[Tensor], Tensor], config: ModelConfig, state: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Measure a network's logits on the bundled input.

    Args:
        network: Maps ``(B, C, D, H, W)`` to logits, on the CPU, float32, in evaluation mode.
        config: Its configuration.
        state: Its weights by name.

    Returns:
        A dict of plain numbers and texts, for JSON.

    Raises:
        ValueError: If the logits are not finite.
    """
    logits = network(bundled_input(config.encoder.in_channels)).double()
    if not bool(logits.isfinite().all()):
        raise ValueError("the network's logits are not finite; its weights are damaged")
    flat = logits.flatten()
    places = torch.linspace(0, len(flat) - 1, min(_SAMPLES, len(flat))).long()
    return {
        "format_version": 1,
        "weights_sha256": weights_sha256(state),
        "shape": list(logits.shape),
        "mean": flat.mean().item(),
        "std": flat.std().item(),
        "places": places.tolist(),
        "logits": flat[places].tolist(),
        "torch": str(torch.__version__),
    }


def differences(found: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Say in plain lines how a fingerprint differs from a stored one; nothing if it does not.

    Args:
        found: What :func:`fingerprint` measures now.
        stored: What it measured when the weights were stored.
    """
    faults = []
    if found["weights_sha256"] != stored["weights_sha256"]:
        faults.append("the weights are not those that were stored")
    if found["shape"] != stored["shape"]:
        return [*faults, f"logits have shape {found['shape']}, stored were {stored['shape']}"]
    scale = max(stored["std"], 1e-12)
    apart = max(abs(a - b) / scale for a, b in zip(found["logits"], stored["logits"], strict=True))
    if apart > TOLERANCE:
        faults.append(
            f"logits deviate by {apart:.2g} of their standard deviation, allowed is {TOLERANCE:g}"
        )
    return faults


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names and float32 values of all weights, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def to_text(values: Mapping[str, Any]) -> str:
    """Return the text of fingerprint.json."""
    return json.dumps(dict(values), indent=2) + "\n"
