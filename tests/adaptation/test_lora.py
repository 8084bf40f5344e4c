"""Adapters: unchanged at first, merged to the same output, saved and loaded by peft."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.adaptation.fit_head import fit_head
from mots_pretrained.adaptation.freezing import freeze
from mots_pretrained.adaptation.lora import add_lora, merge_lora
from mots_pretrained.adaptation.segmenter import Segmenter, drop_transformer
from mots_pretrained.errors import UserError
from mots_pretrained.methods.transdodnet import TransDoDNet

X = torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
PARTS = ["encoder", "transformer", "decoder"]


def layers_of(model: torch.nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if hasattr(module, "lora_A")}


def segmenter(**changes) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(small("segmenter", **changes)).eval()


def adapted(parts: list[str], rank: int = 2) -> Segmenter:
    """A segmenter whose adapters and head have learned something."""
    model = segmenter()
    add_lora(model, parts, rank=rank, alpha=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert "lora_" in name or name.startswith("head.modules_to_save.")
                parameter += 0.1 * torch.randn_like(parameter)
    return model


@torch.no_grad()
def test_adapters_change_nothing_until_they_learn() -> None:
    model = segmenter()
    before = model(X)
    adapted = add_lora(model, PARTS, rank=2)
    layers = layers_of(model)
    assert "backbone.transformer.layers.0.attention.value_projection" in layers
    assert {model.get_submodule(name).get_base_layer().kernel_size for name in layers
            if hasattr(model.get_submodule(name).get_base_layer(), "kernel_size")} == {
        (1, 1, 1), (3, 3, 3),
    }  # fmt: skip
    assert torch.equal(model(X), before)
    assert torch.equal(adapted(X), before)


@torch.no_grad()
@pytest.mark.parametrize("parts", [["transformer"], PARTS, ["encoder.stage2"]])
def test_merged_weights_give_the_adapters_output(parts: list[str]) -> None:
    model = adapted(parts).double()
    x = X.double()
    plain, before = segmenter().double(), model(x)
    plain.head.load_state_dict(model.head.modules_to_save["default"].state_dict())
    assert not torch.allclose(plain(x), before)
    layers = layers_of(model)
    assert merge_lora(model) is model
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-5)
    changed = {n for n, v in model.state_dict().items() if not v.equal(plain.state_dict()[n])}
    assert changed == {f"{name}.weight" for name in layers}
    assert all(parameter.requires_grad for parameter in model.parameters())


@torch.no_grad()
def test_merged_layers_agree_to_1e_5_in_single_precision() -> None:
    model = adapted(PARTS)
    seen = {}
    for name, layer in [(n, m) for n, m in model.named_modules() if hasattr(m, "lora_A")]:
        base = layer.get_base_layer()
        kernel = getattr(base, "kernel_size", None)
        x = torch.randn((2, base.in_features) if kernel is None else (1, base.in_channels, 5, 6, 7))
        seen[name] = x, layer(x)
    merge_lora(model)
    for name, (x, before) in seen.items():
        assert (model.get_submodule(name)(x) - before).abs().max() < 1e-5, name
    assert len(seen) > 20


@torch.no_grad()
def learned(seed: int, parts: list[str], model: Segmenter | TransDoDNet) -> peft.PeftModel:
    """A network with adapters of random values, and a head if it is a segmenter's."""
    adapted = add_lora(model, parts, rank=2, alpha=3)
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    return adapted


@torch.no_grad()
def test_an_update_that_peft_has_merged_is_not_added_again() -> None:
    adapted = learned(1, ["encoder.stem"], segmenter())  # peft fails on 1x1x1 convolutions
    before = adapted(X)
    adapted.merge_adapter()
    torch.testing.assert_close(merge_lora(adapted)(X), before, rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_active_one_of_two_adapters_is_merged_with_its_head(tmp_path: Path) -> None:
    learned(1, ["encoder.stage2"], segmenter()).save_pretrained(tmp_path)
    adapted = learned(2, ["transformer"], segmenter())
    first = adapted(X)
    adapted.load_adapter(tmp_path, adapter_name="second")
    adapted.set_adapter("second")
    before = adapted.eval()(X)
    assert not torch.allclose(before, first)
    torch.testing.assert_close(merge_lora(adapted)(X), before, rtol=0, atol=1e-4)


@torch.no_grad()
def test_adapters_that_are_active_together_are_merged_together(tmp_path: Path) -> None:
    def net() -> TransDoDNet:
        torch.manual_seed(0)
        return TransDoDNet(small()).eval()

    learned(1, ["transformer", "encoder.stage2"], net()).save_pretrained(tmp_path)
    adapted = learned(2, ["transformer"], net())
    adapted.load_adapter(tmp_path, adapter_name="second")
    alone = adapted.eval()(X)
    adapted.base_model.set_adapter(["default", "second"])
    before = adapted(X)
    assert not torch.allclose(before, alone)
    torch.testing.assert_close(merge_lora(adapted)(X), before, rtol=0, atol=1e-4)


@torch.no_grad()
def test_adapters_of_any_name_are_merged(tmp_path: Path) -> None:
    learned(1, PARTS, segmenter()).save_pretrained(tmp_path)
    back = peft.PeftModel.from_pretrained(segmenter(), tmp_path, adapter_name="mine").eval()
    before = back(X)
    merged = merge_lora(back)
    torch.testing.assert_close(merged(X), before, rtol=0, atol=1e-4)
    assert merged.state_dict().keys() == segmenter().state_dict().keys()


@pytest.mark.parametrize("is_training", [True, False])
def test_a_merged_network_is_in_one_mode(is_training: bool) -> None:
    adapted = add_lora(segmenter(), ["transformer"], rank=2).train(is_training)
    assert {module.training for module in merge_lora(adapted).modules()} == {is_training}


def test_what_is_off_or_no_plain_lora_is_not_merged() -> None:
    adapted = learned(1, ["transformer"], segmenter())
    before = adapted(X)
    adapted.base_model.disable_adapter_layers()
    with pytest.raises(UserError, match=r"switched off; call enable_adapter_layers\(\) first"):
        merge_lora(adapted)
    adapted.base_model.enable_adapter_layers()
    assert torch.equal(adapted(X), before)
    linear = "backbone.transformer.layers.0.feedforward.widen"
    for change in ({"use_dora": True}, {"lora_bias": True}):
        config = peft.LoraConfig(r=2, target_modules=[linear], **change)
        other = peft.get_peft_model(segmenter(), config)
        with pytest.raises(UserError, match=f"{linear} is no plain LoRA"):
            merge_lora(other)


@torch.no_grad()
def test_a_broken_adapter_is_not_merged() -> None:
    model = adapted(["transformer"])
    layers = [name for name, m in model.named_modules() if hasattr(m, "lora_A")]
    model.get_submodule(layers[-1]).lora_B["default"].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=f"adapter of {layers[-1]} is not finite"):
        merge_lora(model)
    assert model.get_submodule(layers[0]).lora_A  # nothing was done by halves


def test_only_adapters_and_head_learn_and_a_merged_network_is_saved_as_ever(tmp_path: Path) -> None:
    model = segmenter()
    adapted = add_lora(model, rank=2)
    layers = layers_of(model)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    expected = {f"{layer}.lora_{side}.default.weight" for layer in layers for side in "AB"}
    new = "head.modules_to_save.default"
    assert learning == {*expected, f"{new}.weight", f"{new}.bias"}
    model.train()
    assert not any(m.training for m in model.backbone.encoder.modules())
    adapted(X).square().mean().backward()
    torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.01).step()
    merge_lora(adapted.eval())
    model.save_pretrained(tmp_path / "merged")
    back = Segmenter.from_pretrained(tmp_path / "merged")
    assert torch.equal(back(X), model(X))


@torch.no_grad()
def test_peft_saves_adapters_and_head_and_puts_them_back(tmp_path: Path) -> None:
    model = segmenter()
    kept = add_lora(model, PARTS, rank=2)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter += 0.1 * torch.randn_like(parameter)
    kept.save_pretrained(tmp_path / "adapters")
    back = peft.PeftModel.from_pretrained(segmenter(), tmp_path / "adapters").eval()
    assert torch.equal(back(X), model(X))
    torch.testing.assert_close(merge_lora(back)(X), model(X), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["default", "mine"])
def test_a_head_that_came_with_adapters_is_not_new(name: str, tmp_path: Path) -> None:
    def pretrained() -> Segmenter:
        model = segmenter()
        model.head_is_new = True
        return model

    unlearned = add_lora(pretrained(), rank=2)
    assert unlearned.head_is_new
    assert merge_lora(unlearned).head_is_new
    learned(1, ["transformer"], pretrained()).save_pretrained(tmp_path)
    model = pretrained()
    back = peft.PeftModel.from_pretrained(model, tmp_path, adapter_name=name, is_trainable=True)
    assert not model.head_is_new
    assert not merge_lora(back).head_is_new


def test_a_network_with_adapters_on_is_not_saved_whole(tmp_path: Path) -> None:
    """What would be written could not be loaded."""
    model = adapted(["transformer"])
    with pytest.raises(UserError, match=r"adapters on; merge_lora\(network\) puts them into"):
        model.save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="adapters on"):
        model.push_to_hub("org/name")
    assert not (tmp_path / "model").exists()
    merge_lora(model).save_pretrained(tmp_path / "model")


@torch.no_grad()
def test_a_network_of_tasks_takes_adapters_where_they_are_used() -> None:
    net = TransDoDNet(small("transdodnet")).eval()
    before = net(X, ["liver"])
    add_lora(net, PARTS, rank=2)
    layers = layers_of(net)
    assert all(name.startswith("backbone.") for name in layers)
    for name in layers:
        net.get_submodule(name).lora_B["default"].weight.normal_()
    assert not torch.equal(net(X, ["liver"]), before)


def test_standardised_convolutions_take_none() -> None:
    model = segmenter(weight_standardisation=True)
    add_lora(model, PARTS, rank=2)
    assert all("transformer.layers" in name for name in layers_of(model))
    with pytest.raises(ValueError, match=r"nothing in encoder can take"):
        add_lora(segmenter(weight_standardisation=True), ["encoder"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": ["head"]}, "adapters go into encoder, .* not into 'head'"),
        ({"parts": []}, "nothing in no part"),
        ({"rank": 0}, "rank must be 1 or more, not 0"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add_lora(segmenter(), **arguments)


def test_freezing_leaves_what_adapters_stand_on_frozen() -> None:
    model = segmenter()
    add_lora(model, ["transformer"], rank=2)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    freeze(model, ["encoder"])
    assert {name for name, p in model.named_parameters() if p.requires_grad} == learning
    freeze(model, ["transformer"])
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {"head"}


def test_a_network_with_adapters_on_gets_no_new_head_and_no_other_shape() -> None:
    model = segmenter()
    add_lora(model, ["transformer"], rank=2)
    with pytest.raises(UserError, match="adapters on; fit its head before add_lora, or call merge"):
        fit_head(model, [])
    for change in (drop_transformer, lambda net: net.reset_classifier(4)):
        with pytest.raises(UserError, match=r"adapters on; call merge_lora\(network\) first"):
            change(model)
    with pytest.raises(UserError, match=r"parts must be a list of names, such as \['encoder'\]"):
        add_lora(segmenter(), "encoder")


def test_a_compiled_network_takes_none() -> None:
    with pytest.raises(ValueError, match="compile or wrap it after that"):
        add_lora(torch.compile(segmenter(), backend="eager"))


def test_adapters_are_put_on_once() -> None:
    model = segmenter()
    add_lora(model)
    with pytest.raises(ValueError, match="has adapters already"):
        add_lora(model)
