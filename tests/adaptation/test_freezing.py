"""Named parts, what frozen parts do and do not, staged unfreezing, layer-wise rates."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.adaptation.freezing import Unfreezing, freeze, layer_decay_groups, parts
from mots_pretrained.config import AddedConfig
from mots_pretrained.networks import build
from mots_pretrained.tasks import Task

NETWORKS = {
    "segmenter": small("segmenter"),
    "transdodnet": small("transdodnet"),
    "dodnet": small("dodnet"),
    "dodnet_conference": small("dodnet_conference"),
    "backbone": small("backbone"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_hold_every_parameter_once_and_parts_are_their_sums(name: str) -> None:
    network = build(NETWORKS[name])
    found = parts(network)
    every = sorted(key for key, _ in network.named_parameters())
    coarse = [part for part in found if "." not in part]
    assert sorted(key for part in coarse for key in found[part]) == every
    for part in coarse:
        stages = [key for stage in found if stage.startswith(f"{part}.") for key in found[stage]]
        assert not stages or sorted(stages) == sorted(found[part])
    last = {"segmenter": "head", "backbone": "decoder.stage4"}.get(name, "head")
    assert list(found)[:2] == ["encoder", "encoder.stem"]
    assert list(found)[-1] == last


def test_the_names_say_where_a_stage_lies() -> None:
    found = parts(build(NETWORKS["segmenter"]))
    assert [p for p in found if p.startswith("transformer")] == [
        *("transformer", "transformer.input", "transformer.layer1"),
    ]
    assert all("encoder.stages.2." in key for key in found["encoder.stage3"])
    assert "backbone.decoder.upsample.3.weight" in found["decoder.stage4"]  # the finest
    assert found["head"] == ("head.weight", "head.bias")


@pytest.mark.parametrize("frozen", [["encoder"], ["encoder.stage1", "transformer"], []])
def test_only_what_is_open_learns(frozen: list[str]) -> None:
    network = build(NETWORKS["segmenter"])
    names = freeze(network, frozen)
    assert set(names) == {key for part in frozen for key in parts(network)[part]}
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    network(torch.randn(1, 1, *SIZE)).square().mean().backward()
    optimizer.step()
    unchanged = {key for key, value in network.state_dict().items() if value.equal(before[key])}
    assert unchanged == set(names)


def test_dropout_of_a_frozen_part_is_off_while_the_rest_trains() -> None:
    network = build(NETWORKS["segmenter"])
    x = torch.randn(1, 1, *SIZE)
    network.train()
    assert not torch.equal(network(x), network(x))
    freeze(network, ["transformer"])
    assert network.head.training
    assert torch.equal(network(x), network(x))
    network.eval().train()  # as the training loop does after a validation
    assert not any(m.training for m in network.backbone.transformer.modules())
    freeze(network, [])
    assert network.backbone.transformer.layers[0].dropout.training


def test_freezing_leaves_evaluation_mode_as_it_is() -> None:
    network = build(NETWORKS["segmenter"]).eval()
    freeze(network, ["encoder"])
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("wrong", ["encode", "encoder.stage5", "organ_decoder", ""])
def test_an_unknown_part_is_told_with_those_there_are(wrong: str) -> None:
    network = build(NETWORKS["segmenter"])
    with pytest.raises(ValueError, match=f"no part {wrong!r}; it has encoder, encoder.stem,"):
        freeze(network, [wrong])


def test_parts_open_when_the_plan_says_so() -> None:
    network = build(NETWORKS["segmenter"])
    plan = Unfreezing(("encoder", "decoder"), ((2, ("decoder",)), (5, ("encoder.stage4",))))
    there = parts(network)
    encoder, decoder = {*there["encoder"]}, {*there["decoder"]}
    expected = {
        0: encoder | decoder,
        1: encoder | decoder,
        2: encoder,
        4: encoder,
        5: encoder - {*there["encoder.stage4"]},
        9: encoder - {*there["encoder.stage4"]},
    }
    for step, frozen in expected.items():
        assert set(plan.apply(network, step)) == frozen
        assert {k for k, p in network.named_parameters() if not p.requires_grad} == frozen
    assert set(plan.apply(network, 0)) == expected[0]  # a plan may be entered anywhere


def test_a_plan_backwards_from_the_head() -> None:
    plan = Unfreezing.backwards(10)
    assert plan.frozen == ("decoder", "transformer", "encoder")
    assert [plan.opened(step) for step in (9, 10, 20, 30)] == [
        (),
        ("decoder",),
        ("decoder", "transformer"),
        ("decoder", "transformer", "encoder"),
    ]


@pytest.mark.parametrize(
    ("opening", "message"),
    [
        (((0, ("encoder",)),), "step 1 or later, not 0"),
        (((3, ("head",)),), "'head' cannot open at step 3: frozen are only encoder"),
    ],
)
def test_an_impossible_plan_is_refused(opening: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Unfreezing(("encoder",), opening)


def test_rates_fall_by_the_decay_from_stage_to_stage() -> None:
    network = build(NETWORKS["segmenter"])
    optimizer = torch.optim.AdamW(layer_decay_groups(network, 0.01, decay=0.5, weight_decay=0.1))
    groups = optimizer.param_groups
    scale = {id(p): 100 * group["lr"] for group in groups for p in group["params"]}
    found = parts(network)
    stages = [part for part in found if "." in part or part == "head"]
    assert len(scale) == len(list(network.parameters()))
    named = dict(network.named_parameters())
    for distance, stage in enumerate(reversed(stages)):
        for key in found[stage]:
            assert scale[id(named[key])] == pytest.approx(0.5**distance)
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}


def test_rates_and_parts_are_those_of_the_network_inside_wrappers() -> None:
    network = build(NETWORKS["segmenter"])
    plain = rates_of(network)
    assert min(plain.values()) < 0.1 * max(plain.values())
    for around in (torch.compile(network, backend="eager"), torch.nn.DataParallel(network)):
        assert rates_of(around) == plain
        assert parts(around) == parts(network)
        freeze(around, ["encoder"])
        assert {n for n, p in network.named_parameters() if not p.requires_grad} == {
            *parts(network)["encoder"]
        }
        network.requires_grad_()
    network.backbone.encoder = torch.compile(network.backbone.encoder, backend="eager")
    assert rates_of(network) == plain
    with pytest.raises(ValueError, match="a Linear is no network of this package"):
        layer_decay_groups(torch.nn.Linear(1, 1), 1e-3)


def rates_of(network: torch.nn.Module) -> dict[int, float]:
    return {
        id(p): g["lr"] for g in layer_decay_groups(network, 1e-3, decay=0.5) for p in g["params"]
    }


def test_rates_fall_in_each_network_of_several_and_beside_added_organs() -> None:
    tasks = build(NETWORKS["transdodnet"])
    config = dataclasses.replace(
        tasks.config,
        tasks=(*tasks.config.tasks, Task("aorta", "aorta", None, (1,))),
        added=(AddedConfig(("aorta",)),),
    )
    extended = build(config)
    rate = rates_of(extended)
    own = {n: rate[id(p)] for n, p in extended.net.named_parameters()}
    alone = rates_of(tasks)
    assert own == {n: pytest.approx(alone[id(p)]) for n, p in tasks.named_parameters()}
    assert {rate[id(p)] for p in extended.added.parameters()} == {1e-3}
    for name in ("multi_nets", "cond_input", "cond_dec", "multi_head"):
        network = build(small(name))
        rate = rates_of(network)
        found = parts(network)
        named = dict(network.named_parameters())
        assert {rate[id(named[n])] for n in found["head"]} == {1e-3}
        assert {rate[id(named[n])] for n in found["decoder.stage4"]} == {0.5e-3}
        assert max(rate[id(named[n])] for n in found["encoder.stem"]) < 1e-5


def test_frozen_parameters_get_no_group_and_a_decay_must_be_one() -> None:
    network = build(NETWORKS["segmenter"])
    freeze(network, ["encoder"])
    ids = {id(p) for group in layer_decay_groups(network, 1e-3) for p in group["params"]}
    assert ids == {id(p) for p in network.parameters() if p.requires_grad}
    with pytest.raises(ValueError, match="above 0 and at most at 1, not 0"):
        layer_decay_groups(network, 1e-3, decay=0)


def test_a_transformer_with_a_norm_of_its_own_has_it_as_a_stage() -> None:
    config = NETWORKS["segmenter"]
    assert config.transformer is not None
    before = dataclasses.replace(config.transformer, pre_norm=True)
    assert "transformer.norm" in parts(build(dataclasses.replace(config, transformer=before)))
