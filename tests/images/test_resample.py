"""Resampling: hand-computed kernels, straight lines, mirror images, labels that survive."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mots_pretrained.images.resample import (
    kernel,
    resample,
    resample_depth,
    resample_labels,
    resample_part,
    resample_planes,
    shape_at,
)

SIZES = st.tuples(*[st.integers(1, 13)] * 3)


def test_weights_by_hand() -> None:
    # two voxels become four: centres at -0.25, 0.25, 0.75, 1.25 of the old grid
    torch.testing.assert_close(
        kernel(2, 4), torch.tensor([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1.0]])
    )
    # four become two: the mean of the interpolant from 0 to 1 is half of each, from 2 to 3 too
    torch.testing.assert_close(kernel(4, 2), torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]]) / 2)
    # three become one: its mean from 0 to 2 about the middle one
    torch.testing.assert_close(kernel(3, 1), torch.tensor([[1, 2, 1]]) / 4)


@given(size=st.integers(1, 60), wanted=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_weights_are_means_of_the_interpolant(size: int, wanted: int) -> None:
    line = np.random.default_rng(0).standard_normal(size)
    scale = size / wanted
    half = max(0.0, (scale - 1) / 2)
    centres = (np.arange(wanted) + 0.5) * scale - 0.5
    at = centres[:, None] + half * np.linspace(-1, 1, 2001)
    expected = np.trapezoid(np.interp(at, np.arange(size), line), dx=1 / 2000, axis=1)
    np.testing.assert_allclose(kernel(size, wanted).double().numpy() @ line, expected, atol=1e-4)
    np.testing.assert_allclose(kernel(size, wanted).sum(dim=1).numpy(), 1, atol=1e-5)


@given(shape=SIZES, size=SIZES)
@settings(max_examples=60, deadline=None)
def test_every_axis_uses_the_same_kernel(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    kernels = [kernel(n, m) for n, m in zip(shape, size, strict=True)]
    expected = torch.einsum("ad,bh,cw,dhw->abc", *kernels, torch.from_numpy(array))
    np.testing.assert_allclose(resample(array, size), expected, rtol=1e-4, atol=1e-5)


@given(shape=SIZES, size=SIZES)
@settings(max_examples=30, deadline=None)
def test_mirrored_scan_gives_the_mirrored_result(
    shape: tuple[int, ...], size: tuple[int, ...]
) -> None:
    array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(
        resample(array[::-1, ::-1, ::-1], size),
        resample(array, size)[::-1, ::-1, ::-1],
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("size", [(9, 14, 15), (30, 40, 23), (40, 9, 30)])
def test_a_ramp_stays_a_ramp_there_and_back(size: tuple[int, int, int]) -> None:
    shape = (20, 24, 30)
    d, h, w = np.meshgrid(*map(np.arange, shape), indexing="ij")
    ramp = (2 * d - 3 * h + 0.5 * w).astype(np.float32)
    there = resample(ramp, size)
    # the value at each new centre is the ramp's at that place, away from the borders
    centres = [(np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(shape, size, strict=True)]
    d, h, w = np.meshgrid(*centres, indexing="ij")
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(there[inner], (2 * d - 3 * h + 0.5 * w)[inner], atol=2e-4)
    deep = (slice(8, -8),) * 3
    np.testing.assert_allclose(resample(there, shape)[deep], ramp[deep], atol=5e-4)


def test_fine_noise_is_averaged_not_sampled() -> None:
    noise = np.random.default_rng(0).standard_normal((48, 48, 48))
    assert resample(noise, (12, 12, 12)).std() < 0.2  # plain interpolation leaves 0.35


def test_same_size_changes_nothing() -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    np.testing.assert_array_equal(resample(array, (5, 6, 7)), array)


@given(depth=st.integers(1, 40), wanted=st.integers(1, 40), step=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_slabs_give_what_the_whole_gives(depth: int, wanted: int, step: int) -> None:
    whole = torch.randn(2, depth, 3, 2, generator=torch.Generator().manual_seed(0))
    slabs = ((i, whole[:, i : i + step]) for i in range(0, depth, step))
    pieces, seen = [], 0
    for start, slab in resample_depth(slabs, depth, wanted):
        assert start == seen
        seen += slab.shape[1]
        pieces.append(slab)
    expected = torch.einsum("ad,kdhw->kahw", kernel(depth, wanted), whole)
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(9, 31), (40, 7), (12, 16)])
@pytest.mark.parametrize("part", [(slice(0, 9), slice(0, 7)), (slice(3, 5), slice(6, 7))])
def test_a_part_is_a_part_of_the_whole(size: tuple[int, int], part: tuple[slice, slice]) -> None:
    planes = torch.randn(3, 12, 16, generator=torch.Generator().manual_seed(0))
    expected = resample_planes(planes, size)[:, part[0], part[1]]
    torch.testing.assert_close(resample_part(planes, size, part), expected, rtol=0, atol=1e-6)


def test_empty_planes_stay_empty() -> None:
    assert not resample_planes(torch.zeros(2, 4, 4), (9, 3)).any()


def test_shape_keeps_the_field_of_view() -> None:
    assert shape_at((112, 101, 122), (3, 3, 3), (3, 3, 3)) == (112, 101, 122)
    assert shape_at((5, 100, 100), (5, 0.7, 0.7), (4, 3, 3)) == (6, 23, 23)
    assert shape_at((2, 2, 2), (0.1, 0.1, 0.1), (3, 3, 3)) == (1, 1, 1)


def test_labels_by_share() -> None:
    # of four voxels in a row, three are organ (1) and one is tumour (2)
    row = np.array([0, 0, 0, 0, 1, 1, 1, 2], np.uint8).reshape(1, 1, 8)
    assert resample_labels(row, (1, 1, 4)).ravel().tolist() == [0, 0, 1, 2]
    finer = resample_labels(row, (1, 1, 16)).ravel()
    assert finer.tolist() == [0] * 8 + [1] * 6 + [2] * 2
    assert finer.dtype == np.uint8


def test_a_small_lesion_does_not_vanish() -> None:
    labels = np.ones((12, 12, 12), np.uint8)
    labels[5, 6, 7] = 2
    coarse = resample_labels(labels, (4, 4, 4))
    assert np.argwhere(coarse == 2).tolist() == [[1, 2, 2]]
    assert (coarse == 1).sum() == 63


@pytest.mark.parametrize("size", [(20, 20, 20), (10, 25, 40), (80, 80, 80), (9, 11, 13)])
def test_every_piece_of_a_tumour_stays(size: tuple[int, int, int]) -> None:
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[5:35, 5:35, 5:35] = 1
    labels[30:34, 30:34, 30:34] = 2  # a lesion that stays of itself
    small = [(8, 8, 8), (20, 11, 30), (15, 27, 15)]
    for voxel in small:
        labels[voxel] = 2
    labels[12, 18:26, 18:26] = 2  # and one that is a single slice
    coarse = resample_labels(labels, size)
    scale = np.array(size) / 40
    for voxel in (*small, (31, 31, 31), (12, 21, 21)):
        assert coarse[tuple(((np.array(voxel) + 0.5) * scale).astype(int))] == 2, voxel


def test_a_flat_lesion_keeps_its_outline_not_one_voxel() -> None:
    labels = np.zeros((12, 30, 30), np.uint8)
    labels[4, 6:24, 9:27] = 1  # one slice of three that become one
    coarse = resample_labels(labels, (4, 30, 30))
    expected = np.zeros((4, 30, 30), np.uint8)
    expected[1, 6:24, 9:27] = 1
    np.testing.assert_array_equal(coarse, expected)


@pytest.mark.parametrize("size", [(13, 17, 21), (32, 50, 19)])
def test_an_organ_has_one_outline_with_and_without_its_tumour(size: tuple[int, int, int]) -> None:
    d, h, w = np.meshgrid(*[np.arange(32)] * 3, indexing="ij")
    organ = ((d - 15.5) ** 2 + (h - 15.5) ** 2 + (w - 15.5) ** 2 < 150).astype(np.uint8)
    labels = organ * np.where(h + w > 30, 2, 1).astype(np.uint8)
    np.testing.assert_array_equal(resample_labels(labels, size) > 0, resample_labels(organ, size))


@given(shape=SIZES, size=SIZES, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_no_class_vanishes_and_none_appears(
    shape: tuple[int, ...], size: tuple[int, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random(shape) < 0.1).astype(np.uint8)
    found = set(np.unique(resample_labels(labels, size)).tolist())
    assert (1 in found) == labels.any()
    assert found <= {0, 1}


def test_labels_there_and_back_keep_their_shape() -> None:
    d, h, w = np.meshgrid(*[np.arange(32)] * 3, indexing="ij")
    ball = ((d - 15.5) ** 2 + (h - 15.5) ** 2 + (w - 15.5) ** 2 < 100).astype(np.uint8)
    back = resample_labels(resample_labels(ball, (16, 22, 45)), (32, 32, 32))
    dice = 2 * (ball & back).sum() / (ball.sum() + back.sum())
    assert dice > 0.95
    np.testing.assert_array_equal(back, back[::-1])
    np.testing.assert_array_equal(back, back[:, :, ::-1])
