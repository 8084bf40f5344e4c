from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from small_networks import SIZE, SMALLEST, small

from mots_pretrained.adaptation.freezing import freeze
from mots_pretrained.adaptation.segmenter import Segmenter, drop_transformer
from mots_pretrained.config import Preprocessing
from mots_pretrained.networks import build, create_model, load

TWO = Preprocessing(
    spacing=(6.0, 4.0, 4.0), intensity="zscore", channels=("t1", "t2"), patch=SIZE, window=SIZE
)
SOURCES = ["transdodnet", "dodnet", "backbone", "dodnet_conference"]


@pytest.fixture(params=SOURCES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    build(small(request.param)).save_pretrained(tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def hybrid(tmp_path: Path) -> Path:
    build(small("transdodnet")).save_pretrained(tmp_path / "source")
    return tmp_path / "source"


def image_for(model: Segmenter, channels: int = 1) -> torch.Tensor:
    size = SMALLEST.get(model.config.backbone, SIZE)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, channels, *size, generator=generator)


def test_a_new_head_stands_on_the_pretrained_backbone(folder: Path) -> None:
    source = load(folder)
    model = Segmenter.from_pretrained(folder, out_channels=14).eval()
    x = image_for(model)
    assert model(x).shape == (1, 14, *x.shape[2:])
    assert model.config.classes == tuple(f"class_{i}" for i in range(1, 14))
    own = source.state_dict()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, own.get(f"backbone.{name}", own.get(name)))


def test_surgery_tells_what_became_of_each_weight(folder: Path) -> None:
    source = load(folder)
    names = set(source.state_dict())
    model = Segmenter.from_pretrained(folder, out_channels=3)
    assert model.surgery is not None
    kept, new, dropped = map(set, model.surgery)
    assert new == {"head.weight", "head.bias"}
    assert kept | new == set(model.state_dict())
    if source.config.architecture == "backbone":
        assert dropped == set()
    else:
        assert dropped == {name for name in names if not name.startswith("backbone.")}
        assert kept | dropped == names


def test_it_saves_and_loads_as_it_is(folder: Path, tmp_path: Path) -> None:
    model = Segmenter.from_pretrained(folder, classes=["spleen", "liver"], exclusive=False).eval()
    model.save_pretrained(tmp_path / "mine")
    for back in (Segmenter.from_pretrained(tmp_path / "mine"), load(tmp_path / "mine")):
        assert isinstance(back, Segmenter)
        assert back.config == model.config
        own, loaded = model.state_dict(), back.state_dict()
        assert all(torch.equal(loaded[name], own[name]) for name in own)
        x = image_for(model)
        torch.testing.assert_close(back(x), model(x), rtol=0, atol=1e-5)


def test_a_new_head_replaces_an_old_one(hybrid: Path, tmp_path: Path) -> None:
    Segmenter.from_pretrained(hybrid, out_channels=3).save_pretrained(tmp_path / "mine")
    again = Segmenter.from_pretrained(tmp_path / "mine", out_channels=5)
    assert again.head.weight.shape[0] == 5
    assert again.surgery is not None
    assert again.surgery.dropped == ("head.bias", "head.weight")


@pytest.mark.parametrize("classes", [("lesion",), ("lesion", "cyst"), ("a", "b", "c")])
def test_a_new_head_has_label_values_of_its_own(
    hybrid: Path, tmp_path: Path, classes: tuple[str, ...]
) -> None:
    first = Segmenter.from_pretrained(hybrid, classes=("spleen", "liver"))
    first.config = dataclasses.replace(first.config, class_values=((1,), (6, 7)))
    first.save_pretrained(tmp_path / "first")
    model = Segmenter.from_pretrained(tmp_path / "first", classes=classes)
    expected = {name: (number,) for number, name in enumerate(classes, 1)}
    assert model.config.label_values == expected
    assert Segmenter.from_scratch(first.config, classes=classes).config == model.config
    made = create_model(tmp_path / "first", True, num_classes=1 + len(classes))
    assert list(made.config.label_values.values()) == [*expected.values()]
    assert Segmenter.from_pretrained(tmp_path / "first").config == first.config  # whole


@pytest.mark.parametrize("whole", [False, True])
def test_without_its_transformer_it_is_the_same_u_net(
    hybrid: Path, tmp_path: Path, whole: bool
) -> None:
    """The reference is the network of mode B, whose decoder takes the CNN's features only."""
    kept = Segmenter.from_pretrained(hybrid, out_channels=3).eval()
    if whole:
        kept.save_pretrained(tmp_path / "mine")
        plain = Segmenter.from_pretrained(tmp_path / "mine", transformer=False)
    else:
        plain = Segmenter.from_pretrained(hybrid, out_channels=3, transformer=False).eval()
        plain.head.load_state_dict(kept.head.state_dict())
    assert plain.config.transformer is None
    cnn_only = dataclasses.replace(kept.config.transformer, fusion="B")
    reference = Segmenter(dataclasses.replace(kept.config, transformer=cnn_only)).eval()
    reference.load_state_dict(
        {name: kept.state_dict()[name] for name in reference.state_dict()}, strict=True
    )
    x = image_for(kept)
    assert torch.equal(plain(x), reference(x))
    assert not torch.equal(plain(x), kept(x))


def test_dropping_the_transformer_reports_it_and_leaves_the_segmenter_alone(hybrid: Path) -> None:
    kept = Segmenter.from_pretrained(hybrid, out_channels=3).train()
    before = {name: value.clone() for name, value in kept.state_dict().items()}
    plain = drop_transformer(kept)
    assert plain.training
    assert plain.surgery is not None
    assert set(plain.surgery.kept) == set(plain.state_dict())
    assert set(plain.surgery.dropped) == {
        name for name in before if ".transformer." in name or ".fuse_memory." in name
    }
    torch.nn.init.zeros_(plain.head.weight)
    assert all(torch.equal(value, before[name]) for name, value in kept.state_dict().items())
    loaded = Segmenter.from_pretrained(hybrid, out_channels=3, transformer=False)
    assert {*plain.surgery.dropped} < {*loaded.surgery.dropped}


def test_dropping_the_transformer_keeps_what_is_frozen_and_the_precision(hybrid: Path) -> None:
    model = Segmenter.from_pretrained(hybrid, out_channels=3).half().train()
    frozen = freeze(model, ["encoder", "decoder.stage1"])
    plain = drop_transformer(model)
    assert {n for n, p in plain.named_parameters() if not p.requires_grad} == {*frozen}
    assert not plain.backbone.encoder.training
    assert plain.head.training
    assert {value.dtype for value in plain.state_dict().values()} == {torch.float16}


def test_a_decoder_that_never_saw_the_cnn_keeps_its_transformer() -> None:
    config = small("segmenter")
    mode_c = dataclasses.replace(config.transformer, fusion="C")
    model = Segmenter(dataclasses.replace(config, transformer=mode_c))
    with pytest.raises(ValueError, match="mode C"):
        drop_transformer(model)


@pytest.mark.parametrize("init", ["first", "mean", "first_scaled", "zero_new"])
def test_the_first_convolution_is_widened(folder: Path, init: str) -> None:
    one = Segmenter.from_pretrained(folder, out_channels=3)
    four = Segmenter.from_pretrained(folder, out_channels=3, in_channels=4, channel_init=init)
    old, new = (m.backbone.encoder.stem[0].weight for m in (one, four))
    expected = {
        "first": old.expand_as(new),
        "mean": old.expand_as(new),
        "first_scaled": (old / 4).expand_as(new),
        "zero_new": torch.cat([old, torch.zeros_like(new[:, 1:])], dim=1),
    }
    assert torch.equal(new, expected[init])
    drawn = Segmenter.from_pretrained(folder, out_channels=3, in_channels=4)  # by default anew
    assert len(drawn.backbone.encoder.stem[0].weight.unique()) == new.numel()
    assert "backbone.encoder.stem.0.weight" in four.surgery.new
    assert four.config.encoder.in_channels == len(four.config.preprocessing.channels) == 4


def test_four_equal_channels_give_what_one_gave(hybrid: Path) -> None:
    one = Segmenter.from_pretrained(hybrid, out_channels=3).eval()
    four = Segmenter.from_pretrained(
        hybrid, out_channels=3, in_channels=4, channel_init="first_scaled"
    ).eval()
    four.head.load_state_dict(one.head.state_dict())
    x = image_for(one)
    with torch.no_grad():
        alone = one.backbone.encoder.stem[0](x)
        together = four.backbone.encoder.stem[0](x.repeat(1, 4, 1, 1, 1))
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
        # To the logits in double precision: single is summed in another order with four channels,
        # which every later norm enlarges.
        x, one, four = x.double(), one.double(), four.double()
        torch.testing.assert_close(four(x.repeat(1, 4, 1, 1, 1)), one(x), rtol=0, atol=1e-5)


def test_gradients_reach_head_and_backbone(folder: Path) -> None:
    model = Segmenter.from_pretrained(folder, out_channels=3).train()
    model(image_for(model)).square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []


def test_another_contract_may_be_given(hybrid: Path) -> None:
    contract = Preprocessing(channels=("t1", "t2"), intensity="zscore", spacing=(1.0, 1.0, 1.0))
    model = Segmenter.from_pretrained(hybrid, out_channels=2, in_channels=2, preprocessing=contract)
    assert model.config.preprocessing == contract


def test_input_channels_are_those_of_the_contract_that_is_given(hybrid: Path) -> None:
    for model in (
        Segmenter.from_pretrained(hybrid, out_channels=2, preprocessing=TWO),
        Segmenter.from_scratch(small(), 2, preprocessing=TWO),
    ):
        assert model.config.preprocessing == TWO
        assert model.config.encoder.in_channels == 2
        assert model.backbone.encoder.stem[0].weight.shape[1] == 2


@pytest.mark.parametrize(
    "given",
    [{"head": "levels"}, {"exclusive": False}, {"channel_init": "mean"}, {"in_channels": 1}],
)
def test_a_network_that_is_loaded_whole_takes_nothing_else(
    hybrid: Path, tmp_path: Path, given: dict
) -> None:
    Segmenter.from_pretrained(hybrid, out_channels=2).save_pretrained(tmp_path / "whole")
    (name,) = given
    with pytest.raises(ValueError, match=f"loaded whole, .*; {name} needs a new head"):
        Segmenter.from_pretrained(tmp_path / "whole", **given)


def test_from_scratch_is_the_same_network_with_random_weights(hybrid: Path) -> None:
    pretrained = Segmenter.from_pretrained(hybrid, out_channels=3)
    scratch = Segmenter.from_scratch(load(hybrid).config, 3)
    assert scratch.config == pretrained.config
    assert scratch.surgery is None
    name = "backbone.encoder.stem.0.weight"
    assert not torch.equal(scratch.state_dict()[name], pretrained.state_dict()[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "holds a transdodnet, which has no segmenter's head"),
        ({"out_channels": 1}, "at least 2 .the background included., not 1"),
        ({"out_channels": 0, "exclusive": False}, "at least 1, not 0"),
        ({"out_channels": 4, "classes": ["a", "b"]}, "2 classes and the background make 3"),
        ({"classes": ["a", "a"]}, "different from each other"),
        ({"out_channels": 2, "in_channels": 4, "channel_init": "x"}, "channel_init must be one"),
        ({"out_channels": 2, "channel_init": "frist"}, "channel_init must be one of random, fir"),
        ({"out_channels": 2, "in_channels": 0}, "in_channels must be whole numbers of 1 to 64"),
        ({"out_channels": 2, "head": "Linear"}, "kind must be one of linear, levels"),
        (
            {"out_channels": 2, "in_channels": 1, "preprocessing": TWO},
            r"in_channels is 1, but preprocessing names 2 channels \(t1, t2\)",
        ),
    ],
)
def test_contradictions_are_told(hybrid: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Segmenter.from_pretrained(hybrid, **arguments)


def test_only_segmenters_are_built() -> None:
    with pytest.raises(ValueError, match="needs architecture 'segmenter', not 'transdodnet'"):
        Segmenter(small("transdodnet"))


def test_weights_of_another_backbone_are_refused(hybrid: Path) -> None:
    net = load(hybrid)
    wider = dataclasses.replace(
        net.config, encoder=dataclasses.replace(net.config.encoder, stem_width=5)
    )
    model = Segmenter.from_scratch(wider, 3)
    with pytest.raises(ValueError, match="has shape"):
        model._receive(net.state_dict(), "first")
    with pytest.raises(ValueError, match=r"lack \d+ of the backbone's tensors"):
        model._receive({}, "first")


@pytest.mark.parametrize("arguments", [{"out_channels": 3}, {}])
def test_loading_gives_evaluation_mode_with_and_without_a_new_head(
    tmp_path: Path, arguments: dict
) -> None:
    build(small("segmenter")).train().save_pretrained(tmp_path / "source")
    model = Segmenter.from_pretrained(tmp_path / "source", **arguments)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("arguments", [{"out_channels": 3}, {}])
def test_weights_are_single_precision_whatever_the_default(tmp_path: Path, arguments: dict) -> None:
    build(small("segmenter")).save_pretrained(tmp_path / "source")
    try:
        torch.set_default_dtype(torch.float64)
        model = Segmenter.from_pretrained(tmp_path / "source", **arguments)
        with torch.no_grad():
            assert model(torch.zeros(1, 1, *SIZE, dtype=torch.float32)).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_single_name_is_no_list_of_classes(hybrid: Path) -> None:
    with pytest.raises(ValueError, match=r"a list of names, such as \['liver'\], not 'liver'"):
        Segmenter.from_pretrained(hybrid, classes="liver")


def test_a_head_that_is_loaded_is_not_new():
    """finetune() fitted another one in its place."""
    config = small()
    one, other = (Segmenter.from_scratch(config, classes=("a",)) for _ in range(2))
    other.head_is_new = True
    backbone = {k: v for k, v in one.state_dict().items() if k.startswith("backbone.")}
    other.load_state_dict(backbone, strict=False)
    assert other.head_is_new
    other.load_state_dict(one.state_dict())
    assert not other.head_is_new
