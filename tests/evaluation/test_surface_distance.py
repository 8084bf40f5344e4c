"""Distances between surfaces: by hand, by their symmetries, and MONAI as an oracle."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from mots_pretrained.evaluation.hausdorff import hausdorff
from mots_pretrained.evaluation.surface_dice import surface_dice
from mots_pretrained.evaluation.surface_distance import mean_surface_distance, surface_distances

SPACING = (1.5, 0.8, 0.7)
EMPTY = np.zeros((4, 5, 6), bool)
BLOCK = EMPTY.copy()
BLOCK[1:3, 1:4, 1:4] = True


def random_masks(seed):
    """Blobs and speckle, some of them at the border, on a grid of uneven size."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(2):
        smooth = ndimage.gaussian_filter(rng.normal(size=(11, 14, 17)), rng.uniform(0, 2))
        masks.append(smooth > np.quantile(smooth, rng.uniform(0.5, 0.97)))
    return masks


def test_by_hand():
    # A 3x3 plate against itself moved by two planes: every voxel is 2 steps away.
    one, other = np.zeros((6, 5, 5)), np.zeros((6, 5, 5))
    one[1, 1:4, 1:4] = other[3, 1:4, 1:4] = 1
    for spacing, far in ((None, 2.0), (SPACING, 3.0)):
        assert hausdorff(one, other, spacing=spacing) == far
        assert mean_surface_distance(one, other, spacing=spacing) == far
    assert surface_dice(one, other, spacing=SPACING, tolerance=3.0) == 1
    assert surface_dice(one, other, spacing=SPACING, tolerance=2.9) == 0


def test_the_inside_is_no_surface_and_the_border_is():
    full = np.ones((5, 5, 5), bool)
    hollow = full.copy()
    hollow[2, 2, 2] = False
    distances = surface_distances(full, hollow)
    assert len(distances.to_truth) == 125 - 27
    assert len(distances.to_prediction) == 125 - 27 + 6  # and the six around the hole
    assert hausdorff(full, hollow) == 1
    assert mean_surface_distance(full, hollow, symmetric=False) == 0
    assert mean_surface_distance(full, hollow) == pytest.approx(6 / 202)


def test_one_far_voxel_rules_the_maximum_but_not_the_percentile():
    truth = np.zeros((3, 60), bool)
    truth[1, :40] = True
    prediction = truth.copy()
    prediction[1, 59] = True
    assert hausdorff(prediction, truth) == 20
    assert hausdorff(prediction, truth, percentile=95) == 0
    assert mean_surface_distance(prediction, truth) == pytest.approx(20 / 81)
    assert mean_surface_distance(prediction, truth, symmetric=False) == pytest.approx(20 / 41)
    assert mean_surface_distance(truth, prediction, symmetric=False) == 0


@pytest.mark.parametrize(
    ("prediction", "truth", "standard", "published"),
    [
        (EMPTY, EMPTY, None, 0.0),
        (BLOCK, EMPTY, None, 999.0),
        (EMPTY, BLOCK, math.inf, 999.0),
        (BLOCK, BLOCK, 0.0, 0.0),
    ],
)
def test_empty_masks(prediction, truth, standard, published):
    for measure in (hausdorff, mean_surface_distance):
        assert measure(prediction, truth) == standard
        assert measure(prediction, truth, rule="published") == published
    share = {None: None, math.inf: 0.0, 0.0: 1.0}[standard]
    assert surface_dice(prediction, truth) == share


def test_a_multiple_of_the_spacing_is_within_that_tolerance_wherever_it_lies():
    for at in range(60):
        one, other = np.zeros(80), np.zeros(80)
        one[at], other[at + 3] = 1, 1
        assert surface_dice(one, other, spacing=[0.8], tolerance=3 * 0.8) == 1


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (4, 5, 6)), arrays(bool, (4, 5, 6)))
def test_both_orders_and_mirrors_agree(one, other):
    there = hausdorff(one, other, spacing=SPACING)
    assert hausdorff(one[::-1, :, ::-1], other[::-1, :, ::-1], spacing=SPACING) == there
    if one.any() and other.any():
        assert hausdorff(other, one, spacing=SPACING) == there
        assert hausdorff(one, other, spacing=SPACING, percentile=95) <= there
        assert mean_surface_distance(one, other, spacing=SPACING) <= there
        assert surface_dice(one, other, spacing=SPACING, tolerance=there) == 1


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("spacing", [None, SPACING])
def test_they_are_monais(seed, spacing):
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    one, other = random_masks(seed)
    pair = [torch.from_numpy(mask)[None, None] for mask in (one, other)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # monai warns of its own future
        for percentile in (100, 95):
            theirs = metrics.compute_hausdorff_distance(
                *pair, include_background=True, percentile=percentile, spacing=spacing
            )
            ours = hausdorff(one, other, spacing=spacing, percentile=percentile)
            assert ours == pytest.approx(theirs.item(), abs=1e-5)
        for symmetric in (True, False):
            theirs = metrics.compute_average_surface_distance(
                *pair, include_background=True, symmetric=symmetric, spacing=spacing
            )
            ours = mean_surface_distance(one, other, spacing=spacing, symmetric=symmetric)
            assert ours == pytest.approx(theirs.item(), abs=1e-5)
        for tolerance in (0.75, 1.55, 2.9):
            theirs = metrics.compute_surface_dice(
                *pair, class_thresholds=[tolerance], include_background=True, spacing=spacing
            )
            ours = surface_dice(one, other, spacing=spacing, tolerance=tolerance)
            assert ours == pytest.approx(theirs.item(), abs=1e-6)


def test_wrong_input_is_told():
    with pytest.raises(ValueError, match="differ in shape"):
        hausdorff(BLOCK, BLOCK[1:])
    for spacing in ((1.0, 2.0), (1.0, 0.0, 1.0), (1.0, math.nan, 1.0)):
        with pytest.raises(ValueError, match="one positive length for each of 3 axes"):
            hausdorff(BLOCK, BLOCK, spacing=spacing)
    with pytest.raises(ValueError, match="from 0 to 100, not 950"):
        hausdorff(BLOCK, BLOCK, percentile=950)
    with pytest.raises(ValueError, match="0 mm or more, not -1"):
        surface_dice(BLOCK, BLOCK, tolerance=-1)
    for measure in (hausdorff, mean_surface_distance, surface_dice):
        with pytest.raises(ValueError, match="unknown rule 'kind'"):
            measure(BLOCK, BLOCK, rule="kind")
