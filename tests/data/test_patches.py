"""Patches: where they lie, what pads them, and that image and labels stay together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from mots_pretrained.data.case import Case
from mots_pretrained.data.patches import draw_start, extract
from mots_pretrained.tasks import IGNORED

sizes = st.tuples(*[st.integers(1, 12)] * 3)


def case_of(shape, voxels=()):
    """A case whose image holds each voxel's own number, with given labelled voxels."""
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
    target = np.zeros((1, *shape), np.uint8)
    for value, voxel in enumerate(voxels, start=1):
        target[0][voxel] = value
    return Case(image, target)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, patch=sizes, seed=st.integers(0, 99), data=st.data())
def test_a_foreground_patch_holds_its_voxel_in_the_centre_or_touches_the_border(
    shape, patch, seed, data
):
    voxel = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    start = draw_start(case_of(shape, [voxel]), patch, np.random.default_rng(seed), foreground=1.0)
    for first, extent, size, position in zip(start, patch, shape, voxel, strict=True):
        assert first <= position < first + extent
        assert position - first == extent // 2 or first in (0, size - extent)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, patch=sizes, seed=st.integers(0, 99), foreground=st.floats(0, 1))
def test_a_patch_leaves_the_scan_only_where_the_scan_is_smaller(shape, patch, seed, foreground):
    case = case_of(shape, [(0, 0, 0)])
    start = draw_start(case, patch, np.random.default_rng(seed), foreground=foreground)
    for first, extent, size in zip(start, patch, shape, strict=True):
        if size >= extent:
            assert 0 <= first <= size - extent
        else:
            assert size - extent <= first <= 0
    image, target = extract(case, start, patch, pad=-1.0)
    assert ((target == IGNORED) == (image < 0)).all()
    assert image.shape == target.shape == (1, *patch)
    assert (image >= 0).sum() == np.prod(np.minimum(shape, patch))  # every voxel that fits, once


def test_every_class_is_centred_equally_often_however_small():
    case = case_of((9, 9, 9), [(1, 1, 1)])
    case.target[0, 4:8] = 2  # 324 voxels against one
    rng = np.random.default_rng(0)
    starts = [draw_start(case, (3, 3, 3), rng, foreground=1.0) for _ in range(400)]
    assert 150 < starts.count((0, 0, 0)) < 250


def test_half_of_the_patches_look_for_foreground():
    case = case_of((41, 41, 41), [(20, 20, 20)])
    rng = np.random.default_rng(0)
    starts = [draw_start(case, (3, 3, 3), rng) for _ in range(400)]
    assert 150 < starts.count((19, 19, 19)) < 250


def test_without_labels_a_patch_lies_anywhere():
    starts = {draw_start(case_of((4, 4, 4)), (3, 4, 4), np.random.default_rng(i)) for i in range(9)}
    assert starts == {(0, 0, 0), (1, 0, 0)}


def test_the_identity_matrix_gives_the_plain_cut():
    case = case_of((7, 8, 9), [(3, 3, 3), (4, 4, 4)])
    plain = extract(case, (1, 2, 3), (5, 4, 6), pad=-1.0)
    turned = extract(case, (1, 2, 3), (5, 4, 6), pad=-1.0, matrix=np.eye(3))
    for a, b in zip(plain, turned, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
        assert a.dtype == b.dtype


def test_scaling_keeps_the_patch_centre_and_image_on_labels():
    case = case_of((21, 21, 21))
    case.target[0, 8:13, 8:13, 8:13] = 1
    case.image[:] = case.target
    image, target = extract(case, (6, 6, 6), (9, 9, 9), matrix=np.eye(3) / 1.4)  # zoom in
    inside = np.flatnonzero(target[0, 4, 4])
    assert inside.tolist() == list(range(1, 8))  # 5 voxels times 1.4
    assert ((image > 0.5) == (target == 1)).all()


@pytest.mark.parametrize("start", [(-2, 0, 0), (0, 3, -1)])
def test_what_lies_outside_is_unknown_and_padded_with_a_constant_if_asked_for(start):
    case = case_of((3, 4, 4))
    case.target[:] = 1
    image, target = extract(case, start, (5, 4, 4), pad=-7.0)
    np.testing.assert_array_equal(image == -7.0, target == IGNORED)
    assert (image == -7.0).any()
    turned = extract(case, start, (5, 4, 4), pad=-7.0, matrix=np.eye(3))
    np.testing.assert_array_equal(turned[0], image)
    np.testing.assert_array_equal(turned[1], target)


def test_a_thin_scan_repeats_its_end_slices_where_nothing_is_known():
    """Fault 17, and thin scans: two slices in a patch of five, in each place that they can have."""
    case = case_of((2, 3, 3), [(1, 1, 1)])
    low, high = case.image[0]
    for first, expected in (
        (0, [low, high, high, high, high]),
        (-2, [low, low, low, high, high]),
        (-3, [low, low, low, low, high]),
    ):
        for matrix in (None, np.eye(3)):
            image, target = extract(case, (first, 0, 0), (5, 3, 3), matrix=matrix)
            np.testing.assert_array_equal(image[0], expected)
            known = np.zeros(5, bool)
            known[-first : 2 - first] = True
            assert (target[0][~known] == IGNORED).all()
            np.testing.assert_array_equal(target[0][known], case.target[0])


def test_a_zoom_out_of_a_thin_scan_learns_from_the_scan_alone():
    case = case_of((4, 30, 30))
    case.target[:] = 1
    _, target = extract(case, (-4, 9, 9), (12, 12, 12), matrix=np.eye(3) * 1.25)
    assert (target == IGNORED).any(axis=(0, 2, 3)).tolist() == [True] * 4 + [False] * 4 + [True] * 4


def test_cubic_splines_and_labels_by_shares():
    """Order 3 hits a parabola that order 1 misses; order 1 cuts a class where half of it is."""
    depth = np.arange(16, dtype=np.float32)
    case = case_of((16, 4, 4))
    case.image[:] = (depth**2)[None, :, None, None]
    case.target[0, 4:8] = 2
    case.target[0, 12:] = IGNORED
    matrix = np.diag([0.5, 1, 1])
    centre = 6 + (np.arange(8) - 3.5) / 2 - 0.5  # of a patch of 8 from voxel 2
    cubic, target = extract(case, (2, 0, 0), (8, 4, 4), matrix=matrix, orders=(3, 1))
    linear, nearest = extract(case, (2, 0, 0), (8, 4, 4), matrix=matrix)
    np.testing.assert_allclose(cubic[0, :, 1, 1], centre**2, atol=0.02)
    assert np.abs(linear[0, :, 1, 1] - centre**2).max() > 0.15
    assert target[0, :, 1, 1].tolist() == [2 * (3.5 <= c <= 7.5) for c in centre]
    np.testing.assert_array_equal(target[:, 1:], nearest[:, 1:])
    beyond = extract(case, (9, 0, 0), (8, 4, 4), matrix=matrix, orders=(3, 1))[1]
    assert beyond[0, -1, 1, 1] == IGNORED
    assert {*np.unique(beyond)} == {0, IGNORED}


@settings(max_examples=60, deadline=None)
@given(shape=sizes, patch=sizes, seed=st.integers(0, 999))
def test_reading_the_box_of_a_turned_patch_gives_the_whole_case_s_values(shape, patch, seed):
    rng = np.random.default_rng(seed)
    case = Case(
        rng.standard_normal((2, *shape), dtype=np.float32),
        rng.integers(0, 3, (2, *shape), dtype=np.uint8),
    )
    start = tuple(int(rng.integers(-3, size + 3)) for size in shape)
    matrix = np.eye(3) + rng.uniform(-0.6, 0.6, (3, 3))
    half = (np.array(patch) - 1) / 2
    offset = np.array(start) + half - matrix @ half
    image, target = extract(case, start, patch, pad=-5.0, matrix=matrix)
    for channel, got in zip(case.image, image, strict=True):
        whole = affine_transform(
            channel, matrix, offset, patch, order=1, mode="grid-constant", cval=-5.0
        )
        np.testing.assert_allclose(got, whole, atol=1e-5)
    for channel, got in zip(case.target, target, strict=True):
        whole = affine_transform(
            channel, matrix, offset, patch, order=0, mode="grid-constant", cval=IGNORED
        )
        np.testing.assert_array_equal(got, whole)
