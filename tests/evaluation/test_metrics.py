"""Metrics by hand, by their symmetries, where masks are empty, and MONAI as an oracle."""

import math
import warnings

import monai.metrics
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from mots_pretrained.evaluation.metrics import (
    FALSE_ML,
    METRICS,
    SurfaceDistances,
    dice,
    measure,
    surface_distances,
)

SPACING = (1.5, 0.8, 0.7)
NOTHING, HALF, FULL = np.zeros(4), np.array([1, 1, 0, 0]), np.ones(4)
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


@pytest.mark.parametrize(
    ("prediction", "truth", "standard", "published"),
    [
        (HALF, HALF, 1.0, 4 / 5),
        (HALF, FULL, 4 / 6, 4 / 7),
        (FULL, HALF, 4 / 6, 4 / 7),
        (HALF, 1 - HALF, 0.0, 0.0),
        (NOTHING, HALF, 0.0, 0.0),
        (HALF, NOTHING, None, 0.0),
        (NOTHING, NOTHING, None, 0.0),
    ],
)
def test_dice_by_hand(prediction, truth, standard, published):
    assert dice(prediction, truth) == standard
    assert dice(prediction, truth, rule="published") == published


def test_any_value_but_zero_is_inside():
    assert dice(np.array([0, 7, 255], np.uint8), np.array([0.0, -1.0, 0.5])) == 1


def test_many_voxels_do_not_overflow():
    mask = np.ones((300, 300, 300), np.uint8)
    assert dice(mask, mask) == 1


def test_two_plates_by_hand():
    # A 3x3 plate against itself moved by two planes: every voxel is 2 steps of 1.5 mm away.
    one, other = np.zeros((6, 5, 5)), np.zeros((6, 5, 5))
    one[1, 1:4, 1:4] = other[3, 1:4, 1:4] = 1
    scores = measure(one, other, spacing=SPACING, tolerance=2.9)
    assert [scores[name] for name in ("hd", "hd95", "msd")] == [3.0] * 3
    assert [scores[name] for name in ("hd_voxels", "hd95_published", "sd_published")] == [2.0] * 3
    assert scores["nsd"] == 0
    assert measure(one, other, spacing=SPACING, tolerance=3.0)["nsd"] == 1


def test_the_published_hd95_pools_both_directions():
    # 40 voxels of the truth are found exactly; three lie 20, 21 and 22 steps beyond, unfound.
    truth = np.zeros((3, 70), bool)
    truth[1, :40] = truth[1, 59:62] = True
    prediction = truth.copy()
    prediction[1, 59:62] = False
    scores = measure(prediction, truth, spacing=(1.0, 1.0))
    # Of the truth's 43 distances the 95th percentile lies at position 39.9: 0.9 of the way from
    # 0 to 20. Of all 83 it lies at position 77.9, where all are 0.
    assert scores["hd95"] == pytest.approx(0.9 * 20)
    assert scores["hd95_published"] == 0.0
    assert scores["hd"] == scores["hd_voxels"] == 22


def test_the_two_95th_percentiles_by_hand():
    distances = SurfaceDistances(np.zeros(10), np.array([0.0] * 8 + [9.17, 9.17]))
    assert distances.hausdorff(95) == pytest.approx(9.17)
    # Pooled, 18 zeros and two of 9.17: position 18.05 of 0 to 19.
    assert METRICS["hd95_published"].of(distances, 0.0) == pytest.approx(9.17)
    distances = SurfaceDistances(np.zeros(100), np.array([0.0] * 92 + [9.17] * 8))
    assert distances.hausdorff(95) == pytest.approx(9.17)
    assert METRICS["hd95_published"].of(distances, 0.0) == 0.0


def test_the_inside_is_no_surface_and_the_border_is():
    full = np.ones((5, 5, 5), bool)
    hollow = full.copy()
    hollow[2, 2, 2] = False
    distances = surface_distances(full, hollow)
    assert len(distances.to_truth) == 125 - 27
    assert len(distances.to_prediction) == 125 - 27 + 6  # and the six around the hole
    scores = measure(full, hollow, spacing=(1, 1, 1))
    assert scores["hd"] == 1
    assert scores["sd_published"] == 0
    assert scores["msd"] == pytest.approx(6 / 202)


def test_one_far_voxel_rules_the_maximum_but_not_the_percentile():
    truth = np.zeros((3, 60), bool)
    truth[1, :40] = True
    prediction = truth.copy()
    prediction[1, 59] = True
    scores = measure(prediction, truth, spacing=(1, 1))
    assert scores["hd"] == 20
    assert scores["hd95"] == scores["hd95_published"] == 0
    assert scores["msd"] == pytest.approx(20 / 81)
    assert scores["sd_published"] == pytest.approx(20 / 41)
    assert measure(truth, prediction, spacing=(1, 1))["sd_published"] == 0


@pytest.mark.parametrize(
    ("prediction", "truth", "standard", "published"),
    [
        (EMPTY, EMPTY, (None, None), (0.0, 0.0)),
        (BLOCK, EMPTY, (None, None), (0.0, 999.0)),
        (EMPTY, BLOCK, (0.0, math.inf), (0.0, 999.0)),
    ],
)
def test_empty_masks(prediction, truth, standard, published):
    for rule, (share, distance) in (("standard", standard), ("published", published)):
        scores = measure(prediction, truth, spacing=SPACING, rule=rule)
        false = scores.pop(FALSE_ML, None)
        expected = {n: distance if m.is_distance else share for n, m in METRICS.items()}
        assert scores == expected
        assert (false is None) == bool(truth.any())


def test_false_volume_is_measured_where_the_truth_is_empty():
    volume = 18 * 1.5 * 0.8 * 0.7 / 1000
    scores = measure(BLOCK, EMPTY, spacing=SPACING, metrics=["dice"])
    assert scores == {"dice": None, FALSE_ML: pytest.approx(volume)}
    assert measure(EMPTY, EMPTY, spacing=SPACING, metrics=["dice"])[FALSE_ML] == 0
    assert measure(BLOCK, BLOCK, spacing=SPACING, metrics=["dice"]) == {"dice": 1.0}


def test_all_metrics_of_one_pair():
    # Surfaces are the ends: 0 and 2 mm from the prediction's, 0 and 4 mm from the truth's.
    assert measure([1, 1, 0, 0], [1, 1, 1, 1], spacing=[2.0]) == {
        "dice": 4 / 6, "hd": 4.0, "hd95": pytest.approx(3.8), "msd": 1.5, "nsd": 0.75,
        "hd_voxels": 2.0, "hd95_published": pytest.approx(1.85), "sd_published": 0.5,
    }  # fmt: skip


def test_a_multiple_of_the_spacing_is_within_that_tolerance_wherever_it_lies():
    for at in range(60):
        one, other = np.zeros(80), np.zeros(80)
        one[at], other[at + 3] = 1, 1
        scores = measure(one, other, spacing=[0.8], tolerance=3 * 0.8, metrics=["nsd"])
        assert scores["nsd"] == 1


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (4, 5, 6)), arrays(bool, (4, 5, 6)))
def test_both_orders_and_mirrors_agree(one, other):
    there = measure(one, other, spacing=SPACING)
    mirrored = measure(one[::-1, :, ::-1], other[::-1, :, ::-1], spacing=SPACING)
    assert mirrored["hd"] == there["hd"]
    if one.any() and other.any():
        assert measure(other, one, spacing=SPACING)["hd"] == there["hd"]
        assert there["hd95_published"] <= there["hd_voxels"]
        assert there["hd95"] <= there["hd"]
        assert there["msd"] <= there["hd"]
        assert measure(one, other, spacing=SPACING, tolerance=there["hd"])["nsd"] == 1


@pytest.mark.parametrize("seed", range(12))
def test_they_are_monais(seed):
    one, other = random_masks(seed)
    pair = [torch.from_numpy(mask)[None, None] for mask in (one, other)]
    ours = measure(one, other, spacing=SPACING, tolerance=1.55)

    def theirs(function, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # monai warns of its own future
            return getattr(monai.metrics, function)(*pair, **options).item()

    options = {"include_background": True, "spacing": SPACING}
    assert ours["dice"] == pytest.approx(theirs("compute_dice"), abs=1e-6)
    for name, percentile in (("hd", 100), ("hd95", 95)):
        value = theirs("compute_hausdorff_distance", percentile=percentile, **options)
        assert ours[name] == pytest.approx(value, abs=1e-5)
    value = theirs("compute_average_surface_distance", symmetric=True, **options)
    assert ours["msd"] == pytest.approx(value, abs=1e-5)
    value = theirs("compute_surface_dice", class_thresholds=[1.55], **options)
    assert ours["nsd"] == pytest.approx(value, abs=1e-6)
    options["spacing"] = None
    value = theirs("compute_hausdorff_distance", percentile=100, **options)
    assert ours["hd_voxels"] == pytest.approx(value, abs=1e-5)
    value = theirs("compute_average_surface_distance", symmetric=False, **options)
    assert ours["sd_published"] == pytest.approx(value, abs=1e-5)


def test_wrong_input_is_told():
    with pytest.raises(ValueError, match=r"differ in shape: \(4,\) and \(3,\)"):
        dice(FULL, FULL[:3])
    with pytest.raises(ValueError, match="differ in shape"):
        measure(BLOCK, BLOCK[1:], spacing=SPACING)
    with pytest.raises(ValueError, match="unknown rule 'kind'"):
        dice(FULL, FULL, rule="kind")
    with pytest.raises(ValueError, match="unknown rule 'kind'"):
        measure(BLOCK, BLOCK, spacing=SPACING, rule="kind")
    for spacing in ((1.0, 2.0), (1.0, 0.0, 1.0), (1.0, math.nan, 1.0)):
        with pytest.raises(ValueError, match="one positive length for each of 3 axes"):
            measure(BLOCK, BLOCK, spacing=spacing)
    with pytest.raises(ValueError, match="0 mm or more, not -1"):
        measure(BLOCK, BLOCK, spacing=SPACING, tolerance=-1)
    with pytest.raises(KeyError, match="unknown metric 'iou'; there are: dice, hd"):
        measure([1], [1], spacing=[1.0], metrics=["iou"])
    with pytest.raises(ValueError, match="at least one metric"):
        measure([1], [1], spacing=[1.0], metrics=[])


@pytest.mark.parametrize("spacing", [1.0, 1.0000001, 0.99999994])
def test_a_spacing_that_a_header_has_rounded_does_not_move_the_tolerance(spacing):
    """An oblique scan's 1 mm is 1.0000001 in single precision; its NSD fell from 1 to 0.65."""
    mask = np.zeros((12, 12, 12), bool)
    mask[3:6, 3:6, 3:6] = True
    moved = np.roll(mask, 2, axis=0)
    assert measure(mask, moved, spacing=(spacing,) * 3, metrics=["nsd"], tolerance=2.0)["nsd"] == 1
    less = measure(mask, moved, spacing=(spacing,) * 3, metrics=["nsd"], tolerance=1.99)["nsd"]
    assert less < 0.7
