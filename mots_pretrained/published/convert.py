"""Published TransDoDNet and DoDNet checkpoints to our names and configuration, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.published.arguments import Arguments
from mots_pretrained.published.config import read_conference, read_transdodnet
from mots_pretrained.published.keys import ROOT, Key, published_keys
from mots_pretrained.published.unwrap import unwrap


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

    Half precision alone becomes single.

    Args:
        state_dict: A published TransDoDNet's or DoDNet's weights by name, or a whole checkpoint
            that holds them, as ``unwrap`` opens it.
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
    for entry in published_keys(config):
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
    known = published_keys(config)
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
    read = read_transdodnet if any(n.startswith(ROOT) for n in weights) else read_conference
    config = read(weights, arguments)
    known = published_keys(config)
    _check_names("published", {entry.published for entry in known}, set(weights))
    _check_shapes(known, weights)
    return Inspection(config, arguments.inferred, arguments.given, arguments.assumed)


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


def _check_shapes(known: list[Key], weights: Mapping[str, Tensor]) -> None:
    for name, _, shape in known:
        if tuple(weights[name].shape) != shape:
            raise UserError(
                f"the weights do not fit together: {name} has shape "
                f"{tuple(weights[name].shape)}, the rest of the network needs {shape}"
            )
