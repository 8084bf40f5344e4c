from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from edited_config import edited
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import small

from mots_pretrained.config import (
    FORMAT_VERSION,
    AddedConfig,
    EncoderConfig,
    HeadConfig,
    ModelConfig,
    Preprocessing,
    SeenVolume,
    TransformerConfig,
)
from mots_pretrained.tasks import MOTS_CATEGORIES, MOTS_TASKS, Task

names = st.from_regex(r"[a-zé肝0-9_(+-][a-z /.)é肝]{0,6}[a-z0-9]", fullmatch=True).filter(
    lambda name: not any(not part or part.startswith(".") for part in name.split("/"))
)
sizes = st.tuples(*[st.integers(1, 256)] * 3)
transformers = st.builds(
    TransformerConfig,
    width=st.sampled_from([24, 48, 96]),
    heads=st.sampled_from([1, 2, 4, 8]),
    encoder_layers=st.integers(1, 6),
    decoder_layers=st.integers(1, 6),
    feedforward=st.integers(1, 999),
    levels=st.integers(1, 4),
    encoder_points=st.integers(1, 8),
    decoder_points=st.integers(1, 8),
    dropout=st.floats(0, 0.99),
    pre_norm=st.booleans(),
    fusion=st.sampled_from("ABC"),
    position_code=st.sampled_from(["equation", "published"]),
    coordinate_order=st.sampled_from(["correct", "published"]),
    offset_divisor=st.sampled_from(["level", "published"]),
)
tasks = st.lists(
    st.builds(
        Task,
        name=names,
        organ=st.none() | names,
        tumour=st.none() | names,
        organ_values=st.lists(st.integers(1, 9), max_size=3).map(tuple),
        source=st.just("") | names,
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda task: task.name,
).map(tuple)


@st.composite
def configs(draw: Any) -> ModelConfig:
    channels = draw(st.integers(1, 4))
    return ModelConfig(
        encoder=EncoderConfig(
            in_channels=channels,
            depth=draw(st.sampled_from([10, 18, 34, 50])),
            widths=draw(st.tuples(*[st.integers(1, 64)] * 4)),
        ),
        transformer=draw(transformers),
        head=HeadConfig(depth=draw(st.integers(1, 4)), width=draw(st.integers(1, 16))),
        activation=draw(st.sampled_from(["relu", "leaky_relu"])),
        weight_standardisation=draw(st.booleans()),
        tasks=draw(tasks),
        preprocessing=Preprocessing(
            spacing=draw(st.tuples(*[st.floats(0.01, 100)] * 3)),
            intensity=draw(st.sampled_from(["ct", "zscore"])),
            channels=tuple(f"c{i}" for i in range(channels)),
            patch=draw(sizes),
            window=draw(sizes),
        ),
    )


@settings(max_examples=50, deadline=None)
@given(configs())
def test_every_configuration_survives_json(config: ModelConfig) -> None:
    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "architecture", ["transdodnet", "dodnet", "dodnet_conference", "backbone", "segmenter"]
)
def test_every_architecture_survives_json(architecture: str) -> None:
    config = small(architecture)
    assert ModelConfig.from_json(config.to_json()) == config


def test_the_defaults_are_the_papers() -> None:
    config = ModelConfig()
    assert config.transformer is not None
    assert (config.transformer.width, config.transformer.levels) == (192, 3)
    assert (config.transformer.encoder_layers, config.transformer.decoder_layers) == (3, 3)
    assert config.transformer.coordinate_order == "correct"
    assert config.transformer.position_code == "equation"
    assert config.transformer.offset_divisor == "level"
    assert config.tasks == MOTS_TASKS
    assert config.preprocessing.spacing == (1.5, 0.8, 0.8)
    assert config.preprocessing.window == (64, 256, 256)


def test_an_organ_has_its_tumours_value_where_its_own_labels_have_the_tumour() -> None:
    apart, within = ((4,), (5,)), ((4, 5), (5,))
    tasks = [Task(name, name, f"{name}_t", *v) for name, v in (("a", apart), ("b", within))]
    untold = Task("c", "c", "c_t")  # as of converted checkpoints
    values = ModelConfig(tasks=(*tasks, untold)).label_values
    assert values == {"a": (1,), "a_t": (2,), "b": (3, 4), "b_t": (4,), "c": (5, 6), "c_t": (6,)}
    told = ModelConfig().label_values
    assert (told["hepatic_vessel"], told["liver"], told["kidney"]) == ((5,), (1, 2, 5, 6), (3, 4))


def test_a_segmenter_has_classes_instead_of_tasks() -> None:
    own = ModelConfig(architecture="segmenter", classes=("b", "a"))
    assert (own.tasks, own.categories) == ((), ("b", "a"))
    values = json.loads(own.to_json())
    values["tasks"] = json.loads(ModelConfig().to_json())["tasks"]  # as older files have it
    assert ModelConfig.from_json(json.dumps(values)) == own
    assert ModelConfig().categories == MOTS_CATEGORIES
    values["architecture"] = "backbone"  # of a segmenter, as earlier versions wrote it
    del values["id2label"], values["label2id"]
    assert ModelConfig.from_json(json.dumps(values)).classes == ()
    for further in ({"classes": ("a",)}, {"class_values": ((1,),)}):
        with pytest.raises(ValueError, match="transdodnet has no classes; only a segmenter has"):
            ModelConfig(**further)


def test_thresholds_survive_json_and_go_with_their_categories() -> None:
    config = ModelConfig(thresholds={"liver_tumour": 0.75, "spleen": 0.4})
    assert ModelConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["thresholds"] == {"liver_tumour": 0.75, "spleen": 0.4}
    added = dataclasses.replace(
        config,
        tasks=(*MOTS_TASKS, Task("aorta", "aorta", None)),
        added=(AddedConfig(("aorta",), 8),),
        thresholds={"spleen": 0.4, "aorta": 0.3},
    )
    assert added.before_added.thresholds == {"spleen": 0.4}
    with pytest.raises(ValueError, match="'aorta' is no category of the network"):
        dataclasses.replace(added, tasks=MOTS_TASKS, added=())


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format_version", FORMAT_VERSION + 1, "upgrade with"),
        ("format_version", 0, "format_version must be 1 or more"),
        ("format_version", True, "format_version must be 1 or more"),
        ("format_version", "1", "format_version must be 1 or more"),
        ("surprise", 1, "unknown field 'surprise'; allowed are"),
        ("encoder.surprise", 1, r"encoder: unknown field 'surprise'"),
        ("encoder", None, "encoder must be an object"),
        ("encoder.depth", 101, "depth must be one of 10, 18, 34, 50"),
        ("encoder.depth", True, "depth must be one of"),
        ("encoder.depth", "50", "depth must be one of"),
        ("encoder.stem_width", 1.5, "stem_width must be int"),
        ("encoder.widths", [1, 2, 3], "widths must have 4 entries, not 3"),
        ("encoder.widths", 64, "widths must be a list"),
        ("encoder.widths", [1, 2, 3, "4"], r"widths\[3\] must be int"),
        ("transformer.fusion", "D", "fusion must be one of A, B, C"),
        ("activation", "gelu", "activation must be one of relu, leaky_relu"),
        ("architecture", "unet", "architecture must be one of"),
        ("weight_standardisation", 1, "weight_standardisation must be bool"),
        ("tasks", [{"name": "a"}], "missing"),
        ("thresholds", [0.5], r"thresholds must be an object, not \[0.5\]"),
        ("thresholds", {"liver": "0.7"}, "liver must be float, not '0.7'"),
    ],
)
def test_a_wrong_value_is_named_in_a_plain_error(path: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_json(edited(path, value))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', "[" * 100_000])
def test_what_is_no_configuration_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"config\.json"):
        ModelConfig.from_json(text)


def test_fields_left_out_take_their_defaults() -> None:
    assert ModelConfig.from_json('{"format_version": 1}') == ModelConfig()


def test_harmless_names_of_any_script_are_taken() -> None:
    classes = ("tumor/edema", "Kidney (left)", "肝臓", "non-enhancing tumor, NCR", "T1+Gd_2.5")
    config = dataclasses.replace(small("segmenter"), classes=classes)
    assert ModelConfig.from_json(config.to_json()).classes == classes


def test_labels_are_told_as_the_hub_reads_them():
    own = small("segmenter", class_values=((7,), (3,)))
    values = json.loads(own.to_json())
    assert values["id2label"] == {"0": "background", "7": "spleen", "3": "liver"}
    assert values["label2id"] == {"background": 0, "spleen": 7, "liver": 3}
    assert ModelConfig.from_json(own.to_json()) == own
    assert json.loads(ModelConfig().to_json())["id2label"]["11"] == "spleen"
    assert "id2label" not in json.loads(small("backbone").to_json())
    values["id2label"]["7"] = "liver"
    with pytest.raises(ValueError, match="id2label is not what classes, class_values and tasks"):
        ModelConfig.from_json(json.dumps(values))
    del values["id2label"]
    assert ModelConfig.from_json(json.dumps(values)) == own  # as older files have it


def test_what_holds_for_weights_alone_is_left_out_of_untrained() -> None:
    seen = (SeenVolume("spleen", 90.0, 300.0, 5, 0),)
    trained = ModelConfig(thresholds={"liver_tumour": 0.9}, seen_volumes=seen)
    assert trained.untrained == ModelConfig()
