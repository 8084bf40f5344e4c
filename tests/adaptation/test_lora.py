"""Adapters: unchanged at first, merged to the same output, saved, loaded, refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_networks import SIZE, small

from mots_pretrained.adaptation.lora import add_lora, load_lora, merge_lora, save_lora
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.methods.transdodnet import TransDoDNet

pytest.importorskip("peft", reason="peft is not installed")

X = torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
PARTS = ["encoder", "transformer", "decoder"]


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
                assert "lora_" in name or name.startswith("head.")
                parameter += 0.1 * torch.randn_like(parameter)
    return model


@torch.no_grad()
def test_adapters_change_nothing_until_they_learn() -> None:
    model = segmenter()
    before = model(X)
    layers = add_lora(model, PARTS, rank=2)
    assert "backbone.transformer.layers.0.attention.value_projection" in layers
    assert {model.get_submodule(name).get_base_layer().kernel_size for name in layers
            if hasattr(model.get_submodule(name).get_base_layer(), "kernel_size")} == {
        (1, 1, 1), (3, 3, 3),
    }  # fmt: skip
    assert torch.equal(model(X), before)


@torch.no_grad()
@pytest.mark.parametrize("parts", [["transformer"], PARTS, ["encoder.stage2"]])
def test_merged_weights_give_the_adapters_output(parts: list[str]) -> None:
    model = adapted(parts).double()
    x = X.double()
    plain, before = segmenter().double(), model(x)
    plain.head.load_state_dict(model.head.state_dict())
    assert not torch.allclose(plain(x), before)
    layers = merge_lora(model)
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
    for name in merge_lora(model):
        x, before = seen.pop(name)
        assert (model.get_submodule(name)(x) - before).abs().max() < 1e-5, name
    assert not seen


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
    layers = add_lora(model, rank=2)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    expected = {f"{layer}.lora_{side}.default.weight" for layer in layers for side in "AB"}
    assert learning == {*expected, "head.weight", "head.bias"}
    model.train()
    assert not any(m.training for m in model.backbone.encoder.modules())
    model(X).square().mean().backward()
    torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.01).step()
    merge_lora(model.eval())
    model.save_pretrained(tmp_path / "merged")
    back = Segmenter.from_pretrained(tmp_path / "merged")
    assert torch.equal(back(X), model(X))


@torch.no_grad()
def test_adapters_come_back_as_they_were(tmp_path: Path) -> None:
    model = adapted(["transformer"])
    path = save_lora(model, tmp_path / "lora.safetensors")
    back = segmenter()
    back.head.weight.zero_()  # the head comes with the file
    layers = load_lora(back, path)
    assert set(layers) == {n for n, m in model.named_modules() if hasattr(m, "lora_A")}
    assert torch.equal(back(X), model(X))
    other = segmenter()
    other.backbone.encoder.stem[0].weight += 1e-3
    with pytest.raises(ValueError, match="was learned on weights with SHA-256"):
        load_lora(other, path)
    assert not any(hasattr(m, "lora_A") for m in other.modules())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m, t: m.update(facts='{"layers": ["x"], "rank": 2, "alpha": 3}'),
            "another network",
        ),
        (
            lambda m, t: m.update(facts=m["facts"].replace('"rank": 2', '"rank": 3')),
            "another shape",
        ),
        (lambda m, t: t.pop("head.bias"), "1 missing .head.bias"),
        (lambda m, t: m.update(kind="task"), "holds no lora"),
    ],
)
def test_a_strange_file_is_refused(tmp_path: Path, change, message: str) -> None:
    path = save_lora(adapted(["transformer"]), tmp_path / "lora.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    change(metadata, tensors)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match=message):
        load_lora(segmenter(), path)


@torch.no_grad()
def test_a_network_of_tasks_takes_adapters_where_they_are_used() -> None:
    net = TransDoDNet(small("transdodnet")).eval()
    before = net(X, ["liver"])
    layers = add_lora(net, PARTS, rank=2)
    assert all(name.startswith("backbone.") for name in layers)
    for name in layers:
        net.get_submodule(name).lora_B["default"].weight.normal_()
    assert not torch.equal(net(X, ["liver"]), before)


def test_standardised_convolutions_take_none() -> None:
    layers = add_lora(segmenter(weight_standardisation=True), PARTS, rank=2)
    assert all("transformer.layers" in name for name in layers)
    with pytest.raises(ValueError, match=r"nothing in encoder can take"):
        add_lora(segmenter(weight_standardisation=True), ["encoder"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": ["head"]}, "adapters go into encoder, .* not into 'head'"),
        ({"parts": []}, "nothing in no part"),
        ({"rank": 0}, "rank must be 1 to 1024, not 0"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add_lora(segmenter(), **arguments)


def test_adapters_are_put_on_once(tmp_path: Path) -> None:
    model = segmenter()
    with pytest.raises(ValueError, match="no adapters to save"):
        save_lora(model, tmp_path / "x")
    add_lora(model)
    with pytest.raises(ValueError, match=r"nothing|already"):
        add_lora(model)
