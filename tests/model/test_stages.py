"""Every parameter of every network has its stage, from input to output."""

from __future__ import annotations

import pytest
from small_networks import small

from mots_pretrained.model.stages import STAGES, group_matcher, parts_of, stage_of
from mots_pretrained.networks import build


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("backbone.encoder.stem.0.weight", "encoder.stem"),
        ("encoder.stages.0.0.conv1.weight", "encoder.stage1"),
        ("encoder.bottleneck.2.weight", "encoder.stage4"),
        ("transformer.projections.1.0.weight", "transformer.input"),
        ("transformer.level_embedding", "transformer.input"),
        ("backbone.transformer.layers.2.attention.value_projection.bias", "transformer.layer3"),
        ("decoder.fuse_memory.0.weight", "decoder.fusion"),
        ("decoder.upsample.0.weight", "decoder.stage1"),
        ("backbone.decoder.refine.3.norm2.bias", "decoder.stage4"),
        ("organ_decoder.embedding", "organ_decoder"),
        ("head.weight", "head"),
    ],
)
def test_the_stage_of_a_parameter(name: str, stage: str) -> None:
    assert stage_of(name) == stage


@pytest.mark.parametrize(
    "architecture", ["transdodnet", "dodnet", "dodnet_conference", "segmenter"]
)
def test_all_parameters_of_a_network_are_in_a_known_stage(architecture: str) -> None:
    names = [name for name, _ in build(small(architecture)).named_parameters()]
    assert {stage_of(name) for name in names} <= {*STAGES}
    parts = parts_of(names)
    whole = [part for part in parts if "." not in part]
    assert sorted(member for part in whole for member in parts[part]) == sorted(names)


def test_parts_go_from_input_to_output_each_before_its_stages() -> None:
    names = ["head.bias", "decoder.upsample.1.weight", "encoder.stem.0.weight", "mine.weight"]
    assert list(parts_of(names)) == [
        "encoder",
        "encoder.stem",
        "decoder",
        "decoder.stage2",
        "head",
        "mine",
    ]


def test_places_rise_from_input_to_output() -> None:
    names = ["encoder.stem.0.weight", "transformer.norm.bias", "decoder.norm.0.bias", "head.bias"]
    places = [group_matcher(name) for name in names]
    assert places == sorted(set(places))
    assert group_matcher("mine.weight") > places[-1]
