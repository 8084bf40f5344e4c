from __future__ import annotations

import json

import pytest
import torch
from small_networks import small

from mots_pretrained.networks import build
from mots_pretrained.weights.fingerprint import (
    bundled_input,
    differences,
    fingerprint,
    to_text,
    weights_sha256,
)


def measured(net: torch.nn.Module) -> dict:
    return fingerprint(net, net.config, net.state_dict())


def test_the_bundled_input_is_the_same_everywhere() -> None:
    image = bundled_input(2)
    assert image.shape == (1, 2, 32, 64, 64)
    assert image.abs().max() <= 1
    # (sin(0.35 * 3) + sin(0.23 * 5 + 1) + cos(0.17 * 7)) / 3
    assert image[0, 0, 3, 5, 7].item() == pytest.approx(0.691994, abs=1e-6)
    assert torch.equal(image[0, 1], image[0, 0].roll(5, dims=2))


def test_the_same_network_has_no_differences() -> None:
    net = build(small()).eval()
    stored = json.loads(to_text(measured(net)))
    assert differences(measured(net), stored) == []
    assert stored["shape"] == [1, 7, 2, 32, 64, 64]
    assert len(stored["logits"]) == 64


def test_other_weights_are_told_and_so_is_other_code() -> None:
    net = build(small()).eval()
    stored = measured(net)
    with torch.no_grad():
        net.kernel_generator[2].weight.mul_(1.01)
    faults = differences(measured(net), stored)
    assert len(faults) == 2
    assert "not those that were stored" in faults[0]
    assert "deviate by" in faults[1]


def test_another_shape_is_told() -> None:
    net = build(small()).eval()
    found = {**measured(net), "shape": [1, 2]}
    assert "logits have shape [1, 2]" in differences(found, measured(net))[0]


def test_weights_hash_names_and_values() -> None:
    one = {"a": torch.ones(2), "b": torch.zeros(1)}
    assert weights_sha256(one) == weights_sha256(dict(reversed(one.items())))
    assert weights_sha256(one) == weights_sha256({k: v.double() for k, v in one.items()})
    assert weights_sha256(one) != weights_sha256({"a": torch.zeros(2), "b": torch.zeros(1)})
    assert weights_sha256(one) != weights_sha256({"c": torch.ones(2), "b": torch.zeros(1)})


def test_logits_that_are_not_finite_are_refused() -> None:
    net = build(small()).eval()
    with torch.no_grad():
        net.kernel_generator[2].bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        measured(net)
