"""The weights in a checkpoint file, out of whatever a training has wrapped around them."""

from __future__ import annotations

import argparse
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.published.keys import looks_published
from mots_pretrained.weights.checkpoint import WRAPPERS, read_weights

CONTAINERS = (
    *(
        "state_dict",
        "model",
        "net",
        "network",
        "network_weights",
        "model_state_dict",
        "model_state",
    ),
    *("weights", "params", "student", "teacher", "state_dict_ema", "model_ema", "ema", "module"),
)
"""Names under which trainings keep weights, the likeliest first; others are found, too."""

_IN_FRONT = {*CONTAINERS, "backbone", "ema_model", "_forward_module"}  # around the whole network
_COUNTERS = ("num_batches_tracked", "n_averaged")
_DEPTH = 4  # containers within containers


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a published checkpoint without running any code that it may hold.

    Args:
        path: A ``.pth`` file as the published training or another one has written it, or a
            ``.safetensors`` file with published names.

    Returns:
        Its weights by published name, on the CPU; see :func:`unwrap`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or holds no weights of a published network.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the checkpoint's own file (.pth)")
    if not path.is_file():
        raise MissingFileError(f"no such checkpoint: {path}")
    if path.suffix == ".safetensors":
        return unwrap(read_weights(path))
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options, often beside
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader fails in many types on a damaged file
        if zipfile.is_zipfile(path):  # whole, then
            raise UserError(
                f"{path} holds more than weights, which is not read as it could run code; where "
                "it comes from, store its state_dict() alone with torch.save"
            ) from error
        raise UserError(
            f"{path} is damaged, or was not written by torch.save; copy or download it again"
        ) from error
    return unwrap(checkpoint)


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a checkpoint's weights by published name, in single precision or double.

    Containers, also within each other, are opened; ``module.`` and ``_orig_mod.`` are left out
    wherever they stand, and so is what a wrapper has put in front of all names. Counters of batches
    and of averaged steps, which published networks do not have, are left out. Half precision
    becomes single.

    Raises:
        ValueError: If it holds no weights of a published network, a weight twice, or one that is
            no finite floating-point tensor.
    """
    found = dict(_weights_within(checkpoint))
    if not found:
        raise UserError(
            "this is no published checkpoint: it holds no weights by name, neither at its top nor "
            f"under a name such as {', '.join(CONTAINERS[:4])}"
        )
    cleaned = {place: _cleaned(weights) for place, weights in found.items()}
    fitting = [place for place, names in cleaned.items() if looks_published({*names.values()})]
    if not fitting:
        place, names = max(cleaned.items(), key=lambda item: len(item[1]))
        raise UserError(
            "this is neither a published TransDoDNet nor a DoDNet checkpoint: its weights"
            f"{f' under {place!r}' if place else ''} are named {', '.join([*names][:3])!s:.200}, "
            "...; a folder of this package needs no conversion"
        )
    place, *others = sorted(fitting, key=_preference)
    if others:
        warnings.warn(
            f"weights are read from {place or 'the top'!r}; the checkpoint has others under "
            f"{', '.join(map(repr, others))}",
            stacklevel=2,
        )
    return _sound(found[place], cleaned[place])


def _weights_within(value: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield every mapping that holds tensors, by the names of the containers that lead to it."""
    if not isinstance(value, Mapping) or depth > _DEPTH:
        return
    if any(isinstance(item, Tensor) for item in value.values()):
        yield place, value
    for name, item in value.items():
        if isinstance(name, str) and "optim" not in name:
            yield from _weights_within(item, f"{place}.{name}".lstrip("."), depth + 1)


def _preference(place: str) -> tuple[int, int]:
    """Sort places: the likeliest container first, and none at all before any."""
    names = [name for name in place.split(".") if name]
    ranks = [CONTAINERS.index(name) if name in CONTAINERS else 99 for name in names]
    return max(ranks, default=-1), len(names)


def _cleaned(weights: Mapping[Any, Any]) -> dict[str, str]:
    """Map the names of weights to published ones."""
    parts = {
        name: [part for part in name.split(".") if part not in WRAPPERS]
        for name, value in weights.items()
        if isinstance(name, str) and isinstance(value, Tensor) and not name.endswith(_COUNTERS)
    }
    while parts and len({own[0] for own in parts.values() if own}) == 1:
        first = next(iter(parts.values()))[0]
        if first not in _IN_FRONT or min(map(len, parts.values())) < 2:
            break
        parts = {name: own[1:] for name, own in parts.items()}
    return {name: ".".join(own) for name, own in parts.items()}


def _is_beside(name: str, value: Any) -> bool:
    """Return whether an entry is no weight: a counter, or what a training keeps beside them."""
    if name.endswith(_COUNTERS):
        warnings.warn(f"left out {name}, a counter that no published network has", stacklevel=4)
        return True
    return not isinstance(value, Tensor) and "." not in name


def _sound(weights: Mapping[Any, Any], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the weights under their published names, or refuse the first that is none."""
    sound: dict[str, Tensor] = {}
    for name, value in weights.items():
        if isinstance(name, str) and name not in names and _is_beside(name, value):
            continue
        if name not in names:
            raise UserError(f"this is no published checkpoint: {name!r:.80} is no weight tensor")
        if names[name] in sound:
            raise UserError(
                f"the checkpoint holds {names[name]} twice, as {name} too; store one of them alone"
            )
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise UserError(
                f"the checkpoint is damaged: {name} ({value.dtype}) is not finite floats "
                "throughout; take an earlier one of the training, or copy it again"
            )
        half = value.dtype in (torch.float16, torch.bfloat16)
        sound[names[name]] = value.float() if half else value
    return sound
