"""Names and shapes of the published networks' weights, in published order, beside our names."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from mots_pretrained.config import ModelConfig, TransformerConfig
from mots_pretrained.errors import UserError

ROOT = "ResCNN_DeformTR."
"""What the names of a published TransDoDNet begin with."""

BLOCKS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (1, 1, 1, 1)): 10,
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
}
"""Depth by (bottlenecks?, blocks a stage), as shapes show it."""

CONFERENCE_BLOCKS = (1, 2, 2, 2, 2)
"""Blocks of the 2021 network's first level and four stages."""


class Key(NamedTuple):
    """One published tensor: its name, our name (two where we split it by columns), its shape."""

    published: str
    own: tuple[str, ...]
    shape: tuple[int, ...]


def looks_published(names: Collection[str]) -> bool:
    """Return whether these are names of a published TransDoDNet, or of the 2021 DoDNet."""
    conference = "precls_conv.2.weight" in names or "GAP.0.weight" in names
    return conference or any(name.startswith(ROOT) for name in names)


def published_keys(config: ModelConfig) -> list[Key]:
    """List every published tensor of the network that a configuration describes.

    Args:
        config: Architecture "transdodnet" or "dodnet_conference".
    """
    if config.architecture == "dodnet_conference":
        return list(_conference(config))
    return list(_transdodnet(config))


def _pair(published: str, own: str, *shape: int) -> Iterator[Key]:
    """Weight and bias of a norm or a linear layer: the bias has one entry a row."""
    yield Key(f"{published}.weight", (f"{own}.weight",), shape)
    yield Key(f"{published}.bias", (f"{own}.bias",), shape[:1])


def _conv(published: str, own: str, out: int, in_: int, kernel: int = 1) -> Iterator[Key]:
    yield Key(f"{published}.weight", (f"{own}.weight",), (out, in_, kernel, kernel, kernel))


def _conv_norm(published: str, own: str, out: int, in_: int) -> Iterator[Key]:
    """A 1x1x1 convolution and its norm, numbered 0 and 1 in both namings."""
    yield from _conv(f"{published}.0", f"{own}.0", out, in_)
    yield from _pair(f"{published}.1", f"{own}.1", out)


def _transdodnet(config: ModelConfig) -> Iterator[Key]:
    if config.transformer is None:
        raise UserError("a published TransDoDNet needs a transformer in its configuration")
    root = ROOT
    d, head = config.transformer.width, config.head
    expansion = 4 if config.encoder.depth == 50 else 1
    features = (config.encoder.stem_width, *(w * expansion for w in config.encoder.widths))
    yield from _decoder(root, config, features)
    yield from _encoder(f"{root}backbone.", config, expansion)
    yield from _transformer(f"{root}transformer.", config.transformer)
    yield from _pair(f"{root}controller.0", "kernel_generator.0", d, d)
    yield from _pair(f"{root}controller.2", "kernel_generator.2", head.parameters, d)
    for level, width in enumerate(features[-config.transformer.levels :]):
        own = f"backbone.transformer.projections.{level}"
        yield from _conv(f"{root}input_proj.{level}.0", f"{own}.0", d, width)
        yield Key(f"{root}input_proj.{level}.0.bias", (f"{own}.0.bias",), (d,))
        yield from _pair(f"{root}input_proj.{level}.1", f"{own}.1", d)
    halves = ("organ_decoder.embedding", "organ_decoder.initial")  # E_q, then t_0
    yield Key(f"{root}query_embed.weight", halves, (len(config.tasks), 2 * d))


def _decoder(root: str, config: ModelConfig, features: tuple[int, ...]) -> Iterator[Key]:
    """Fusion, skips, upsampling and refinement; stage 3 is the coarsest, our stage 0."""
    fused, *widths = config.decoder.widths
    transformer = config.transformer
    if transformer is not None and transformer.fusion != "B":
        own = "backbone.decoder.fuse_memory"
        yield from _conv_norm(f"{root}memory_conv3_l0", own, fused, transformer.width)
    own = "backbone.decoder.fuse_features"
    yield from _conv_norm(f"{root}cnn_bottle", own, fused, features[-1])
    for i, width in enumerate(widths):
        own = f"backbone.decoder.skip.{i}"
        yield from _conv_norm(f"{root}shortcut_conv{3 - i}", own, width, features[-2 - i])
    for i, (in_, out) in enumerate(zip((fused, *widths[:-1]), widths, strict=True)):
        own = f"backbone.decoder.upsample.{i}"
        yield from _conv(f"{root}transposeconv_stage{3 - i}", own, in_, out, 2)
    for i, width in enumerate(widths):
        stage, own = f"{root}stage{3 - i}_de", f"backbone.decoder.refine.{i}"
        yield from _block(stage, own, width, width, bottleneck=False)
    yield from _conv_norm(f"{root}precls_conv", "head.project", config.head.width, widths[-1])


def _encoder(root: str, config: ModelConfig, expansion: int) -> Iterator[Key]:
    stem, bottleneck = config.encoder.stem_width, expansion == 4
    yield from _conv(f"{root}conv1", "backbone.encoder.stem.0", stem, config.encoder.in_channels, 3)
    yield from _pair(f"{root}norm1", "backbone.encoder.stem.1", stem)
    yield from _conv(f"{root}conv2", "backbone.encoder.stem.3", stem, stem, 3)
    yield from _pair(f"{root}norm2", "backbone.encoder.stem.4", stem)
    counts = next(blocks for (_, blocks), depth in BLOCKS.items() if depth == config.encoder.depth)
    channels = stem
    for stage, (width, count) in enumerate(zip(config.encoder.widths, counts, strict=True)):
        for index in range(count):
            published = f"{root}layer{stage + 1}.{index}"
            own = f"backbone.encoder.stages.{stage}.{index}"
            yield from _block(published, own, channels, width, bottleneck=bottleneck)
            if index == 0:
                out = width * expansion
                yield from _conv_norm(f"{published}.downsample", f"{own}.shortcut", out, channels)
            channels = width * expansion


def _block(published: str, own: str, in_: int, width: int, *, bottleneck: bool) -> Iterator[Key]:
    layers = [(width, in_, 3), (width, width, 3)]
    if bottleneck:
        layers = [(width, in_, 1), (width, width, 3), (4 * width, width, 1)]
    for number, (out, channels, kernel) in enumerate(layers, 1):
        yield from _conv(f"{published}.conv{number}", f"{own}.conv{number}", out, channels, kernel)
        yield from _pair(f"{published}.norm{number}", f"{own}.norm{number}", out)


def _transformer(root: str, config: TransformerConfig) -> Iterator[Key]:
    d, own = config.width, "backbone.transformer"
    yield Key(f"{root}level_embed", (f"{own}.level_embedding",), (config.levels, d))
    for i in range(config.encoder_layers):
        layer, ours = f"{root}encoder.layers.{i}", f"{own}.layers.{i}"
        points = config.encoder_points
        yield from _deformable(f"{layer}.self_attn", f"{ours}.attention", config, points)
        yield from _pair(f"{layer}.norm1", f"{ours}.norm_attention", d)
        yield from _feedforward(layer, ours, config)
        yield from _pair(f"{layer}.norm2", f"{ours}.norm_feedforward", d)
    if config.pre_norm:
        yield from _pair(f"{root}encoder.norm", f"{own}.norm", d)
    for i in range(config.decoder_layers):
        layer, ours = f"{root}decoder.layers.{i}", f"organ_decoder.layers.{i}"
        points = config.decoder_points
        yield from _deformable(f"{layer}.cross_attn", f"{ours}.cross_attention", config, points)
        yield from _pair(f"{layer}.norm1", f"{ours}.norm_cross", d)
        attention = f"{layer}.self_attn", f"{ours}.self_attention"
        yield Key(f"{attention[0]}.in_proj_weight", (f"{attention[1]}.in_proj_weight",), (3 * d, d))
        yield Key(f"{attention[0]}.in_proj_bias", (f"{attention[1]}.in_proj_bias",), (3 * d,))
        yield from _pair(f"{attention[0]}.out_proj", f"{attention[1]}.out_proj", d, d)
        yield from _pair(f"{layer}.norm2", f"{ours}.norm_self", d)
        yield from _feedforward(layer, ours, config)
        yield from _pair(f"{layer}.norm3", f"{ours}.norm_feedforward", d)
    if config.pre_norm:
        yield from _pair(f"{root}decoder.norm", "organ_decoder.norm", d)
    yield from _pair(f"{root}reference_points", "organ_decoder.reference", 3, d)


def _deformable(published: str, own: str, config: TransformerConfig, points: int) -> Iterator[Key]:
    d, samples = config.width, config.heads * config.levels * points
    yield from _pair(f"{published}.sampling_offsets", f"{own}.sampling_offsets", samples * 3, d)
    yield from _pair(f"{published}.attention_weights", f"{own}.attention_weights", samples, d)
    yield from _pair(f"{published}.value_proj", f"{own}.value_projection", d, d)
    yield from _pair(f"{published}.output_proj", f"{own}.output_projection", d, d)


def _feedforward(published: str, own: str, config: TransformerConfig) -> Iterator[Key]:
    hidden, d = config.feedforward, config.width
    yield from _pair(f"{published}.linear1", f"{own}.feedforward.widen", hidden, d)
    yield from _pair(f"{published}.linear2", f"{own}.feedforward.narrow", d, hidden)


def _conference(config: ModelConfig) -> Iterator[Key]:
    stem, own = config.encoder.stem_width, "backbone.encoder"
    widths = (stem, *config.encoder.widths)
    yield from _conv("conv1", f"{own}.stem.0", stem, config.encoder.in_channels, 3)
    yield from _preactivation("layer0.0", f"{own}.stem.1", stem, stem, projected=False)
    channels = stem
    for stage, width in enumerate(config.encoder.widths):
        for index in range(CONFERENCE_BLOCKS[stage + 1]):
            names = f"layer{stage + 1}.{index}", f"{own}.stages.{stage}.{index}"
            yield from _preactivation(*names, channels, width, projected=index == 0)
            channels = width
    fused, *outs = config.decoder.widths
    yield from _pair("fusionConv.0", f"{own}.bottleneck.0", widths[-1])
    yield from _conv("fusionConv.2", f"{own}.bottleneck.2", fused, widths[-1])
    ins = (fused, *outs[:-1])
    for i, (in_, out) in enumerate(zip(ins, outs, strict=True)):
        names = f"x{8 >> i}_resb.0", f"backbone.decoder.refine.{i}"
        yield from _preactivation(*names, in_, out, projected=in_ != out)
    yield from _pair("precls_conv.0", "backbone.decoder.norm.0", outs[-1])
    yield from _conv("precls_conv.2", "head.project", config.head.width, outs[-1])
    yield Key("precls_conv.2.bias", ("head.project.bias",), (config.head.width,))
    yield from _pair("GAP.0", "kernel_generator.norm.0", fused)
    controller = "kernel_generator.controller"
    parameters = config.head.parameters
    yield from _conv("controller", controller, parameters, fused + len(config.tasks))
    yield Key("controller.bias", (f"{controller}.bias",), (parameters,))


def _preactivation(
    published: str, own: str, in_: int, width: int, *, projected: bool
) -> Iterator[Key]:
    yield from _pair(f"{published}.gn1", f"{own}.norm1", in_)
    yield from _conv(f"{published}.conv1", f"{own}.conv1", width, in_, 3)
    yield from _pair(f"{published}.gn2", f"{own}.norm2", width)
    yield from _conv(f"{published}.conv2", f"{own}.conv2", width, width, 3)
    if projected:
        yield from _pair(f"{published}.downsample.0", f"{own}.shortcut.0", in_)
        yield from _conv(f"{published}.downsample.2", f"{own}.shortcut.2", width, in_)
