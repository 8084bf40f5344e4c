from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
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
    TransformerConfig,
)
from mots_pretrained.tasks import MOTS_TASKS, Task

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


def edited(path: str, value: Any) -> str:
    """The default config.json with one entry replaced; path parts are joined by dots."""
    values = json.loads(ModelConfig().to_json())
    *parents, last = path.split(".")
    place = values
    for part in parents:
        place = place[part]
    place[last] = value
    return json.dumps(values)


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
        ("encoder.stem_width", 0, "stem_width must be whole numbers of 1"),
        ("encoder.stem_width", 1.5, "stem_width must be int"),
        ("encoder.stem_width", 10**9, "stem_width must be whole numbers of 1 to 1024"),
        ("encoder.widths", [1, 2, 3], "widths must have 4 entries, not 3"),
        ("encoder.widths", 64, "widths must be a list"),
        ("encoder.widths", [1, 2, 3, "4"], r"widths\[3\] must be int"),
        ("encoder.extra_blocks", -1, "extra_blocks must be whole numbers of 0"),
        ("encoder.in_channels", 4, "names 1 channels .*encoder.in_channels is 4"),
        ("transformer", None, "needs a transformer"),
        ("transformer.width", 100, "divisible by 6"),
        ("transformer.heads", 7, "divisible by heads 7"),
        ("transformer.levels", 5, "levels must be 1 to 4"),
        ("transformer.dropout", 1.0, r"dropout must be in \[0, 1\)"),
        ("transformer.dropout", float("nan"), "dropout must be in"),
        ("transformer.fusion", "D", "fusion must be one of A, B, C"),
        ("activation", "gelu", "activation must be one of relu, leaky_relu"),
        ("architecture", "unet", "architecture must be one of"),
        ("architecture", "dodnet_conference", "needs backbone 'conference'"),
        ("architecture", "segmenter", "at least one entry in classes"),
        ("backbone", "conference", "needs backbone 'mots'"),
        ("weight_standardisation", 1, "weight_standardisation must be bool"),
        ("tasks", [], "at least one entry in tasks"),
        ("tasks", [{"name": "a"}], "missing"),
        ("tasks", [{"name": "a", "organ": None, "tumour": None}] * 2, "different from each other"),
        ("preprocessing.spacing", [0.0, 1.0, 1.0], "spacing must be 0.01 to 100"),
        ("preprocessing.spacing", [float("nan"), 1, 1], "spacing must be 0.01 to 100"),
        ("preprocessing.clip", [1.0, -1.0], "clip must be finite and rising"),
        ("preprocessing.orientation", "RAS", "orientation must be 'SPL'"),
        ("preprocessing.patch", [0, 1, 1], "patch must be whole numbers of 1"),
        ("preprocessing.patch", [512, 512, 512], r"patch must hold at most 256\^3 voxels"),
        ("preprocessing.window", [257, 256, 256], r"window must hold at most 256\^3 voxels"),
        ("preprocessing.window", [1, 513, 1], "window must be whole numbers of 1 to 512"),
        ("thresholds", [0.5], r"thresholds must be an object, not \[0.5\]"),
        ("thresholds", {"livr": 0.7}, "'livr' is no category of the network; it has liver, "),
        ("thresholds", {"liver": 1}, "liver must be 0.001 to 0.999, not 1.0"),
        ("thresholds", {"liver": float("nan")}, "liver must be 0.001 to 0.999, not nan"),
        ("thresholds", {"liver": "0.7"}, "liver must be float, not '0.7'"),
        ("preprocessing.channels", ["../c"], "preprocessing.channels: '../c' is not allowed"),
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


def test_a_conference_network_has_no_transformer() -> None:
    with pytest.raises(ValueError, match="has no transformer"):
        dataclasses.replace(small("dodnet_conference"), transformer=TransformerConfig())


@pytest.mark.parametrize(
    "name",
    [
        "../../outside",
        "/absolute/path",
        "a/../../b",
        "a//b",
        "..",
        ".hidden",
        "C:\\x",
        "line\nend",
        "\x1b[31mred",
        "\u202egnp",
        "a" * 65,
        "",
        " blank",
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    """Fault 21: a class or an organ named so became a file above the output folder."""
    classes = {"architecture": "segmenter", "classes": [name, "organ"]}
    values = {**json.loads(ModelConfig().to_json()), **classes}
    with pytest.raises(ValueError, match=r"classes: .* is not allowed as a name") as error:
        ModelConfig.from_json(json.dumps(values))
    assert "\n" not in str(error.value)
    for part in ("name", "organ", "tumour"):
        task = {"name": "a", "organ": "b", "tumour": "c", part: name}
        with pytest.raises(ValueError, match=rf"{part} of a task: .* is not allowed as a name"):
            ModelConfig.from_json(edited("tasks", [task]))


def test_harmless_names_of_any_script_are_taken() -> None:
    classes = ("tumor/edema", "Kidney (left)", "肝臓", "non-enhancing tumor, NCR", "T1+Gd_2.5")
    config = dataclasses.replace(small("segmenter"), classes=classes)
    assert ModelConfig.from_json(config.to_json()).classes == classes


def test_windows_that_no_memory_holds_are_refused() -> None:
    """Fault 23: a slab of the window's depth is kept for every output."""
    classes = tuple(f"class_{i}" for i in range(128))
    contract = Preprocessing(window=(128, 64, 64))
    ours = dataclasses.replace(small("segmenter"), classes=classes, preprocessing=contract)
    deeper = dataclasses.replace(contract, window=(129, 64, 64))
    with pytest.raises(ValueError, match="depth 129 times 128 outputs is more than 16384"):
        dataclasses.replace(ours, preprocessing=deeper)


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
