"""Low-rank adapters (LoRA) on the backbone's layers, through peft: few weights learn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.errors import UserError
from mots_pretrained.model.blocks import StandardisedConv3d
from mots_pretrained.model.pretrained import Pretrained, check_state
from mots_pretrained.model.stages import parts_of, stage_of
from mots_pretrained.weights.addition import Addition
from mots_pretrained.weights.fingerprint import weights_sha256

_KIND = "lora"
_LARGEST_RANK = 1024


def add_lora(
    network: Pretrained,
    parts: Sequence[str] = ("transformer",),
    *,
    rank: int = 8,
    alpha: int | None = None,
    dropout: float = 0.0,
) -> tuple[str, ...]:
    """Put adapters beside a network's layers, in place; only they and a segmenter's head learn.

    Adapted are linear layers and 3D convolutions of any kernel, but for those that standardise
    their weights, whose low-rank update could not be merged. Output is unchanged at first. Call
    :func:`merge_lora` before ``save_pretrained``. Needs peft, an extra.

    Args:
        network: A segmenter, a method or a backbone.
        parts: Parts of its backbone, as ``adaptation.freezing`` names them: ``"encoder"``,
            ``"transformer"``, ``"decoder"`` or single stages.
        rank: Rank of each layer's update.
        alpha: The update counts ``alpha / rank`` times; the rank by default, so once.
        dropout: On the adapters' input.

    Returns:
        Names of the adapted layers.

    Raises:
        ModuleNotFoundError: If peft is not installed.
        ValueError: If there is no such part or nothing in it to adapt, or it has adapters already.

    Example:
        >>> layers = add_lora(segmenter, ["transformer", "encoder.stage4"])  # doctest: +SKIP
    """
    there = _adaptable(network)
    wanted = {stage for part in parts for stage in _stages(network, part)}
    layers = tuple(name for name in there if stage_of(f"{name}.") in wanted)
    if not layers:
        raise UserError(f"nothing in {', '.join(parts) or 'no part'} can take adapters")
    _inject(network, layers, rank, rank if alpha is None else alpha, dropout)
    return layers


def merge_lora(network: Pretrained) -> tuple[str, ...]:
    """Add the adapters' updates to the weights and take the adapters away, in place.

    The network computes what it did with them, is an ordinary one again, and all of it may learn.

    Returns:
        Names of the layers whose weights have changed.

    Raises:
        ValueError: If an update is not finite.
    """
    adapted = _adapted(network)
    updates = {name: _update(layer) for name, layer in adapted.items()}
    for name, update in updates.items():
        if not bool(update.isfinite().all()):
            raise UserError(f"the adapter of {name} is not finite; train again at a lower rate")
    for name, layer in adapted.items():
        base = layer.get_base_layer()
        base.weight.data += updates[name]
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, base)
    if hasattr(network, "peft_config"):
        del network.peft_config
    network.requires_grad_(True)
    return tuple(adapted)


def save_lora(network: Pretrained, path: str | os.PathLike[str]) -> Path:
    """Write the adapters, and a segmenter's head, for :func:`load_lora`.

    Raises:
        ValueError: If the network has no adapters.
    """
    adapted = _adapted(network)
    if not adapted:
        raise UserError("the network has no adapters to save; add_lora puts them on")
    first = next(iter(adapted.values()))
    facts = {
        "layers": list(adapted),
        "rank": first.r["default"],
        "alpha": first.lora_alpha["default"],
    }
    return Addition(_KIND, _base_sha256(network), facts, _learned(network)).save(path)


def load_lora(network: Pretrained, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Put saved adapters, and a segmenter's head, onto the weights that they were learned on.

    Args:
        network: The same network as it was before :func:`add_lora`; in place.
        path: File of :func:`save_lora`.

    Returns:
        Names of the adapted layers.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file or was learned on other weights.
    """
    addition = Addition.load(path, kind=_KIND)
    layers, rank, alpha = (addition.facts.get(key) for key in ("layers", "rank", "alpha"))
    there = set(_adaptable(network))
    known = isinstance(layers, list) and bool(layers) and all(name in there for name in layers)
    if not (known and isinstance(rank, int) and isinstance(alpha, int)):
        raise UserError(f"{path} holds adapters for another network than this")
    addition.check_base(_base_sha256(network), path)
    _inject(network, tuple(layers), rank, alpha, 0.0)  # type: ignore[arg-type]
    check_state(_learned(network), addition.tensors, what=f"{path} does not fit the network")
    network.load_state_dict(addition.tensors, strict=False)
    return tuple(layers)  # type: ignore[arg-type]


def _inject(
    network: Pretrained, layers: tuple[str, ...], rank: int, alpha: int, dropout: float
) -> None:
    try:
        import peft
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "adapters need peft; install it with: pip install 'mots_pretrained[peft]'"
        ) from None
    if not 1 <= rank <= _LARGEST_RANK:
        raise UserError(f"rank must be 1 to {_LARGEST_RANK}, not {rank}")
    if _adapted(network):
        raise UserError("the network has adapters already; merge_lora makes it ordinary again")
    config: Any = peft.LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(layers)
    )
    peft.inject_adapter_in_model(config, network)  # leaves only the adapters learning
    if isinstance(network, Segmenter):
        network.head.requires_grad_(True)
    network.train(network.training)


def _stages(network: Pretrained, part: str) -> set[str]:
    there = parts_of(name for name, _ in network.named_parameters())
    allowed = [
        name for name in there if name.split(".")[0] in ("encoder", "transformer", "decoder")
    ]
    if part not in allowed:
        raise UserError(f"adapters go into {', '.join(allowed)}, not into {part!r}")
    return {stage_of(name) for name in there[part]}


def _adaptable(network: Pretrained) -> list[str]:
    """Name the layers that can take adapters; a MultiheadAttention reads its own one's weights."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv3d)
        and not isinstance(
            module, StandardisedConv3d | nn.modules.linear.NonDynamicallyQuantizableLinear
        )
    ]


def _adapted(network: Pretrained) -> dict[str, Any]:
    """Return the layers that have adapters; peft is not imported for it."""
    return {name: m for name, m in network.named_modules() if hasattr(m, "lora_A")}


@torch.no_grad()
def _update(layer: Any) -> Tensor:
    """Return B A, scaled, in the shape of the layer's kernel.

    peft's own (0.21) fails on 1x1x1 kernels, of whose three axes it takes away two.
    """
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    update: Tensor = layer.scaling["default"] * (up.flatten(1) @ down.flatten(1))
    return update.view_as(layer.get_base_layer().weight)


def _learned(network: Pretrained) -> dict[str, Tensor]:
    """Return what the file holds: adapters, and the head of a segmenter."""
    return {name: v for name, v in network.state_dict().items() if _is_learned(network, name)}


def _is_learned(network: Pretrained, name: str) -> bool:
    return ".lora_" in name or (isinstance(network, Segmenter) and name.startswith("head."))


def _base_sha256(network: Pretrained) -> str:
    """Hash all else under the names that it has without adapters."""
    state = network.state_dict()
    rest = {n.replace(".base_layer.", "."): v for n, v in state.items()}
    return weights_sha256({n: v for n, v in rest.items() if not _is_learned(network, n)})
