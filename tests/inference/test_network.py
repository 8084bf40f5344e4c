"""Networks in every type and wrapping give probabilities, and what is no number is told once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.inference.network import Probabilities
from mots_pretrained.networks import build

WINDOW = torch.linspace(-1, 1, SIZE[2]).expand(1, 1, *SIZE)


@pytest.mark.parametrize("architecture", ["transdodnet", "segmenter"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_predicts_in_its_own_type(architecture, dtype):
    net = build(small(architecture)).eval()
    expected = Probabilities(net)(WINDOW)
    found = Probabilities(net.to(dtype))(WINDOW)
    assert found.dtype == torch.float32
    assert {p.dtype for p in net.parameters()} == {dtype}
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_autocast_computes_in_bfloat16_and_comes_close():
    net = build(small("segmenter")).eval()
    expected = Probabilities(net)(WINDOW)
    found = Probabilities(net, precision="bfloat16")(WINDOW)
    assert found.dtype == torch.float32
    assert (found != expected).any()
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    with pytest.raises(UserError, match="float16 is for CUDA; on a processor take bfloat16"):
        Probabilities(net, precision="float16")


class Small(torch.nn.Module):
    """A segmenter without checked shapes, which torch.compile does not read through."""

    def __init__(self):
        super().__init__()
        self.config = small("segmenter")
        self.body = torch.nn.Conv3d(1, 3, 1)

    def forward(self, image):
        return self.body(image)


@pytest.mark.parametrize("wrap", ["parallel", "compiled", "both"])
def test_wrapped_networks_are_unwrapped_for_their_configuration(wrap):
    net = Small()
    expected = Probabilities(net)(WINDOW)
    wrapped = net
    if wrap != "compiled":
        wrapped = torch.nn.DataParallel(wrapped)
    if wrap != "parallel":
        wrapped = torch.compile(wrapped, backend="eager")
    found = Probabilities(wrapped)
    assert found.config is net.config
    torch.testing.assert_close(found(WINDOW), expected)
    scan = np.zeros((8, 8, 8), np.int16)
    scan[0] = -1000
    assert Predictor(wrapped)(Volume.with_spacing(scan, (6, 4, 4))).labels.shape == (8, 8, 8)


def test_values_that_are_no_numbers_are_told_once_a_slab():
    class Bad(torch.nn.Module):
        config = small("segmenter")

        def forward(self, image):
            return torch.cat([image, image, image * torch.nan], dim=1)

    network = Probabilities(Bad())
    slab = (0, torch.zeros(1))
    assert network.checked(slab) is slab  # nothing has run yet
    network(WINDOW)
    with pytest.raises(UserError, match="NaN or infinite values; its weights are damaged"):
        network.checked(slab)
    assert network.checked(slab) is slab
