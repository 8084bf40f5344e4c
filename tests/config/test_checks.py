"""What no configuration may hold: each is one plain line that names it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from edited_config import edited
from small_networks import small

from mots_pretrained.config import (
    AddedConfig,
    EncoderConfig,
    ModelConfig,
    NewHeadConfig,
    Preprocessing,
    SeenVolume,
    TransformerConfig,
)
from mots_pretrained.errors import UserError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Preprocessing(intensity="CT"), "intensity must be one of ct, zscore, not 'CT'"),
        (lambda: NewHeadConfig(kind="Linear"), "kind must be one of linear, levels, not 'Linear'"),
        (lambda: EncoderConfig(depth=49), "depth must be one of 10, 18, 34, 50, not 49"),
        (lambda: TransformerConfig(fusion="D"), "fusion must be one of A, B, C, not 'D'"),
        (lambda: ModelConfig(activation="gelu"), "activation must be one of relu, leaky_relu"),
        (lambda: small("unet"), "architecture must be one of multi_nets, "),
    ],
)
def test_a_misspelt_choice_is_refused_on_construction(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("encoder.stem_width", 0, "stem_width must be whole numbers of 1"),
        ("encoder.stem_width", 10**9, "stem_width must be whole numbers of 1 to 1024"),
        ("head.out_channels", 3, "head.out_channels must be 2, organ and tumour, not 3"),
        (
            "tasks",
            [{"name": n, "organ": "a", "tumour": None} for n in "xy"],
            "tasks 'x' and 'y' both have the category 'a'; name one of them otherwise",
        ),
        ("encoder.extra_blocks", -1, "extra_blocks must be whole numbers of 0"),
        ("encoder.in_channels", 4, "names 1 channels .*encoder.in_channels is 4"),
        ("transformer", None, "needs a transformer"),
        ("transformer.width", 100, "divisible by 6"),
        ("transformer.heads", 7, "divisible by heads 7"),
        ("transformer.levels", 5, "levels must be 1 to 4"),
        ("transformer.dropout", 1.0, r"dropout must be in \[0, 1\)"),
        ("transformer.dropout", float("nan"), "dropout must be in"),
        ("architecture", "dodnet_conference", "needs backbone 'conference'"),
        ("architecture", "segmenter", "at least one entry in classes"),
        ("backbone", "conference", "needs backbone 'mots'"),
        ("tasks", [], "at least one entry in tasks"),
        ("tasks", [{"name": "a", "organ": None, "tumour": None}] * 2, "different from each other"),
        ("preprocessing.spacing", [0.0, 1.0, 1.0], "spacing must be 0.01 to 100"),
        ("preprocessing.spacing", [float("nan"), 1, 1], "spacing must be 0.01 to 100"),
        ("preprocessing.clip", [1.0, -1.0], "clip must be finite and rising"),
        ("preprocessing.orientation", "RAS", "orientation must be 'SPL'"),
        ("preprocessing.patch", [0, 1, 1], "patch must be whole numbers of 1"),
        ("preprocessing.patch", [512, 512, 512], r"patch must hold at most 256\^3 voxels"),
        ("preprocessing.window", [257, 256, 256], r"window must hold at most 256\^3 voxels"),
        ("preprocessing.window", [1, 513, 1], "window must be whole numbers of 1 to 512"),
        ("thresholds", {"livr": 0.7}, "'livr' is no category of the network; it has liver, "),
        ("thresholds", {"liver": 1}, "liver must be 0.001 to 0.999, not 1.0"),
        ("thresholds", {"liver": float("nan")}, "liver must be 0.001 to 0.999, not nan"),
        ("preprocessing.channels", ["../c"], "preprocessing.channels: '../c' is not allowed"),
    ],
)
def test_a_value_that_no_network_can_have_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_json(edited(path, value))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_values": ((1,),)}, "class_values must have values for each of the 2 classes"),
        ({"class_values": ((1,), ())}, "class_values must have values for each of the 2 classes"),
        ({"class_values": ((1, 2), (1,))}, "the first value of each class must be its own"),
        ({"class_values": ((1,), (65536,))}, "class_values must be 1 to 65535, not 65536"),
        ({"classes": ("a", "a")}, "classes must be different from each other"),
        (
            {"seen_volumes": (SeenVolume("a", 2.0, 1.0, 3, 0),)},
            "a must have 0 <= low_ml <= high_ml",
        ),
        ({"added": (AddedConfig(("aorta",)),)}, r"the last tasks must be its organs \('aorta',\)"),
    ],
)
def test_classes_values_and_organs_fit_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(small("segmenter"), **changes)


def test_the_largest_sizes_are_still_allowed() -> None:
    contract = Preprocessing(patch=(256, 256, 256), window=(64, 512, 512))
    assert dataclasses.replace(small("segmenter"), preprocessing=contract)


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


def test_windows_that_no_memory_holds_are_refused() -> None:
    """Fault 23: a slab of the window's depth is kept for every output."""
    classes = tuple(f"class_{i}" for i in range(128))
    contract = Preprocessing(window=(128, 64, 64))
    ours = dataclasses.replace(small("segmenter"), classes=classes, preprocessing=contract)
    deeper = dataclasses.replace(contract, window=(129, 64, 64))
    with pytest.raises(ValueError, match="depth 129 times 128 outputs is more than 16384"):
        dataclasses.replace(ours, preprocessing=deeper)
