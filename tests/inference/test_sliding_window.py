"""Sliding windows: closed forms of places, weights and averages, and the memory they hold."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from mots_pretrained.inference.sliding_window import (
    PUBLISHED,
    gaussian,
    over_mirrors,
    sliding_window,
    window_starts,
)


def whole(slabs: object) -> torch.Tensor:
    """Join slabs, checking that they leave no gap."""
    pieces, seen = [], 0
    for start, slab in slabs:  # type: ignore[attr-defined]
        assert start == seen
        seen += slab.shape[1]
        pieces.append(slab.clone())
    return torch.cat(pieces, dim=1)


def slow(image: torch.Tensor, predict, window, flips) -> torch.Tensor:
    """The published testing as a plain loop: sum of weighted windows over sum of weights."""
    stride = [math.ceil(w / 2) for w in window]
    size = image.shape[1:]
    grids = [
        sorted({min(s, n - w) for s in range(0, n, st)})
        for n, w, st in zip(size, window, stride, strict=True)
    ]
    impulse = np.zeros(window)
    impulse[tuple(w // 2 for w in window)] = 1
    weight = ndimage.gaussian_filter(impulse, [w / 8 for w in window], mode="constant")
    weight = (weight / weight.max()).astype(np.float32)
    weight[weight == 0] = weight[weight > 0].min()
    weight = torch.from_numpy(weight).double()
    total, sums = torch.zeros(size).double(), 0
    for start in itertools.product(*grids):
        place = (slice(None), *(slice(s, s + w) for s, w in zip(start, window, strict=True)))
        crop = image[place][None]
        axes = [a for k in range(4) for a in itertools.combinations((2, 3, 4), k)]
        results = [predict(crop.flip(a)).flip(a) for a in (axes if flips else [()])]
        out = torch.stack(results).mean(0)[0].double()
        if isinstance(sums, int):
            sums = torch.zeros(out.shape[0], *size).double()
        sums[place] += out * weight
        total[place[1:]] += weight
    return sums / total


def conv(channels: int, kinds: int) -> torch.nn.Module:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv3d(channels, kinds, 5, padding=2), torch.nn.InstanceNorm3d(kinds)
    )
    return lambda x: layers(x).sigmoid().detach()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("size", "window", "overlap", "expected"),
    [
        (64, 64, 0.5, [0]),
        (65, 64, 0.5, [0, 1]),
        (150, 64, 0.5, [0, 32, 64, 86]),
        (128, 64, 0.5, [0, 32, 64]),
        (20, 9, 0.5, [0, 5, 10, 11]),  # a stride of ceil(9 / 2)
        (30, 10, 0.0, [0, 10, 20]),
        (30, 10, 0.7, [0, 3, 6, 9, 12, 15, 18, 20]),
    ],
)
def test_places(size: int, window: int, overlap: float, expected: list[int]) -> None:
    assert window_starts(size, window, overlap) == expected


@pytest.mark.parametrize("size", [8, 9, 48, 96, 192])
def test_weights_are_the_published_gaussian(size: int) -> None:
    # sigma an eighth of the window about its voxel size // 2; four sigma reach its ends, so that
    # scipy's truncation and the replacement of zeros never come to bear
    impulse = np.zeros(size)
    impulse[size // 2] = 1
    expected = ndimage.gaussian_filter1d(impulse, size / 8, mode="constant")
    np.testing.assert_allclose(gaussian(size), expected / expected.max(), rtol=1e-5)
    assert gaussian(size).max() == 1
    assert gaussian(size).min() > 3e-4
    assert gaussian(16)[8 - 2].item() == pytest.approx(math.exp(-0.5))


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("size", [(20, 11, 13), (8, 8, 8), (17, 9, 8)])
def test_equals_the_plain_loop(size: tuple[int, int, int], flips: bool) -> None:
    image = torch.randn(2, *size, generator=torch.Generator().manual_seed(1))
    predict, window = conv(2, 3), (8, 8, 6)
    mean = over_mirrors(predict, (0, 1, 2)) if flips else predict
    got = whole(sliding_window(image, mean, window=window, overlap=0.5))
    expected = slow(image, predict, window, flips)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)
    batched = whole(sliding_window(image, mean, window=window, batch=3))
    torch.testing.assert_close(batched, got, rtol=1e-5, atol=1e-6)


def test_published_protocol_in_closed_form() -> None:
    # one axis of 12 voxels, windows of 8: starts 0 and 4. A network that answers with its
    # window's first voxel in reading order makes each voxel a Gaussian mix of two answers, and
    # the eight flips average the window's corners.
    image = torch.arange(12.0).view(1, 1, 1, 12)

    def corner(x: torch.Tensor) -> torch.Tensor:
        return x[:, :, :1, :1, :1].expand_as(x)

    mean = over_mirrors(corner, (0,))
    got = whole(sliding_window(image, mean, window=(1, 1, 8), overlap=PUBLISHED["overlap"]))
    answers = [(0 + 7) / 2, (4 + 11) / 2]
    w = [math.exp(-0.5 * (i - 4) ** 2) for i in range(8)]
    for i in range(12):
        shares = [w[i - s] if 0 <= i - s < 8 else 0 for s in (0, 4)]
        expected = sum(a * s for a, s in zip(answers, shares, strict=True)) / sum(shares)
        assert got[0, 0, 0, i].item() == pytest.approx(expected, rel=1e-5)
    assert PUBLISHED == {"overlap": 0.5, "flips": True}


def test_a_small_volume_is_continued_by_its_ends_and_cut_back() -> None:
    seen = []

    def spy(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x[:, :1]

    image = torch.rand(1, 3, 9, 4)
    got = whole(sliding_window(image, spy, window=(6, 6, 7)))
    torch.testing.assert_close(got, image, rtol=1e-5, atol=1e-6)
    assert [tuple(x.shape) for x in seen] == [(1, 1, 6, 6, 7)] * 2
    window = seen[0][0, 0]  # 1 plane before and 2 after, 1 column before and 2 after
    for plane, source in enumerate([0, 0, 1, 2, 2, 2]):
        for column, beside in enumerate([0, 0, 1, 2, 3, 3, 3]):
            assert torch.equal(window[plane, :, column], image[0, source, :6, beside])


def test_a_thin_slab_of_a_body_is_predicted_as_the_body() -> None:
    # knows a body only where it goes on for 5 planes: air in between hides it
    def deep(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool3d((x > 0).float(), (5, 1, 1), 1, (2, 0, 0)) > 0.55

    body = torch.full((1, 2, 8, 8), -1.0)
    body[:, :, 2:6, 2:6] = 0.2
    got = whole(sliding_window(body, deep, window=(8, 8, 8)))
    assert torch.equal(got > 0.5, body > 0)


def test_one_sided_classes_change_places_in_the_mirror() -> None:
    # background, left, middle, right: by the side of the window that is bright
    def oracle(x: torch.Tensor) -> torch.Tensor:
        half = torch.arange(x.shape[-1]) < x.shape[-1] / 2
        bright = x[:, :1] > 0.5
        middle = (x[:, :1] > 0.1) & ~bright
        left, right = bright & ~half, bright & half
        return torch.cat([~(bright | middle), left, middle, right], dim=1).float()

    image = torch.zeros(1, 4, 6, 8)
    image[:, 1:3, 2:4, 1:3], image[:, 1:3, 2:4, 5:7], image[:, 0] = 1, 1, 0.3
    plain = whole(sliding_window(image, oracle, window=(4, 6, 8)))
    swapped = over_mirrors(oracle, (0, 3, 2, 1))
    torch.testing.assert_close(whole(sliding_window(image, swapped, window=(4, 6, 8))), plain)
    halves = over_mirrors(oracle, None)  # four images, none of them left to right
    torch.testing.assert_close(whole(sliding_window(image, halves, window=(4, 6, 8))), plain)
    wrong = whole(sliding_window(image, over_mirrors(oracle, range(4)), window=(4, 6, 8)))
    assert (wrong - plain).abs().max() == pytest.approx(0.5)


@pytest.mark.parametrize(("sides", "images"), [(None, 4), ((0,), 8)])
def test_mirror_images_are_all_different(sides: tuple[int, ...] | None, images: int) -> None:
    seen = []

    def spy(x: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x.flatten().tolist()))
        return x

    over_mirrors(spy, sides)(torch.arange(8.0).view(1, 1, 2, 2, 2))
    assert len(seen) == len(set(seen)) == images


def test_planes_come_as_soon_as_they_are_finished() -> None:
    calls = 0

    def count(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return x

    shapes = []
    for start, slab in sliding_window(torch.zeros(1, 40, 4, 4), count, window=(8, 4, 4)):
        shapes.append((start, slab.shape[1], calls))
    # stride 4: a slab is never deeper than a window and costs no look-ahead
    assert shapes == [*((4 * i, 4, i + 1) for i in range(8)), (32, 8, 9)]


def test_progress_counts_windows() -> None:
    told: list[tuple[int, int]] = []
    image = torch.zeros(1, 8, 8, 12)
    slabs = sliding_window(
        image, lambda x: x, window=(8, 4, 4), batch=4, on_window=lambda *now: told.append(now)
    )
    assert whole(slabs).shape == (1, 8, 8, 12)
    assert told == [(4, 15), (8, 15), (12, 15), (15, 15)]


@pytest.mark.parametrize(("name", "value"), [("overlap", 1.0), ("overlap", -0.1), ("batch", 0)])
def test_impossible_settings_are_refused(name: str, value: float) -> None:
    slabs = sliding_window(torch.zeros(1, 4, 4, 4), lambda x: x, window=(4, 4, 4), **{name: value})
    with pytest.raises(ValueError, match=f"{name} must be"):
        next(slabs)
