"""Published TransDoDNet and DoDNet checkpoints to our names and configuration, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.tasks import MOTS_TASKS, Task
from mots_pretrained.weights.official_arguments import Arguments
from mots_pretrained.weights.official_keys import BLOCKS, CONFERENCE_BLOCKS, Entry, entries

_CONTAINERS = ("state_dict", "model")
_ROOT = "ResCNN_DeformTR."


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
    if any(name.startswith(_ROOT) for name in weights):
        config = _transdodnet(_Shapes(weights), arguments)
    elif "precls_conv.2.weight" in weights or "GAP.0.weight" in weights:
        config = _conference(_Shapes(weights), arguments)
    else:
        shown = ", ".join(list(weights)[:3])
        raise ValueError(
            f"this is neither a published TransDoDNet nor a DoDNet checkpoint: its weights are "
            f"named {shown}, ...; a folder of this package needs no conversion"
        )
    known = entries(config)
    _check_names("published", {entry.published for entry in known}, set(weights))
    _check_shapes(known, weights)
    return Inspection(config, arguments.inferred, arguments.given, arguments.assumed)


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
        raise ValueError(
            "this is no published checkpoint: it holds no weights by name, "
            "neither at its top nor under 'state_dict' or 'model'"
        )
    weights: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"this is no published checkpoint: {name!r:.80} is no weight tensor")
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise ValueError(
                f"the checkpoint is damaged: {name} ({value.dtype}) is not finite floats throughout"
            )
        weights[name.removeprefix("module.")] = value
    return weights


class _Shapes:
    """Shapes of a checkpoint's weights, with a plain error for a missing one."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def __call__(self, name: str, ndim: int) -> tuple[int, ...]:
        """Return the shape of a weight that must be there."""
        if name not in self._weights:
            raise ValueError(f"the checkpoint is damaged: it lacks {name}")
        shape = tuple(self._weights[name].shape)
        if len(shape) != ndim:
            raise ValueError(f"the checkpoint is damaged: {name} has shape {shape}")
        return shape

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def count(self, pattern: str) -> int:
        """Return how many numbers 0, 1, ... the group of a pattern takes among the names."""
        found = {int(m[1]) for name in self._weights if (m := re.match(pattern, name))}
        return len(found)


def _transdodnet(shape: _Shapes, arguments: Arguments) -> ModelConfig:
    for name, only in (("norm_cfg", "IN"), ("position_embedding", "sine")):
        arguments.require(name, only)
    arguments.require("using_transformer", True)
    arguments.require("num_classes", 2)
    queries, _ = shape(f"{_ROOT}query_embed.weight", 2)
    queries = arguments.infer("num_queries", queries)
    transformer = _transformer(shape, arguments)
    return ModelConfig(
        architecture="transdodnet",
        encoder=_encoder(shape, arguments),
        transformer=transformer,
        decoder=DecoderConfig(
            (
                shape(f"{_ROOT}cnn_bottle.0.weight", 5)[0],
                *(shape(f"{_ROOT}shortcut_conv{i}.0.weight", 5)[0] for i in (3, 2, 1, 0)),
            )
        ),
        head=_head(
            shape(f"{_ROOT}precls_conv.0.weight", 5)[0],
            shape(f"{_ROOT}controller.2.weight", 2)[0],
            arguments,
        ),
        activation=arguments.take("activation_cfg"),
        weight_standardisation=arguments.take("weight_std"),
        tasks=_tasks(queries),
        preprocessing=_preprocessing(arguments),
    )


def _encoder(shape: _Shapes, arguments: Arguments) -> EncoderConfig:
    root = f"{_ROOT}backbone."
    bottleneck = f"{root}layer1.0.conv3.weight" in shape
    counts = tuple(shape.count(rf"{re.escape(root)}layer{i}\.(\d+)\.") for i in (1, 2, 3, 4))
    depth = BLOCKS.get((bottleneck, counts))
    if depth is None:
        kind = "bottlenecks" if bottleneck else "basic blocks"
        raise ValueError(
            f"the encoder has {counts} {kind} a stage; this package builds depths 10, 18, 34 and "
            "50 (101, 152 and 200 are not built), or the checkpoint is damaged"
        )
    w1, w2, w3, w4 = (shape(f"{root}layer{i}.0.conv1.weight", 5)[0] for i in (1, 2, 3, 4))
    stem, channels, *_ = shape(f"{root}conv1.weight", 5)
    return EncoderConfig(
        in_channels=channels,
        depth=arguments.infer("res_depth", depth),
        stem_width=stem,
        widths=(w1, w2, w3, w4),
    )


def _transformer(shape: _Shapes, arguments: Arguments) -> TransformerConfig:
    root = f"{_ROOT}transformer."
    levels, width = shape(f"{root}level_embed", 2)
    encoder, decoder = f"{root}encoder.layers.0", f"{root}decoder.layers.0"
    heads, (encoder_points, decoder_points) = _heads_and_points(
        [
            shape(f"{encoder}.self_attn.attention_weights.bias", 1)[0],
            shape(f"{decoder}.cross_attn.attention_weights.bias", 1)[0],
        ],
        arguments.infer("num_feature_levels", levels),
        arguments,
    )
    arguments.take("deepnorm")  # initialisation only
    has_memory = f"{_ROOT}memory_conv3_l0.0.weight" in shape
    mode = arguments.take("add_memory") if has_memory else arguments.infer("add_memory", 0)
    if has_memory and mode == 0:
        raise ValueError("add_memory is 0, but the checkpoint has memory_conv3_l0; give 1 or 2")
    return TransformerConfig(
        width=arguments.infer("hidden_dim", width),
        heads=heads,
        encoder_layers=arguments.infer(
            "enc_layers", shape.count(rf"{re.escape(root)}encoder\.layers\.(\d+)\.")
        ),
        decoder_layers=arguments.infer(
            "dec_layers", shape.count(rf"{re.escape(root)}decoder\.layers\.(\d+)\.")
        ),
        feedforward=arguments.infer("dim_feedforward", shape(f"{encoder}.linear1.weight", 2)[0]),
        levels=levels,
        encoder_points=encoder_points,
        decoder_points=decoder_points,
        dropout=arguments.take("dropout"),
        pre_norm=arguments.infer("normalize_before", f"{root}encoder.norm.weight" in shape),
        fusion={0: "B", 1: "C", 2: "A"}[mode],
        position_code="published",
        coordinate_order="published",
        offset_divisor="published",
    )


def _heads_and_points(
    samples: list[int], levels: int, arguments: Arguments
) -> tuple[int, list[int]]:
    """Split heads x levels x points: the heads are an argument, or follow from the points."""
    names = ("enc_n_points", "dec_n_points")
    told = [n for n in names if n in arguments]
    if "nheads" in arguments or not told:
        heads = arguments.take("nheads")
    else:
        index = names.index(told[0])
        heads = samples[index] // (levels * arguments.take(told[0]))
        heads = arguments.infer("nheads", max(heads, 1))
    points = [count // (levels * heads) for count in samples]
    for name, count, each in zip(names, samples, points, strict=True):
        if not each or each * levels * heads != count:
            raise ValueError(
                f"{heads} heads and {levels} levels do not divide the {count} samples of a query "
                f"in the checkpoint; give nheads (and {name})"
            )
        arguments.infer(name, each)
    return heads, points


def _head(width: int, parameters: int, arguments: Arguments) -> HeadConfig:
    """Read the head's depth off the number of generated parameters."""
    depth, rest = divmod(parameters - 2 * width - 2, width * width + width)
    if rest or depth < 0:
        raise ValueError(
            f"no dynamic head of width {width} has {parameters} parameters; "
            "the checkpoint is damaged"
        )
    arguments.infer("dyn_head_dep_wid", (depth + 1, width))
    return HeadConfig(depth=depth + 1, width=width)


def _conference(shape: _Shapes, arguments: Arguments) -> ModelConfig:
    arguments.infer("layers", CONFERENCE_BLOCKS)
    arguments.require("num_classes", 2)
    outputs = [shape(f"x{k}_resb.0.conv1.weight", 5)[0] for k in (8, 4, 2, 1)]
    fused = shape("fusionConv.2.weight", 5)[0]
    stem, channels, *_ = shape("conv1.weight", 5)
    w1, w2, w3, w4 = (shape(f"layer{i}.0.conv1.weight", 5)[0] for i in (1, 2, 3, 4))
    parameters, joined, *_ = shape("controller.weight", 5)
    head = _head(shape("precls_conv.2.weight", 5)[0], parameters, arguments)
    return ModelConfig(
        architecture="dodnet_conference",
        backbone="conference",
        encoder=EncoderConfig(in_channels=channels, stem_width=stem, widths=(w1, w2, w3, w4)),
        transformer=None,
        decoder=DecoderConfig((fused, *outputs)),  # type: ignore[arg-type]
        head=HeadConfig(depth=head.depth, width=head.width, generator="convolution"),
        weight_standardisation=arguments.take("weight_std", default=True),
        tasks=_tasks(joined - fused),
        preprocessing=_preprocessing(arguments),
    )


def _tasks(queries: int) -> tuple[Task, ...]:
    """Return the seven of MOTS, or as many nameless ones."""
    if queries == len(MOTS_TASKS):
        return MOTS_TASKS
    return tuple(Task(f"task_{i}", f"task_{i}_organ", f"task_{i}_tumour") for i in range(queries))


def _preprocessing(arguments: Arguments) -> Preprocessing:
    window = arguments.take("input_size")
    return Preprocessing(spacing=arguments.take("spacing"), patch=window, window=window)


def _check_published(config: ModelConfig) -> None:
    """Raise a ValueError where the published code would compute something else."""
    if config.architecture not in ("transdodnet", "dodnet_conference"):
        raise ValueError(f"the published code has no {config.architecture} network")
    faults = [("encoder.extra_blocks", config.encoder.extra_blocks, 0)]
    if config.transformer is not None:
        faults += [
            (f"transformer.{name}", getattr(config.transformer, name), "published")
            for name in ("position_code", "coordinate_order", "offset_divisor")
        ]
    for name, value, needed in faults:
        if value != needed:
            raise ValueError(
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
        raise ValueError(f"the weights are not {whose} network's, or damaged: {'; '.join(parts)}")


def _check_shapes(known: list[Entry], weights: Mapping[str, Tensor]) -> None:
    for name, _, shape in known:
        if tuple(weights[name].shape) != shape:
            raise ValueError(
                f"the weights do not fit together: {name} has shape "
                f"{tuple(weights[name].shape)}, the rest of the network needs {shape}"
            )
