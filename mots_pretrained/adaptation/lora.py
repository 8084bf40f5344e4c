"""Low-rank adapters (LoRA) on the backbone's layers by peft, which also saves and loads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mots_pretrained.adaptation.segmenter import Segmenter, in_use
from mots_pretrained.errors import UserError
from mots_pretrained.model.blocks import StandardisedConv3d
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.model.stages import is_adapter, parts_of, stage_of
from mots_pretrained.parse import check_listed

if TYPE_CHECKING:
    from peft import PeftModel


def add_lora(
    network: Pretrained,
    parts: Sequence[str] = ("transformer",),
    *,
    rank: int = 8,
    alpha: int | None = None,
    dropout: float = 0.0,
) -> PeftModel:
    """Put adapters beside a network's layers, in place; only they and a segmenter's head learn.

    Adapted are linear layers and 3D convolutions of any kernel, but for those that standardise
    their weights, whose low-rank update could not be merged. Output is unchanged at first. What is
    returned is peft's: its ``save_pretrained`` writes adapters and head, and
    ``peft.PeftModel.from_pretrained(network, folder)`` puts them onto the same weights; they learn
    on if it is given ``is_trainable=True``. Needs peft, an extra.

    Args:
        network: A segmenter, a method or a backbone.
        parts: Parts of its backbone, as ``adaptation.freezing`` names them: ``"encoder"``,
            ``"transformer"``, ``"decoder"`` or single stages.
        rank: Rank of each layer's update.
        alpha: The update counts ``alpha / rank`` times; the rank by default, so once.
        dropout: On the adapters' input.

    Returns:
        The network with adapters, which computes what ``network`` itself computes from now on.

    Raises:
        ValueError: If peft is not installed, there is no such part or nothing in it to adapt, the
            network is compiled or wrapped, or it has adapters already.

    Example:
        >>> adapted = add_lora(segmenter, ["transformer", "encoder.stage4"])  # doctest: +SKIP
        >>> adapted.save_pretrained("adapters")  # doctest: +SKIP
    """
    try:
        import peft
    except ModuleNotFoundError:
        raise UserError(
            "adapters need peft; install it with: pip install 'mots_pretrained[peft]'"
        ) from None
    check_listed("parts", parts)
    if rank < 1:
        raise UserError(f"rank must be 1 or more, not {rank}")
    if not isinstance(network, Pretrained):
        raise UserError("put adapters on the network itself, and compile or wrap it after that")
    if any(map(is_adapter, network.state_dict())):
        raise UserError("the network has adapters already; merge_lora makes it ordinary again")
    wanted = {stage for part in parts for stage in _stages(network, part)}
    layers = [name for name in _adaptable(network) if stage_of(f"{name}.") in wanted]
    if not layers:
        raise UserError(f"nothing in {', '.join(parts) or 'no part'} can take adapters")
    config: Any = peft.LoraConfig(
        r=rank,
        lora_alpha=rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=layers,
        modules_to_save=["head"] if isinstance(network, Segmenter) else None,
    )
    adapted = peft.get_peft_model(network, config)
    adapted.train(network.training)
    return adapted


@torch.no_grad()
def merge_lora(network: nn.Module) -> Pretrained:
    """Add the active adapters' updates to the weights and take all adapters away, in place.

    The network computes what it did with them, is an ordinary one again, and all of it may learn.
    What peft's ``merge_adapter`` has put into the weights is not added again. Its own
    ``merge_and_unload`` (0.21) fails on 1x1x1 convolutions.

    Args:
        network: What :func:`add_lora` or ``peft.PeftModel.from_pretrained`` returned or was given.

    Raises:
        ValueError: If an update is not finite, or adapters are switched off or of a kind that
            :func:`add_lora` does not make; nothing is changed then.
    """
    plain: Pretrained = network.get_base_model() if hasattr(network, "get_base_model") else network  # type: ignore[operator, assignment]
    modules = dict(plain.named_modules())
    adapted: dict[str, Any] = {name: m for name, m in modules.items() if hasattr(m, "lora_A")}
    updates = {name: _update(name, layer) for name, layer in adapted.items()}
    for name, layer in adapted.items():
        base = layer.get_base_layer()
        base.weight += updates[name]
        plain.set_submodule(name, base)
    is_new = isinstance(plain, Segmenter) and plain.head_is_new
    for name, module in modules.items():
        if hasattr(module, "modules_to_save"):
            plain.set_submodule(name, in_use(module))
    if isinstance(plain, Segmenter):
        plain.head_is_new = is_new
    if hasattr(plain, "peft_config"):
        del plain.peft_config
    return plain.requires_grad_().train(plain.training)


def _update(name: str, layer: Any) -> Tensor:
    """Return the sum of the active adapters' B A, scaled, in the shape of the layer's kernel."""
    update = torch.zeros_like(layer.get_base_layer().weight)
    if layer.disable_adapters:
        raise UserError("the adapters are switched off; call enable_adapter_layers() first")
    for adapter in () if layer.merged else layer.active_adapters:
        if adapter not in layer.lora_A:
            continue
        if adapter in layer.lora_magnitude_vector or layer.lora_bias[adapter]:
            raise UserError(f"the adapter of {name} is no plain LoRA (DoRA, or with a bias)")
        down, up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        product = layer.scaling[adapter] * (up.flatten(1) @ down.flatten(1))
        update = update + product.view_as(update)
    if not bool(update.isfinite().all()):
        raise UserError(f"the adapter of {name} is not finite; train again at a lower rate")
    return update


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
    never = StandardisedConv3d | nn.modules.linear.NonDynamicallyQuantizableLinear
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv3d) and not isinstance(module, never)
    ]
