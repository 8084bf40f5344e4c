"""The precision of a device is found, what there is not is refused, float32 stays to the bit."""

from __future__ import annotations

import pytest
import torch
from small_networks import small

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.metrics import dice
from mots_pretrained.inference import Predictor
from mots_pretrained.inference.network import Probabilities
from mots_pretrained.inference.precision import choose_precision
from mots_pretrained.networks import build, load

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Seen(torch.nn.Module):
    """A segmenter that keeps what autocast was set to when it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.config = small("segmenter")
        self.body = torch.nn.Conv3d(1, 3, 3, padding=1)
        self.autocast: torch.dtype | None = None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        enabled = torch.is_autocast_enabled("cpu")
        self.autocast = torch.get_autocast_dtype("cpu") if enabled else None
        return self.body(image)


def processor(monkeypatch: pytest.MonkeyPatch, **capabilities: object) -> None:
    """Make torch tell these capabilities of the processor."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": True}, "bfloat16"),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False}, "float32"),
        ({"architecture": "aarch64", "bf16": True, "sve_max_length": 256}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_on_a_processor(monkeypatch, capabilities, expected):
    processor(monkeypatch, **capabilities)
    assert choose_precision("auto", CPU) == expected
    for asked in ("float32", "bfloat16"):  # what is asked for by name does not depend on it
        assert choose_precision(asked, CPU) == asked


def test_auto_with_a_torch_that_tells_nothing_of_the_processor(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_precision("auto", CPU) == "float32"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), "float32"), ((7, 0), "float16"), ((7, 5), "float16"), ((8, 0), "bfloat16"),
     ((12, 0), "bfloat16")],
)  # fmt: skip
def test_auto_on_cuda(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", CUDA) == expected


def test_auto_elsewhere():
    assert choose_precision("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("wanted", ["half", "", "AUTO", "double"])
def test_an_unknown_one_is_refused_in_a_line(wanted, device):
    with pytest.raises(UserError) as caught:
        choose_precision(wanted, device)
    allowed = "auto, float32, bfloat16, float16"
    assert str(caught.value) == f"unknown precision {wanted!r}; allowed are {allowed}"


def test_one_that_the_device_lacks_is_refused_in_a_line(monkeypatch):
    with pytest.raises(UserError, match=r"^precision float16 is for CUDA; on a processor take"):
        choose_precision("float16", CPU)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(UserError, match=r"^this GPU has no bfloat16; take precision float16 or"):
        choose_precision("bfloat16", CUDA)
    assert choose_precision("float16", CUDA) == "float16"


def test_a_network_computes_in_what_was_chosen_and_in_float32_to_the_bit(monkeypatch):
    torch.manual_seed(0)
    net, windows = Seen(), torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        plain = net(windows).softmax(dim=1)
    found = {}
    for capabilities in ({"avx512_bf16": True}, {"avx512_bf16": False}):
        processor(monkeypatch, **capabilities)
        for asked in ("float32", "bfloat16", "auto"):
            network = Probabilities(net, precision=asked)
            found[asked] = network(windows)
            expected = None if network.precision == "float32" else torch.bfloat16
            assert net.autocast == expected
            assert torch.equal(found[asked], plain) == (network.precision == "float32")
        there = capabilities["avx512_bf16"]
        assert torch.equal(found["auto"], found["bfloat16" if there else "float32"])


def test_auto_leaves_a_network_of_another_type(monkeypatch):
    processor(monkeypatch, avx512_bf16=True)
    assert Probabilities(Seen(), precision="auto").precision == "bfloat16"
    assert Probabilities(Seen().half(), precision="auto").precision == "float32"
    assert Predictor(build(small()).double(), precision="auto").precision == "float32"


@pytest.mark.long
@pytest.mark.skipif(
    choose_precision("auto", CPU) != "bfloat16", reason="the processor has no bfloat16"
)
def test_organs_of_the_shipped_network_agree_to_a_dice_of_0_99():
    """What the docstring of `choose_precision` and docs/predict.md state."""
    from mots_pretrained.training.scored_cases import phantom_items

    net = load("transdodnet.phantom")
    (phantom,) = phantom_items(net.config, 1, (1,))
    plain, short = (
        phantom.predict(Predictor(net, batch=None, precision=precision))
        for precision in ("float32", "auto")
    )
    organs = ("liver", "kidney", "pancreas", "spleen")
    large = [organ for organ in organs if plain.mask(organ).sum() > 1000]
    assert "liver" in large
    assert (short.labels != plain.labels).any()
    for organ in large:
        assert dice(plain.mask(organ), short.mask(organ)) >= 0.99
