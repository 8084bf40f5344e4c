"""The stages of a network from input to output, by the names of their parameters (Fig. 5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from mots_pretrained.weights.checkpoint import plain_name

STAGES: tuple[str, ...] = (
    "encoder.stem",
    *(f"encoder.stage{i}" for i in range(1, 5)),
    "transformer.input",
    *(f"transformer.layer{i}" for i in range(1, 65)),
    "transformer.norm",
    "decoder.fusion",
    *(f"decoder.stage{i}" for i in range(1, 5)),
    "organ_decoder",
    "kernel_generator",
    "head",
)
"""All stages that a network may have; the decoder's first is its coarsest."""

_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"encoder\.stem\."), lambda _: "encoder.stem"),
    (re.compile(r"encoder\.stages\.(\d+)\."), lambda m: f"encoder.stage{int(m[1]) + 1}"),
    (re.compile(r"encoder\.bottleneck\."), lambda _: "encoder.stage4"),
    (re.compile(r"transformer\.layers\.(\d+)\."), lambda m: f"transformer.layer{int(m[1]) + 1}"),
    (re.compile(r"transformer\.norm\."), lambda _: "transformer.norm"),
    (re.compile(r"transformer\."), lambda _: "transformer.input"),
    (
        re.compile(r"decoder\.(?:upsample|skip|refine)\.(\d+)\."),
        lambda m: f"decoder.stage{int(m[1]) + 1}",
    ),
    (re.compile(r"decoder\.norm\."), lambda _: "decoder.stage4"),
    (re.compile(r"decoder\."), lambda _: "decoder.fusion"),
)


_AROUND = re.compile(r"(?:(?:backbone|net|network|branch|(?:networks|branches)\.\d+)\.)*")
"""What networks call the networks, backbones and decoders that they are made of."""


def stage_of(name: str) -> str:
    """Return the stage that a parameter belongs to.

    Args:
        name: As ``named_parameters`` of a backbone, a method or a segmenter gives it, also of one
            that is compiled or has organs added.

    Example:
        >>> stage_of("backbone.encoder.stages.2.0.conv1.weight"), stage_of("head.weight")
        ('encoder.stage3', 'head')
    """
    name = _AROUND.sub("", plain_name(name), count=1)
    for pattern, stage in _RULES:
        if match := pattern.match(name):
            return stage(match)
    return name.split(".")[0]


def parts_of(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Sort parameters into named parts: the stages, and all stages of one kind together.

    Args:
        names: Names of a network's parameters.

    Returns:
        Part to names of parameters, from input to output; ``"encoder"`` before its stages.
    """
    stages: dict[str, list[str]] = {}
    for name in names:
        stages.setdefault(stage_of(name), []).append(name)
    parts: dict[str, list[str]] = {}
    for stage in sorted(stages, key=_position):
        whole = stage.split(".")[0]
        parts.setdefault(whole, []).extend(stages[stage])
        if stage != whole:
            parts[stage] = stages[stage]
    return {part: tuple(members) for part, members in parts.items()}


def is_adapter(name: str) -> bool:
    """Return whether a parameter is of a LoRA adapter."""
    return ".lora_" in name


def group_matcher(name: str) -> int:
    """Return a parameter's place from input to output, as timm's layer-wise tools ask for it."""
    return _position(stage_of(name))


def _position(stage: str) -> int:
    stage = "head" if stage == "added" else stage  # heads of added organs
    return STAGES.index(stage) if stage in STAGES else len(STAGES)
