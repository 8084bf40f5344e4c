from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from published_fixture import filled, key_table
from published_weights import published, random_weights
from torch import Tensor

from mots_pretrained.config import HeadConfig, ModelConfig
from mots_pretrained.networks import build
from mots_pretrained.published import convert, inspect, to_published
from mots_pretrained.tasks import Task

TABLES = ["keys_default", "T2", "T6", "D1"]


def arguments(config: ModelConfig) -> dict[str, Any]:
    """What shapes do not tell of a published network, in its command line's spelling."""
    assert config.transformer is not None
    return {
        "nheads": config.transformer.heads,
        "add_memory": {"A": 2, "B": 0, "C": 1}[config.transformer.fusion],
        "activation_cfg": {"relu": "relu", "leaky_relu": "LeakyReLU"}[config.activation],
        "weight_std": config.weight_standardisation,
        "normalize_before": config.transformer.pre_norm,
    }


def numbered(keys: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights that differ from each other, and along their first and last axes; small and quick."""
    weights = {}
    for number, (key, shape) in enumerate(keys.items()):
        last = torch.arange(shape[-1]) / 64
        first = torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1)) / 8
        weights[key] = (last + first + number if len(shape) > 1 else last + number).expand(shape)
    return weights


@pytest.mark.parametrize(
    ("name", "prefix"), [*((name, "") for name in TABLES), ("T2", "module."), ("D1", "module.")]
)
def test_every_key_table_survives_the_way_here_and_back(name: str, prefix: str) -> None:
    keys = key_table(name)
    weights = numbered(keys)
    config, state = convert({prefix + key: value for key, value in weights.items()})
    back = to_published(config, state)
    assert list(back) == list(keys)
    assert all(torch.equal(back[key], weights[key]) for key in keys)
    again, state_again = convert(back)
    assert again == config
    assert list(state_again) == list(state)
    assert all(torch.equal(state_again[key], state[key]) for key in state)


@pytest.mark.parametrize("name", TABLES)
def test_the_converted_weights_are_exactly_those_of_the_built_network(name: str) -> None:
    config, state = convert(numbered(key_table(name)))
    with torch.device("meta"):
        own = build(config).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in state.items()}


TASKS = {
    n: tuple(Task(f"task_{i}", f"task_{i}_organ", f"task_{i}_tumour") for i in range(n))
    for n in (1, 5)
}

OPTION_SPACE = {
    "depth 18": published(depth=18),
    "depth 34": published(depth=34),
    "depth 50": published(depth=50),
    **{f"{n} levels": published(transformer={"levels": n}) for n in (1, 2, 3, 4)},
    **{f"mode {m}": published(transformer={"fusion": m}) for m in "ABC"},
    "pre-norm": published(transformer={"pre_norm": True}),
    "pre-norm without memory": published(transformer={"pre_norm": True, "fusion": "B"}),
    "5 queries": published(tasks=TASKS[5]),
    "1 query": published(tasks=TASKS[1]),
    "leaky": published(activation="leaky_relu"),
    "standardised": published(weight_standardisation=True),
    **{
        f"head {d}x{w}": published(head=HeadConfig(depth=d, width=w))
        for d, w in ((1, 8), (2, 8), (4, 8), (3, 4), (3, 16))
    },
    "2 heads": published(transformer={"heads": 2, "encoder_points": 1}),
}


@pytest.mark.parametrize("name", OPTION_SPACE)
def test_every_option_is_recovered_and_loads_strictly(name: str) -> None:
    config = OPTION_SPACE[name]
    weights = random_weights(config)
    found, state = convert(weights, arguments(config))
    window = dataclasses.replace(config.preprocessing, window=(64, 192, 192))
    assert found == dataclasses.replace(config, preprocessing=window)
    build(found).load_state_dict(state, strict=True)
    back = to_published(found, state)
    assert list(back) == list(weights)
    assert all(torch.equal(back[key], weights[key]) for key in weights)


def test_a_network_of_ours_with_the_published_options_survives_both_ways() -> None:
    net = build(published(transformer={"pre_norm": True}))
    _, state = convert(to_published(net.config, net.state_dict()), arguments(net.config))
    own = net.state_dict()
    assert set(state) == set(own)
    assert all(torch.equal(state[key], own[key]) for key in own)


def test_inspect_says_what_was_told_and_by_whom() -> None:
    found = inspect(random_weights(published()), {"nheads": 4, "add_memory": 1})
    assert found.inferred["res_depth"] == 10
    assert found.inferred["enc_n_points"] == 3
    assert found.given == {"nheads": 4, "add_memory": 1}
    assert found.assumed["activation_cfg"] == "relu"
    assert not set(found.inferred) & set(found.assumed)


def damaged(change: str) -> Any:
    weights: dict[Any, Any] = random_weights(published())
    name = "ResCNN_DeformTR.backbone.layer2.0.conv2.weight"
    root = "ResCNN_DeformTR."
    if change == "empty":
        return {}
    if change == "no mapping":
        return [1, 2]
    if change == "foreign":
        return {"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(3)}
    if change == "missing":
        del weights[name]
    elif change == "missing first":
        del weights[f"{root}transformer.level_embed"]
    elif change == "extra":
        weights[f"{root}extra.weight"] = torch.zeros(3)
    elif change == "shape":
        weights[name] = weights[name][:, :2]
    elif change == "zero-sized":
        weights[f"{root}transformer.level_embed"] = torch.zeros(0, 12)
    elif change == "flat":
        weights[f"{root}query_embed.weight"] = torch.zeros(5)
    elif change == "not finite":
        weights[name][0, 0, 0, 0, 0] = float("nan")
    elif change == "integers":
        weights[name] = weights[name].long()
    elif change == "no tensor":
        weights[name] = "text"
    elif change == "numbers":
        weights[3] = torch.zeros(3)
    elif change == "depth 101":
        for index in range(1, 23):
            weights[f"{root}backbone.layer3.{index}.conv1.weight"] = torch.zeros(1)
    elif change == "head":
        weights[f"{root}controller.2.weight"] = torch.zeros(161, 12)
    return weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("empty", "no published checkpoint"),
        ("no mapping", "no published checkpoint"),
        ("foreign", "neither a published TransDoDNet nor a DoDNet"),
        ("missing", "1 missing .*layer2.0.conv2"),
        ("missing first", "lacks ResCNN_DeformTR.transformer.level_embed"),
        ("extra", "1 unexpected .*extra.weight"),
        ("shape", "layer2.0.conv2.weight has shape"),
        ("zero-sized", "level_embed has shape"),
        ("flat", "query_embed.weight has shape"),
        ("not finite", "layer2.0.conv2.weight .*not finite"),
        ("integers", "not finite floats"),
        ("no tensor", "is no weight tensor"),
        ("numbers", "is no weight tensor"),
        ("depth 101", "101, 152 and 200 are not built"),
        ("head", "161 parameters"),
    ],
)
def test_a_foreign_or_damaged_checkpoint_gets_a_plain_error(change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert(damaged(change), {"nheads": 4})


@pytest.mark.parametrize(
    "change",
    [
        {"coordinate_order": "correct"},
        {"position_code": "equation"},
        {"offset_divisor": "level"},
    ],
)
def test_to_published_refuses_what_the_published_code_computes_otherwise(change: dict) -> None:
    config = published(transformer=change)
    with pytest.raises(ValueError, match=next(iter(change))):
        to_published(config, {})


def test_to_published_names_weights_that_do_not_fit() -> None:
    config, state = convert(random_weights(published()), {"nheads": 4})
    state.pop("organ_decoder.initial")
    with pytest.raises(ValueError, match=r"1 missing .organ_decoder\.initial"):
        to_published(config, state)
    with pytest.raises(ValueError, match="no segmenter network"):
        to_published(dataclasses.replace(config, architecture="segmenter", classes=("a",)), {})


def test_filled_fixture_is_reproducible() -> None:
    first = filled({"a.weight": (3,)})["a.weight"]
    assert torch.equal(first, filled({"a.weight": (3,)})["a.weight"])
