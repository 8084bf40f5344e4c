"""A network's fingerprint: its logits on a bundled input, to tell later whether it still computes.

Hashes of weights show that a file is whole; only logits show that code and weights fit together.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import MissingFileError, UserError

FINGERPRINT = "fingerprint.json"
"""Name of the file beside the weights."""

SIZE = (32, 64, 64)
"""Size (D, H, W) of the bundled input; every architecture takes it."""

TOLERANCES = {"float32": 1e-3, "bfloat16": 0.25}
"""Largest deviation of logits that is allowed, in their standard deviation, by precision."""

_SAMPLES = 64

_ORGANS = (  # value, centre and radii in voxels (D, H, W)
    (-0.05, (16, 34, 32), (40, 26, 30)),  # the body
    (-1.0, (30, 30, 18), (10, 14, 9)),  # lungs
    (-1.0, (30, 30, 46), (10, 14, 9)),
    (0.35, (20, 28, 20), (9, 14, 12)),  # liver
    (0.1, (19, 26, 22), (3, 4, 4)),  # a tumour in it
    (0.4, (20, 38, 48), (6, 7, 5)),  # spleen
    (0.55, (11, 44, 22), (7, 5, 4)),  # kidneys
    (0.55, (11, 44, 42), (7, 5, 4)),
    (1.0, (16, 50, 32), (40, 5, 5)),  # spine
)


def bundled_input(channels: int) -> Tensor:
    """Return ``(1, channels, 32, 64, 64)`` in [-1, 1]: a torso of ellipsoids under faint waves.

    A closed form, so that it is the same on every machine and in every version; the generator of
    phantoms may grow richer.
    """
    d, h, w = torch.meshgrid(
        *(torch.arange(size, dtype=torch.float64) for size in SIZE), indexing="ij"
    )
    image = torch.full(SIZE, -1.0, dtype=torch.float64)
    for value, centre, radii in _ORGANS:
        apart = [((x - c) / r) ** 2 for x, c, r in zip((d, h, w), centre, radii, strict=True)]
        image[sum(apart) <= 1] = value
    waves = torch.sin(0.9 * d) + torch.sin(0.7 * h + 1.0) + torch.cos(1.1 * w)
    image = (image + 0.02 * waves).clamp(-1, 1)
    return torch.stack([image.roll(5 * channel, dims=2) for channel in range(channels)])[
        None
    ].float()


@torch.no_grad()
def fingerprint(
    network: Callable[[Tensor], Any], config: ModelConfig, state: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Measure a network's logits on the bundled input.

    Args:
        network: Maps ``(B, C, D, H, W)`` to logits, or to a backbone's maps of which the finest
            counts; on the CPU, float32, in evaluation mode.
        config: Its configuration.
        state: Its weights by name.

    Returns:
        A dict of plain numbers and texts, for JSON.

    Raises:
        ValueError: If the logits are not finite.
    """
    flat, shape = _logits(network, config, "float32", "cpu")
    places = torch.linspace(0, len(flat) - 1, min(_SAMPLES, len(flat))).long()
    return {
        "format_version": 2,
        "weights_sha256": weights_sha256(state),
        "shape": shape,
        "mean": flat.mean().item(),
        "std": flat.std().item(),
        "tolerances": TOLERANCES,
        "places": places.tolist(),
        "logits": flat[places].tolist(),
        "torch": str(torch.__version__),
    }


@torch.no_grad()
def deviation(
    network: Callable[[Tensor], Any],
    config: ModelConfig,
    stored: Mapping[str, Any],
    *,
    precision: str = "float32",
    device: str = "cpu",
) -> float:
    """Return how far logits lie from the stored ones at most, in their standard deviation.

    Args:
        network: As in :func:`fingerprint`, on any device.
        config: Its configuration.
        stored: What :func:`fingerprint` measured, in single precision.
        precision: Arithmetic to measure in, a key of ``TOLERANCES``.
        device: Where the network lies.

    Raises:
        ValueError: If logits have another shape than the stored ones, or are not finite.
    """
    flat, shape = _logits(network, config, precision, device)
    if shape != stored["shape"]:
        raise UserError(f"logits have shape {shape}, stored were {stored['shape']}")
    return _apart(flat[torch.tensor(stored["places"])].tolist(), stored)


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
    apart, allowed = _apart(found["logits"], stored), stored["tolerances"]["float32"]
    if not apart <= allowed:
        faults.append(
            f"logits deviate by {apart:.2g} of their standard deviation, allowed is {allowed:g}"
        )
    return faults


def read_fingerprint(folder: str | Path) -> dict[str, Any]:
    """Read a folder's fingerprint.json.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is none of this version's, or damaged.
    """
    path = Path(folder) / FINGERPRINT
    if not path.is_file():
        raise MissingFileError(
            f"{folder} has no {FINGERPRINT}, so nothing says what its weights should compute; "
            "`mots push` and `mots convert` write one"
        )
    try:
        values = json.loads(path.read_text("utf-8"))
        sound = values["format_version"] == 2 and isinstance(values["weights_sha256"], str)
        sound = sound and all(len(values[key]) > 0 for key in ("shape", "places", "logits"))
        sound = sound and len(values["places"]) == len(values["logits"])
        sound = sound and all(type(place) is int for place in (*values["shape"], *values["places"]))
        sound = sound and min(values["places"]) >= 0
        sound = sound and max(values["places"]) < math.prod(values["shape"])
        numbers = [values["std"], *values["logits"], *map(values["tolerances"].get, TOLERANCES)]
        sound = sound and all(math.isfinite(number) for number in numbers)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise UserError(f"{path} is no fingerprint that this version reads; get the model again")
    return values


def _logits(
    network: Callable[[Tensor], Any], config: ModelConfig, precision: str, device: str
) -> tuple[Tensor, list[int]]:
    image = bundled_input(config.encoder.in_channels).to(device)
    kind = torch.device(device).type
    with _without_tf32(), torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"):
        out = network(image)
    logits = (out if isinstance(out, Tensor) else out.decoder).double().cpu()
    if not bool(logits.isfinite().all()):
        raise UserError("the network's logits are not finite; its weights are damaged")
    return logits.flatten(), list(logits.shape)


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Compute float32 as float32: TF32, cuDNN's default for convolutions, keeps 10 bits of 23."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def _apart(logits: list[float], stored: Mapping[str, Any]) -> float:
    scale = max(stored["std"], 1e-12)
    return max(abs(a - b) / scale for a, b in zip(logits, stored["logits"], strict=True))


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
