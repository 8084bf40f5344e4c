"""Published TransDoDNet and DoDNet checkpoints to our names and configuration, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.published.arguments import Arguments
from mots_pretrained.published.config import conference_config, transdodnet_config
from mots_pretrained.published.keys import ROOT, Entry, entries

_CONTAINERS = ("state_dict", "model")


class Inspection(NamedTuple):
    """What a published checkpoint is.

    Attributes:
        config: Our configuration of it.
        inferred: Published arguments that names and shapes of the weights tell.
        given: Arguments that the caller gave and the weights do not tell.
        assumed: Arguments that nobody gave, at the published defaults.
    """

    config: ModelConfig
    inferred: dict[str, Any]
    given: dict[str, Any]
    assumed: dict[str, Any]


def convert(
    state_dict: Mapping[str, Any], published_args: Mapping[str, Any] | None = None
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Bring a published network into this package's form; no value is changed.

    Args:
        state_dict: A published TransDoDNet's or DoDNet's weights by name, with or without
            ``module.``; also the whole checkpoint, with the weights under "state_dict" or "model".
        published_args: Options of the published command line by name, as values or as the texts
            one would type: ``{"nheads": 4, "add_memory": "1"}``. What shapes tell is not needed;
            the rest takes the published defaults. ``spacing`` (mm, depth first) says what the
            weights were trained on.

    Returns:
        The configuration and the weights, which load strictly into ``build(config)``.

    Raises:
        ValueError: If it is neither network, is damaged, or an argument contradicts it.
        KeyError: If an argument is unknown.

    Example:
        >>> config, state = convert(torch.load("checkpoint.pth", weights_only=True))
        >>> net = mots_pretrained.build(config)
        >>> net.load_state_dict(state)
        <All keys matched successfully>
    """
    weights = unwrap(state_dict)
    config = inspect(weights, published_args).config
    renamed: dict[str, Tensor] = {}
    for entry in entries(config):
        parts = weights[entry.published].chunk(len(entry.own), dim=-1)
        renamed.update(
            {name: part.contiguous() for name, part in zip(entry.own, parts, strict=True)}
        )
    return config, renamed


def to_published(config: ModelConfig, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo :func:`convert`: published names without ``module.``, in published order.

    Args:
        config: Of a converted network, or of any that the published code can represent.
        state_dict: Its weights under our names.

    Raises:
        ValueError: If the published code cannot compute this network, or a weight does not fit.
    """
    _check_published(config)
    known = entries(config)
    own = {name for entry in known for name in entry.own}
    _check_names("our", own, set(state_dict))
    published = {
        entry.published: torch.cat([state_dict[name] for name in entry.own], dim=-1)
        if len(entry.own) > 1
        else state_dict[entry.own[0]]
        for entry in known
    }
    _check_shapes(known, published)
    return published


def inspect(
    state_dict: Mapping[str, Any], published_args: Mapping[str, Any] | None = None
) -> Inspection:
    """Tell what a published checkpoint is; arguments and errors as in :func:`convert`."""
    weights = unwrap(state_dict)
    arguments = Arguments(published_args or {})
    if any(name.startswith(ROOT) for name in weights):
        config = transdodnet_config(weights, arguments)
    elif "precls_conv.2.weight" in weights or "GAP.0.weight" in weights:
        config = conference_config(weights, arguments)
    else:
        shown = ", ".join(list(weights)[:3])
        raise UserError(
            f"this is neither a published TransDoDNet nor a DoDNet checkpoint: its weights are "
            f"named {shown}, ...; a folder of this package needs no conversion"
        )
    known = entries(config)
    _check_names("published", {entry.published for entry in known}, set(weights))
    _check_shapes(known, weights)
    return Inspection(config, arguments.inferred, arguments.given, arguments.assumed)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a published checkpoint without running any code that it may hold.

    Args:
        path: A ``.pth`` file as the published training writes it.

    Returns:
        Its weights by published name, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or holds no weights.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the checkpoint's own file (.pth)")
    if not path.is_file():
        raise MissingFileError(f"no such checkpoint: {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader fails in many types on a damaged file
        raise UserError(
            f"{path} is damaged, or was not written by torch.save, or holds more than weights; "
            "copy or download it again"
        ) from error
    return unwrap(checkpoint)


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a checkpoint's weights by published name without ``module.``.

    Raises:
        ValueError: If it holds no weights, or a weight is no finite floating-point tensor.
    """
    state: Any = checkpoint
    for container in _CONTAINERS:
        if isinstance(state, Mapping) and isinstance(state.get(container), Mapping):
            state = state[container]
            break
    if not isinstance(state, Mapping) or not state:
        raise UserError(
            "this is no published checkpoint: it holds no weights by name, "
            "neither at its top nor under 'state_dict' or 'model'"
        )
    weights: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"this is no published checkpoint: {name!r:.80} is no weight tensor")
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise UserError(
                f"the checkpoint is damaged: {name} ({value.dtype}) is not finite floats throughout"
            )
        weights[name.removeprefix("module.")] = value
    return weights


def _check_published(config: ModelConfig) -> None:
    """Raise a ValueError where the published code would compute something else."""
    if config.architecture not in ("transdodnet", "dodnet_conference"):
        raise UserError(f"the published code has no {config.architecture} network")
    faults: list[tuple[str, object, object]] = [
        ("encoder.extra_blocks", config.encoder.extra_blocks, 0)
    ]
    if config.transformer is not None:
        faults += [
            (f"transformer.{name}", getattr(config.transformer, name), "published")
            for name in ("position_code", "coordinate_order", "offset_divisor")
        ]
    for name, value, needed in faults:
        if value != needed:
            raise UserError(
                f"the published code computes this network only with {name} {needed!r}, "
                f"not {value!r}"
            )


def _check_names(whose: str, wanted: set[str], found: set[str]) -> None:
    faults = {"missing": sorted(wanted - found), "unexpected": sorted(found - wanted)}
    parts = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in faults.items()
        if names
    ]
    if parts:
        raise UserError(f"the weights are not {whose} network's, or damaged: {'; '.join(parts)}")


def _check_shapes(known: list[Entry], weights: Mapping[str, Tensor]) -> None:
    for name, _, shape in known:
        if tuple(weights[name].shape) != shape:
            raise UserError(
                f"the weights do not fit together: {name} has shape "
                f"{tuple(weights[name].shape)}, the rest of the network needs {shape}"
            )
