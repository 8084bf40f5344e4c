"""nnU-Net's padded whole scan in, our own windows' probabilities out, on nnU-Net's axes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from random_segmenters import REGIONS, network

from mots_pretrained.errors import UserError
from mots_pretrained.export.nnunet_network import SCALE, NnunetNetwork, _box
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor


@pytest.mark.parametrize("kind", ["classes", "regions"])
def test_the_whole_scan_is_predicted_within_what_nnunet_has_added(kind):
    net = network(kind)
    own = NnunetNetwork(dataclasses.asdict(net.config))
    own.module.load_state_dict(net.state_dict())
    image = torch.randn(1, 20, 40, 70) * 100 + 0.5
    padded = torch.nn.functional.pad(image, (3, 4, 5, 6, 1, 2))
    with torch.no_grad():
        found = own.eval()(padded[None])[0]
    ours = image.flip((-2, -1)).numpy()
    if kind == "classes":
        ours = np.clip(ours, -325, 325) / 325
    volume = Volume.with_spacing(ours, net.config.preprocessing.spacing)
    predictor = Predictor(net, probabilities=True)
    expected = predictor.segment(volume, np.ascontiguousarray(ours)).probabilities
    inner = found[:, 1:-2, 5:-6, 3:-4].flip((-2, -1)) / SCALE
    half = 0.5 if kind == "regions" else 0
    np.testing.assert_allclose(inner.numpy() + half, expected.astype(np.float32), atol=1e-3)
    outside = [SCALE, 0, 0] if kind == "classes" else [-SCALE / 2] * 3
    assert found[:, 0, 0, 0].tolist() == outside


@pytest.mark.parametrize("kind", ["classes", "regions"])
def test_nnunet_decides_by_the_same_thresholds(kind):
    thresholds = {"liver": 0.3, "spleen": 0.6} if kind == "classes" else {"core": 0.35}
    net, plain = network(kind, thresholds=thresholds), network(kind)
    own = NnunetNetwork(dataclasses.asdict(net.config))
    own.module.load_state_dict(net.state_dict())
    image = torch.randn(1, 20, 40, 70) * 100 + 0.5
    with torch.no_grad():
        found = own.eval()(image[None])[0].flip((-2, -1))
    ours = image.flip((-2, -1)).numpy()
    if kind == "classes":
        ours = np.clip(ours, -325, 325) / 325
    volume = Volume.with_spacing(ours, net.config.preprocessing.spacing)
    one, other = (Predictor(n).segment(volume, np.ascontiguousarray(ours)) for n in (net, plain))
    if kind == "classes":
        np.testing.assert_array_equal(found.argmax(0), one.labels)
    else:
        for channel, name in zip(found, REGIONS, strict=True):
            np.testing.assert_array_equal(channel > 0, one.mask(name))
    assert (one.labels != other.labels).any()


def test_the_scan_is_the_smallest_box_around_what_is_not_zero():
    scan = torch.zeros(2, 6, 7, 8)
    scan[0, 1, 3, 5] = scan[1, 4, 2, 5] = -1.0
    assert _box(scan) == (slice(1, 5), slice(2, 4), slice(5, 6))
    assert _box(torch.zeros(1, 2, 3, 4)) == (slice(None),) * 3


def test_several_scans_are_predicted_one_by_one():
    own = NnunetNetwork(dataclasses.asdict(network("classes").config)).eval()
    scans = torch.randn(2, 1, 16, 32, 64) * 100
    with torch.no_grad():
        both = own(scans)
        torch.testing.assert_close(both[1], own(scans[1:])[0])
    torch.testing.assert_close(both.sum(dim=1), torch.full_like(both[:, 0], SCALE))


def test_a_damaged_configuration_is_named():
    config = dataclasses.asdict(network("classes").config)
    with pytest.raises(UserError, match=r"plans\.json"):
        NnunetNetwork({**config, "architecture": 3})
