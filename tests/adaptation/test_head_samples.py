"""Voxels that a head is fitted to: of each class, at the places where prediction sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.adaptation import head_samples as module
from mots_pretrained.adaptation.head_samples import _choose, _features_at, sample_voxels
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.inference.sliding_window import sliding_window
from mots_pretrained.tasks import IGNORED


@pytest.mark.parametrize("shape", [(16, 33, 64), (7, 21, 40), (5, 32, 64)])
def test_a_case_smaller_than_a_window_lies_in_it_as_in_prediction(shape):
    """Features depend on the place: fitted elsewhere, a head finds nothing in its own scans."""
    rng = np.random.default_rng(0)
    small_case = Case(
        rng.normal(size=(1, *shape)).astype(np.float32), np.ones((1, *shape), np.uint8)
    )
    window = (16, 32, 64)
    starts = module._starts(small_case, window, 0.5)
    ours = [image for image, _ in module._windows(small_case, starts, window)]
    seen = []

    def predict(windows):
        seen.extend(windows.numpy().copy())
        return windows

    for _ in sliding_window(torch.from_numpy(small_case.image), predict, window=window):
        pass
    np.testing.assert_array_equal(np.stack(ours), np.stack(seen))
    for _, target in module._windows(small_case, starts, window):
        known = np.argwhere(target[0] == 1)
        extent = [min(n, w) for n, w in zip(shape, window, strict=True)]
        assert known.max(0).tolist() == (known.min(0) + extent - 1).tolist()
        assert (target[0] != IGNORED).sum() == np.prod(extent)


@pytest.mark.parametrize("head", ["linear", "levels"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_features_of_many_classes_keep_the_bound_of_memory(head, exclusive, monkeypatch):
    """It was one of voxels, for four classes: of a hundred, nine times as many were kept."""
    count = 100 if exclusive else 12
    names = tuple(f"class_{n}" for n in range(count))
    torch.manual_seed(1)
    net = Segmenter.from_scratch(small(), classes=names, exclusive=exclusive, head=head).eval()
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, *SIZE)).astype(np.float32)
    target = rng.integers(0, count + 1, (1, *SIZE), np.uint8)
    if not exclusive:
        target = np.stack([target[0] >= n for n in range(1, count + 1)]).astype(np.uint8)
    one = Case(image, target, (True,) * len(target))
    widths = net.backbone.level_widths if head == "levels" else [net.backbone.out_channels]
    most = 2 * sum(widths) * 2000
    monkeypatch.setattr(module, "_MOST_BYTES", most, raising=False)
    samples = sample_voxels(net, [one], 0.5, 0, None)
    assert samples.features.nbytes == most
    assert len(samples.features) == len(samples.targets) == len(samples.case)
    assert len(np.unique(samples.targets, axis=0)) > 0.9 * count  # some of each class


def test_voxels_of_every_combination_of_many_regions_are_chosen():
    """From the 65th region on they counted as background."""
    target = np.zeros((70, 1, 1, 4000), np.uint8)
    for region, start in ((10, 100), (63, 150), (64, 200), (69, 250)):
        target[region, 0, 0, start : start + 10] = 1
    target[3, 0, 0, 255:260] = 1  # the last five of region 69 are of region 3, too
    target[5, 0, 0, 300:400] = IGNORED
    chosen = _choose(target, (500, 4), np.random.default_rng(0), False)
    places = np.array([100, 150, 200, 250, 255])
    among = [((chosen >= place) & (chosen < place + 5)).sum() for place in places]
    more = [((chosen >= place + 5) & (chosen < place + 10)).sum() for place in places[:3]]
    assert [a + b for a, b in zip(among[:3], more, strict=True)] == [4, 4, 4]
    assert among[3:] == [4, 4]
    assert len(chosen) == 500 + 5 * 4
    assert not ((chosen >= 300) & (chosen < 400)).any()


@pytest.mark.parametrize("regions", [1, 8, 9, 63])
def test_regions_are_drawn_in_one_order_of_their_numbers(regions):
    """That of their sum of powers of two, by which a seed gives the voxels it gave before."""
    rng = np.random.default_rng(0)
    target = (rng.random((regions, 2, 3, 50)) < 0.1).astype(np.uint8)
    flat = target.reshape(regions, -1)
    numbers = flat.T @ (1 << np.arange(regions, dtype=np.int64))
    expected, own = [], np.random.default_rng(1)
    for number in np.unique(numbers):
        there = np.flatnonzero(numbers == number)
        most = 20 if number == 0 else 2
        expected += [*(there if len(there) <= most else own.choice(there, most, replace=False))]
    assert _choose(target, (20, 2), np.random.default_rng(1), False).tolist() == expected


def test_what_fits_in_all_windows_together_is_sampled_whole(monkeypatch):
    """A window's share of the bound was cut off where few windows hold many classes."""
    torch.manual_seed(1)
    names = tuple(f"class_{n}" for n in range(20))
    net = Segmenter.from_scratch(small(), classes=names, head="linear").eval()
    rng = np.random.default_rng(0)
    shape = (1, SIZE[0], SIZE[1], 3 * SIZE[2])
    image, target = rng.normal(size=shape).astype(np.float32), np.zeros(shape, np.uint8)
    target[..., : SIZE[2] // 2] = rng.integers(0, 21, (1, *SIZE[:2], SIZE[2] // 2), np.uint8)
    one = Case(image, target)
    every = sample_voxels(net, [one], 0.5, 0, None)
    monkeypatch.setattr(module, "_MOST_BYTES", every.features.nbytes)
    again = sample_voxels(net, [one], 0.5, 0, None)
    assert torch.equal(again.features, every.features)
    assert torch.equal(again.targets, every.targets)
    monkeypatch.setattr(module, "_MOST_BYTES", every.features.nbytes // 2)
    fewer = sample_voxels(net, [one], 0.5, 0, None)
    assert 0.49 < fewer.features.nbytes / every.features.nbytes <= 0.5
    before, after = (np.bincount(samples.targets[:, 0], minlength=21) for samples in (every, fewer))
    assert (after > 0.3 * before).all()  # of each class about half


def test_features_at_voxels_are_those_of_the_upsampled_map():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 4, 4, 4)
    up = torch.nn.functional.interpolate(x, size=(8, 16, 16), mode="trilinear")
    at = torch.tensor([[0, 0, 0], [7, 15, 15], [3, 8, 5]])
    found = _features_at([x], at, (8, 16, 16))
    torch.testing.assert_close(found, up[0][:, at[:, 0], at[:, 1], at[:, 2]].T)
    short = _features_at([x.bfloat16()], at, (8, 16, 16))  # places are exact in any type
    torch.testing.assert_close(short, found, atol=0.02, rtol=0.02)
