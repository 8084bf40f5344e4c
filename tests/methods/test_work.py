"""Only the requested task's work is done: counted in passes of the encoder and in FLOPs."""

from __future__ import annotations

import pytest
import torch
from small_networks import SIZE, small
from torch.utils.flop_counter import FlopCounterMode

from mots_pretrained.config import ModelConfig
from mots_pretrained.methods import METHODS, configured
from mots_pretrained.model.encoder import Encoder
from mots_pretrained.networks import build

SHARED = ("tal", "dodnet", "transdodnet")
REPEATED = ("multi_nets", "cond_input")
ENCODED = ("multi_head", "cond_dec")


def flops(net, image: torch.Tensor, tasks: list[str] | None) -> tuple[int, int]:
    """Return the FLOPs and the passes of encoders that a forward pass takes."""
    passes: list[int] = []
    hooks = [
        module.register_forward_hook(lambda *_: passes.append(1))
        for module in net.modules()
        if isinstance(module, Encoder)
    ]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(image, tasks=tasks)
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops(), len(passes)


def measured(name: str) -> tuple[int, int, int, int]:
    net, image = build(small(name)).eval().requires_grad_(False), torch.zeros(1, 1, *SIZE)
    one, passes_of_one = flops(net, image, ["spleen"])
    seven, passes_of_seven = flops(net, image, None)
    assert passes_of_one == 1
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        next(m for m in net.modules() if isinstance(m, Encoder))(
            torch.zeros(1, 8 if name == "cond_input" else 1, *SIZE)
        )
    return one, seven, counter.get_total_flops(), passes_of_seven


def test_each_method_is_one_of_three_kinds():
    assert {*SHARED, *REPEATED, *ENCODED} == {*METHODS}


VOXELS = 16 * 32 * 64
OF_ONE_MORE_TASK = {
    "tal": 2 * 2 * 2 * 12 * VOXELS,  # 2 sets within and without, each a sum over 12 classes
    "dodnet": 2 * (8 * 8 + 8 * 8 + 8 * 2) * VOXELS // 4,  # the dynamic head, at half resolution
    "transdodnet": 2 * (8 * 8 + 8 * 8 + 8 * 2) * VOXELS // 4,
}


@pytest.mark.parametrize("name", SHARED)
def test_shared_features_are_computed_once_for_seven_tasks(name):
    one, seven, _, passes = measured(name)
    assert passes == 1
    assert seven == one + 6 * OF_ONE_MORE_TASK[name]


@pytest.mark.parametrize("name", REPEATED)
def test_everything_is_repeated(name):
    one, seven, _, passes = measured(name)
    assert passes == 7
    assert seven == 7 * one


@pytest.mark.parametrize("name", ENCODED)
def test_the_decoder_alone_is_repeated(name):
    one, seven, encoder, passes = measured(name)
    assert passes == 1
    assert seven == encoder + 7 * (one - encoder)


PAPER_SIZE = {
    "multi_nets": 246_893_486,
    "tal": 35_270_828,
    "multi_head": 41_137_454,
    "cond_input": 35_276_546,
    "cond_dec": 35_297_378,
    "dodnet": 35_313_472,  # 35.31 M in Table 4
    "transdodnet": 39_049_941,  # 39.05 M in Table 6
}


@pytest.mark.parametrize(("name", "exact"), PAPER_SIZE.items())
def test_parameters_at_the_papers_size(name, exact):
    """Sec. 4.4: Multi-Nets seven times one network, the others much as one."""
    with torch.device("meta"):
        net = build(configured(name, ModelConfig()))
    assert sum(p.numel() for p in net.parameters()) == exact
    if name == "multi_nets":
        encoder_and_decoder, head = 35_270_432, 32 * 2 + 2
        assert exact == 7 * (encoder_and_decoder + head)
