"""The configuration of a published network, from its weights' shapes and published arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    Fusion,
    HeadConfig,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.errors import UserError
from mots_pretrained.published.arguments import Arguments
from mots_pretrained.published.keys import BLOCKS, CONFERENCE_BLOCKS, ROOT
from mots_pretrained.tasks import MOTS_TASKS, Task

FUSION: dict[int, Fusion] = {0: "B", 1: "C", 2: "A"}
"""Fig. 6's mode by the published ``add_memory``: the CNN's features, the Transformer's, both."""


class _Shapes:
    """Shapes of a checkpoint's weights, with a plain error for a missing one."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def __call__(self, name: str, ndim: int) -> tuple[int, ...]:
        """Return the shape of a weight that must be there."""
        if name not in self._weights:
            raise UserError(f"the checkpoint is damaged: it lacks {name}")
        shape = tuple(self._weights[name].shape)
        if len(shape) != ndim or 0 in shape:
            raise UserError(f"the checkpoint is damaged: {name} has shape {shape}")
        return shape

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def count(self, pattern: str) -> int:
        """Return how many numbers 0, 1, ... the group of a pattern takes among the names."""
        found = {int(m[1]) for name in self._weights if (m := re.match(pattern, name))}
        return len(found)


def read_transdodnet(weights: Mapping[str, Tensor], arguments: Arguments) -> ModelConfig:
    """Tell a published TransDoDNet's configuration from its weights and the arguments.

    Raises:
        ValueError: If weights that it must have are missing or do not fit together.
    """
    shape = _Shapes(weights)
    for name, only in (("norm_cfg", "IN"), ("position_embedding", "sine")):
        arguments.require(name, only)
    arguments.require("using_transformer", True)
    arguments.require("num_classes", 2)
    queries, _ = shape(f"{ROOT}query_embed.weight", 2)
    queries = arguments.infer("num_queries", queries)
    transformer = _transformer(shape, arguments)
    fused = shape(f"{ROOT}cnn_bottle.0.weight", 5)[0]
    s3, s2, s1, s0 = (shape(f"{ROOT}shortcut_conv{i}.0.weight", 5)[0] for i in (3, 2, 1, 0))
    return ModelConfig(
        architecture="transdodnet",
        encoder=_encoder(shape, arguments),
        transformer=transformer,
        decoder=DecoderConfig((fused, s3, s2, s1, s0)),
        head=_head(
            shape(f"{ROOT}precls_conv.0.weight", 5)[0],
            shape(f"{ROOT}controller.2.weight", 2)[0],
            arguments,
        ),
        activation=arguments.take("activation_cfg"),
        weight_standardisation=arguments.take("weight_std"),
        tasks=_tasks(queries),
        preprocessing=_preprocessing(arguments),
    )


def _encoder(shape: _Shapes, arguments: Arguments) -> EncoderConfig:
    root = f"{ROOT}backbone."
    bottleneck = f"{root}layer1.0.conv3.weight" in shape
    counts = tuple(shape.count(rf"{re.escape(root)}layer{i}\.(\d+)\.") for i in (1, 2, 3, 4))
    depth = BLOCKS.get((bottleneck, counts))
    if depth is None:
        kind = "bottlenecks" if bottleneck else "basic blocks"
        raise UserError(
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
    root = f"{ROOT}transformer."
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
    has_memory = f"{ROOT}memory_conv3_l0.0.weight" in shape
    mode = arguments.take("add_memory") if has_memory else arguments.infer("add_memory", 0)
    if has_memory and mode == 0:
        raise UserError("add_memory is 0, but the checkpoint has memory_conv3_l0; give 1 or 2")
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
        fusion=FUSION[mode],
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
            raise UserError(
                f"{heads} heads and {levels} levels do not divide the {count} samples of a query "
                f"in the checkpoint; give nheads (and {name})"
            )
        arguments.infer(name, each)
    return heads, points


def _head(width: int, parameters: int, arguments: Arguments) -> HeadConfig:
    """Read the head's depth off the number of generated parameters."""
    depth, rest = divmod(parameters - 2 * width - 2, width * width + width)
    if rest or depth < 0:
        raise UserError(
            f"no dynamic head of width {width} has {parameters} parameters; "
            "the checkpoint is damaged"
        )
    arguments.infer("dyn_head_dep_wid", (depth + 1, width))
    return HeadConfig(depth=depth + 1, width=width)


def read_conference(weights: Mapping[str, Tensor], arguments: Arguments) -> ModelConfig:
    """Tell a published 2021 DoDNet's configuration; as :func:`read_transdodnet`."""
    shape = _Shapes(weights)
    arguments.infer("layers", CONFERENCE_BLOCKS)
    arguments.require("num_classes", 2)
    s8, s4, s2, s1 = (shape(f"x{k}_resb.0.conv1.weight", 5)[0] for k in (8, 4, 2, 1))
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
        decoder=DecoderConfig((fused, s8, s4, s2, s1)),
        head=HeadConfig(depth=head.depth, width=head.width),
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
