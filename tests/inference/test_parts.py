"""Probabilities in boxes: what they leave out is next to nothing, and the rest is the same."""

from __future__ import annotations

import math

import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.inference.network import Probabilities
from mots_pretrained.inference.parts import LEAST, Windows, upsampled_sigmoid
from mots_pretrained.inference.sliding_window import sliding_window
from mots_pretrained.model.blocks import upsample_in_plane
from mots_pretrained.networks import build

LIMIT = math.log(LEAST / (1 - LEAST))


def filled(found: Windows, size: tuple[int, ...]) -> torch.Tensor:
    """Put the parts where they belong; none may overlap another."""
    whole = torch.zeros(1 + max(part.window for part in found.parts), found.maps, *size)
    taken = torch.zeros_like(whole, dtype=torch.bool)
    for part in found.parts:
        (z, y, x), (d, h, w) = part.corner, part.values.shape[-3:]
        box = (part.window, part.maps, slice(z, z + d), slice(y, y + h), slice(x, x + w))
        assert not taken[box].any()
        taken[box] = True
        whole[box] = part.values
    return whole


@pytest.mark.parametrize("place", [(0, 0, 0), (3, 4, 5), (2, 1, 4), (0, 4, 0)])
@pytest.mark.parametrize("factor", [1, 2])
def test_a_lone_voxel_and_all_that_it_reaches(place: tuple[int, int, int], factor: int) -> None:
    logits = torch.full((1, 2, 4, 5, 6), -20.0)
    logits[(0, 1, *place)] = 3.0
    upsample = upsample_in_plane if factor == 2 else torch.nn.Identity()
    dense = upsample(logits).sigmoid()
    found = upsampled_sigmoid(logits, upsample, dense.shape[2:])
    assert [part.maps for part in found.parts] == [1]  # nothing of the other category
    assert found.parts[0].values.numel() < dense[0, 0].numel()
    whole = filled(found, tuple(dense.shape[2:]))
    assert torch.equal(whole[dense >= LEAST], dense[dense >= LEAST])
    assert (dense - whole).abs().max() < LEAST


def test_boxes_of_random_maps_leave_out_nothing_that_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    for level in (-12.0, -8.0, -6.0, 0.0):
        logits = 2 * torch.randn(2, 3, 4, 7, 6, generator=generator) + level
        logits[0, 2] = LIMIT - 1
        dense = upsample_in_plane(logits).sigmoid()
        found = upsampled_sigmoid(logits, upsample_in_plane, dense.shape[2:])
        assert (0, 2) not in {(part.window, part.maps) for part in found.parts}
        if not found.parts:
            assert dense.max() < LEAST
            continue
        whole = torch.zeros_like(dense)
        some = filled(found, tuple(dense.shape[2:]))
        whole[: len(some)] = some
        counts = dense >= LEAST
        torch.testing.assert_close(whole[counts], dense[counts], rtol=0, atol=1e-6)
        assert (dense - whole).abs().max() < LEAST


@pytest.mark.parametrize("architecture", ["transdodnet", "dodnet", "dodnet_conference"])
def test_a_network_s_probabilities_are_the_same_where_they_count(architecture: str) -> None:
    torch.manual_seed(0)
    net = build(small(architecture)).eval()
    network = Probabilities(net, tasks=["liver", "spleen"])
    image = torch.randn(2, 1, *SIZE)
    dense, found = network(image), network.where_any(image)
    assert found.maps == dense.shape[1] == 3
    assert len(found.parts) == 6  # random weights find everything everywhere
    torch.testing.assert_close(filled(found, SIZE), dense, rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ["segmenter", "tal"])
def test_of_another_network_they_are_all_there(architecture: str) -> None:
    network = Probabilities(build(small(architecture)).eval())
    image = torch.randn(1, 1, *SIZE)
    found = network.where_any(image)
    assert len(found.parts) == 1
    assert torch.equal(found.parts[0].values, network(image)[0])


def test_a_network_that_computes_its_logits_otherwise_is_asked_for_these() -> None:
    class Calmer(type(build(small()))):
        def forward(self, image, tasks=None):
            return super().forward(image, tasks) - 3

    network = Probabilities(Calmer(small()).eval())
    image = torch.randn(1, 1, *SIZE)
    assert torch.equal(network.where_any(image).parts[0].values, network(image)[0])


def test_windows_of_parts_are_averaged_as_whole_ones_are() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 9, 20, 14)

    def parts(windows: torch.Tensor) -> Windows:
        return upsampled_sigmoid(6 * windows - 5, torch.nn.Identity(), windows.shape[2:])

    def whole(windows: torch.Tensor) -> torch.Tensor:
        probabilities = (6 * windows - 5).sigmoid()
        return probabilities * (probabilities > LEAST)

    options = {"window": (4, 8, 6), "batch": 2}
    found = [(start, planes.clone()) for start, planes in sliding_window(image, parts, **options)]
    expected = sliding_window(image, whole, **options)
    for (start, planes), (first, other) in zip(found, expected, strict=True):
        assert start == first
        torch.testing.assert_close(planes, other, rtol=0, atol=LEAST)
