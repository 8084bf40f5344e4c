"""Paired differences by hand, intervals that cover, and cases kept whole."""

import math

import numpy as np
import pytest
from scipy.stats import t

from mots_pretrained.evaluation.compare import MEAN, compare, comparison_text, paired
from mots_pretrained.evaluation.results import Results


def scores(category, values, prefix=""):
    return {(f"{prefix}{i}", category): value for i, value in enumerate(values)}


def test_by_hand():
    # Differences 0.1 and 0.3: their standard error is 0.1, and Student's factor for two is 12.71.
    liver, mean = compare(scores("liver", [0.6, 0.8]), scores("liver", [0.5, 0.5]))
    assert (liver.category, liver.cases, liver.better, liver.worse) == ("liver", 2, 2, 0)
    assert (liver.first, liver.second) == (pytest.approx(0.7), pytest.approx(0.5))
    assert liver.difference == pytest.approx(0.2)
    assert (liver.low, liver.high) == pytest.approx((-1.07, 1.47), abs=0.001)
    assert not liver.decided
    assert mean.category == MEAN
    assert (mean.difference, mean.low) == (pytest.approx(0.2), pytest.approx(-1.07, abs=0.001))


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


def covered(cases: int, draw, trials: int = 400) -> float:
    """Share of 95 % intervals of the mean over six categories that hold the true difference of 0.

    ``draw`` gives, of a generator, which cases have which category.
    """
    rng, held = np.random.default_rng(1), 0
    for _ in range(trials):
        gains = rng.normal(0, 0.05, (cases, 1)) + rng.normal(0, 0.05, (cases, 6))
        there = np.argwhere(draw(rng))
        first = {(f"{case}", f"{category}"): gains[case, category] for case, category in there}
        *_, mean = compare(first, dict.fromkeys(first, 0.0))
        held += mean.low <= 0 <= mean.high
    return held / trials


@pytest.mark.parametrize(("cases", "missing"), [(3, 0.0), (6, 0.0), (15, 0.1), (20, 0.3)])
def test_intervals_hold_what_is_true_as_often_as_they_say(cases, missing):
    # Percentiles of a bootstrap hold it in 0.75 of trials for three cases.
    assert 0.92 <= covered(cases, lambda rng: rng.random((cases, 6)) >= missing) <= 0.98


@pytest.mark.parametrize("of_all", [False, True])
def test_a_category_of_few_cases_widens_the_interval_of_the_mean(of_all):
    # 23 cases, three of them alone with the last category, which have the others, too, or not:
    # with one number of degrees of freedom for all cases they held it in 0.8 to 0.88.
    few = np.arange(23) >= 20
    there = np.tile(~few, (6, 1)).T | of_all
    there[:, -1] = few
    assert 0.92 <= covered(23, lambda rng: there) <= 0.98


def test_the_mean_of_two_collections_has_the_interval_of_welch():
    # Means 1 and 3 of variances 2 (3 cases) and 8 (2 cases): sqrt(2/3 + 8/2) / 2 = 1.0801 with
    # (2/3 + 4)^2 / ((2/3)^2 / 2 + 4^2 / 1) = 1.3425 degrees of freedom, whose factor is 7.17.
    first = scores("liver", [1 - 2**0.5, 1.0, 1 + 2**0.5]) | scores("spleen", [1.0, 5.0], "s")
    *_, mean = compare(first, dict.fromkeys(first, 0.0))
    assert mean.difference == pytest.approx(2)
    assert mean.high - 2 == pytest.approx(t.ppf(0.975, 1.342466) * 1.080123, rel=1e-4)


def test_a_plain_category_has_the_interval_of_students_t():
    gains = np.random.default_rng(1).normal(size=12)
    liver, _ = compare(scores("liver", gains), scores("liver", np.zeros(12)))
    half = 2.20099 * gains.std(ddof=1) / 12**0.5  # t of 11 degrees of freedom
    assert liver.high - gains.mean() == pytest.approx(half, rel=1e-4)
    assert gains.mean() - liver.low == pytest.approx(half, rel=1e-4)


def test_a_lower_level_is_narrower():
    gains = np.random.default_rng(2).normal(size=20)
    pair = scores("liver", gains), scores("liver", np.zeros(20))
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
        compare(scores("liver", [0.69, 0.71]), scores("liver", [0.5, 0.5])), names=("a", "b")
    ).splitlines()
    assert lines[0].split() == [
        *("category", "a", "b", "difference", "interval", "better", "worse", "cases")
    ]
    assert lines[1].split() == [
        *("liver", "0.700", "0.500", "+0.200", "[+0.073,", "+0.327]*", "2", "0", "2")
    ]


def test_wrong_input_is_told():
    pair = scores("liver", [0.6, 0.8]), scores("liver", [0.5, 0.5])
    with pytest.raises(ValueError, match="between 0 and 1, not 95"):
        compare(*pair, level=95)


def results(values):
    """Results of one category by seed and case."""
    found = Results(("liver",), ("dice", "hd"))
    for (seed, case), (dice, hd) in values.items():
        found.add(case, {"liver": {"dice": dice, "hd": hd}}, seed=seed)
    return found


def test_results_are_paired_by_seed_where_both_have_a_value():
    first = results({(0, "a"): (0.6, 2.0), (1, "a"): (0.8, 4.0), (2, "a"): (1.0, 9.0)})
    second = results({(0, "a"): (0.5, 3.0), (1, "a"): (0.3, math.inf)})
    ours, theirs = paired(first, second)
    assert (ours["a", "liver"], theirs["a", "liver"]) == (pytest.approx(0.7), pytest.approx(0.4))
    assert paired(first, second, "hd") == ({("a", "liver"): 2.0}, {("a", "liver"): 3.0})
    other = results({(7, "a"): (0.1, 1.0)})
    assert paired(first, other)[0] == {("a", "liver"): pytest.approx(0.8)}  # no seed in common
