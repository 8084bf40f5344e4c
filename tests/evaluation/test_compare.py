"""Paired differences by hand, intervals that cover, cases kept whole, and the same by seed."""

import math

import numpy as np
import pytest

from mots_pretrained.evaluation.compare import MEAN, compare, comparison_text


def scores(category, values, prefix=""):
    return {(f"{prefix}{i}", category): value for i, value in enumerate(values)}


def test_by_hand():
    # Differences 0.1 and 0.3: of 2 cases drawn with replacement the means are 0.1, 0.2 (twice)
    # and 0.3 a quarter each, so the 95 % percentile interval is all of [0.1, 0.3].
    liver, mean = compare(scores("liver", [0.6, 0.8]), scores("liver", [0.5, 0.5]))
    assert (liver.category, liver.cases, liver.better, liver.worse) == ("liver", 2, 2, 0)
    assert (liver.first, liver.second) == (pytest.approx(0.7), pytest.approx(0.5))
    assert liver.difference == pytest.approx(0.2)
    assert (liver.low, liver.high) == (pytest.approx(0.1), pytest.approx(0.3))
    assert liver.decided
    assert mean.category == MEAN
    assert (mean.difference, mean.low) == (pytest.approx(0.2), pytest.approx(0.1))


def test_the_mean_is_over_categories_not_over_cases():
    first = scores("liver", [0.5] * 9) | scores("spleen", [0.9, 0.9], "s")
    second = scores("liver", [0.4] * 9) | scores("spleen", [0.4, 0.4], "s")
    *_, mean = compare(first, second)
    assert mean.difference == pytest.approx((0.1 + 0.5) / 2)
    assert (mean.cases, mean.better, mean.worse) == (11, 2, 0)
    assert mean.low == mean.high == pytest.approx(mean.difference)  # nothing varies


def test_only_what_both_have_counts():
    first = scores("liver", [0.5, 0.7, 0.9]) | {("x", "colon"): 1.0}
    second = scores("liver", [0.5, 0.6])
    liver, _ = compare(first, second)
    assert (liver.cases, liver.difference) == (2, pytest.approx(0.05))
    with pytest.raises(ValueError, match="no case and category in common"):
        compare(first, {("y", "colon"): 0.0})


def test_organ_and_tumour_of_a_case_stay_together():
    # The tumour's gain is the organ's loss, case by case: drawn together they cancel for certain.
    rng = np.random.default_rng(0)
    gain = rng.normal(size=12)
    zero = np.zeros(12)
    *_, mean = compare(
        scores("liver", gain) | scores("liver_tumour", -gain),
        scores("liver", zero) | scores("liver_tumour", zero),
    )
    assert mean.low == pytest.approx(0, abs=1e-12)
    assert mean.high == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_a_plain_category_is_scipys_bootstrap(method):
    from scipy.stats import bootstrap

    gains = np.random.default_rng(1).exponential(size=15)
    liver, _ = compare(scores("liver", gains), scores("liver", np.zeros(15)), method=method)
    theirs = bootstrap(
        (gains,), np.mean, method=method, random_state=np.random.default_rng(0)
    ).confidence_interval
    assert (liver.low, liver.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


def test_the_seed_decides_the_interval():
    gains = np.random.default_rng(2).normal(size=20)
    pair = scores("liver", gains), scores("liver", np.zeros(20))
    assert compare(*pair, seed=3) == compare(*pair, seed=3)
    assert compare(*pair, seed=3) != compare(*pair, seed=4)
    wide, narrow = compare(*pair)[0], compare(*pair, level=0.5)[0]
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_case_has_no_interval_and_decides_nothing():
    colon, _ = compare({("x", "colon"): 0.5}, {("x", "colon"): 0.1})
    assert math.isnan(colon.low)
    assert math.isnan(colon.high)
    assert not colon.decided


def test_less_of_a_distance_is_better():
    first, second = scores("liver", [3.0, 5.0]), scores("liver", [4.0, 9.0])
    liver, _ = compare(first, second, higher_is_better=False)
    assert (liver.difference, liver.better, liver.worse) == (-2.5, 2, 0)


def test_text():
    lines = comparison_text(
        compare(scores("liver", [0.6, 0.8]), scores("liver", [0.5, 0.5])), names=("a", "b")
    ).splitlines()
    assert lines[0].split() == [
        *("category", "a", "b", "difference", "interval", "better", "worse", "cases")
    ]
    assert lines[1].split() == [
        *("liver", "0.700", "0.500", "+0.200", "[+0.100,", "+0.300]*", "2", "0", "2")
    ]


def test_wrong_input_is_told():
    pair = scores("liver", [0.6, 0.8]), scores("liver", [0.5, 0.5])
    with pytest.raises(ValueError, match="between 0 and 1, not 95"):
        compare(*pair, level=95)
    with pytest.raises(ValueError, match="unknown method 'basic'"):
        compare(*pair, method="basic")
