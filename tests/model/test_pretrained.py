"""Saving and loading networks: bit-equal, strict, and without a second copy in memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from mots_pretrained.config import EncoderConfig, ModelConfig, TransformerConfig
from mots_pretrained.methods.transdodnet import TransDoDNet
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.networks import load

SMALL = ModelConfig(
    encoder=EncoderConfig(depth=10, stem_width=8, widths=(8, 8, 16, 16)),
    transformer=TransformerConfig(
        width=24, heads=4, feedforward=32, encoder_layers=1, decoder_layers=1
    ),
)


@pytest.fixture
def network():
    return TransDoDNet(SMALL)


def test_round_trip_keeps_every_bit_of_the_weights_and_gives_the_same_logits(network, tmp_path):
    network.save_pretrained(tmp_path / "net")
    loaded = load(tmp_path / "net")
    assert isinstance(loaded, TransDoDNet)
    assert loaded.config == network.config
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    state = loaded.state_dict()
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    image = torch.randn(1, 1, 32, 64, 64)
    with torch.inference_mode():
        # Rounding may depend on where in memory weights lie.
        assert torch.equal(loaded(image), network.eval()(image))


def test_a_loaded_network_trains_without_touching_its_file(network, tmp_path):
    network.save_pretrained(tmp_path / "net")
    stored = (tmp_path / "net" / "model.safetensors").read_bytes()
    loaded = load(tmp_path / "net")
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter += 1
    assert (tmp_path / "net" / "model.safetensors").read_bytes() == stored
    loaded.save_pretrained(tmp_path / "net")  # over the file that it is mapped from
    state = load(tmp_path / "net").state_dict()
    assert all(torch.equal(state[key], value + 1) for key, value in network.state_dict().items())


def test_half_is_stored_rounded_and_loaded_as_float32(network, tmp_path):
    network.save_pretrained(tmp_path / "net", half=True)
    for key, value in load(tmp_path / "net").state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, network.state_dict()[key].half().float())


def test_a_backbone_takes_its_part_of_a_whole_network(network, tmp_path):
    network.save_pretrained(tmp_path / "net")
    backbone = MOTSBackbone.from_pretrained(tmp_path / "net")
    own = backbone.state_dict()
    assert own
    assert all(torch.equal(network.state_dict()[f"backbone.{key}"], own[key]) for key in own)
    backbone.save_pretrained(tmp_path / "backbone")
    again = MOTSBackbone.from_pretrained(tmp_path / "backbone").state_dict()
    assert all(torch.equal(again[key], own[key]) for key in own)


def test_weights_that_do_not_fit_are_told_by_name(network):
    state = network.state_dict()
    first, second, *_, last = state
    state["stranger"] = state.pop(first)
    state[second] = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="weights do not fit TransDoDNet") as caught:
        TransDoDNet.from_state(SMALL, state)
    told = str(caught.value)
    assert f"1 missing ({first})" in told
    assert "1 unexpected (stranger)" in told
    assert f"1 of another shape ({second} (1, 2, 3) for" in told
    assert last not in told
    with pytest.raises(ValueError, match=r"\d+ missing \(\S+, \S+, \S+, \.\.\.\)"):
        TransDoDNet.from_state(SMALL, {})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells own memory from the files'")
def test_loading_the_papers_size_takes_no_second_copy(tmp_path):
    """The weights are 156 MB; mapped from the file they share its pages in the system's cache."""
    TransDoDNet(ModelConfig()).save_pretrained(tmp_path / "net")
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from mots_pretrained.networks import load\n"
        "status = lambda: Path('/proc/self/status').read_text()\n"
        "own = lambda: int(re.search(r'RssAnon:\\s+(\\d+)', status())[1]) / 1024\n"
        "load(sys.argv[1]); first = own()\n"
        "nets = [load(sys.argv[1]) for _ in range(4)]\n"
        "print(own() - first)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "net")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert float(done.stdout) < 156 / 2
