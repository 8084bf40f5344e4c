"""Means over cases and seeds, what is left out, missed or false, JSON and text."""

import json
import math

import pytest

from mots_pretrained.evaluation.results import Results, ScoredCase, Spread


def filled(rule="standard", missing=math.inf):
    results = Results(("liver", "colon_tumour"), ("dice", "hd"), rule)
    results.add("a", {"liver": {"dice": 0.9, "hd": 4.0}}, group="liver", seconds=1.5)
    results.add("b", {"liver": {"dice": 0.7, "hd": 8.0}}, group="liver")
    results.add("c", {"colon_tumour": {"dice": 0.0, "hd": missing}}, group="colon")
    results.add("d", {"colon_tumour": {"dice": None, "hd": None, "false_ml": 3.0}}, group="colon")
    results.add("e", {"colon_tumour": {"dice": 0.5, "hd": 10.0}}, group="colon")
    results.add("f", {"colon_tumour": {"dice": None, "hd": None, "false_ml": 0.0}}, group="colon")
    results.add("g", {"colon_tumour": {"dice": None, "hd": None, "false_ml": 0.5}}, group="colon")
    return results


def seeds():
    found = Results(("liver", "spleen"), ("dice", "hd"))
    for seed, dice in ((0, 0.5), (1, 0.7), (2, 0.9)):
        found.add("a", {"liver": {"dice": dice, "hd": 4.0 + seed}}, seed=seed)
        spleen = {"dice": None, "hd": None, "false_ml": 1.0 * seed} if seed else {"dice": 0.3}
        found.add("b", {"spleen": spleen}, seed=seed)
    return found


@pytest.mark.parametrize(("rule", "missing"), [("standard", math.inf), ("published", 999.0)])
def test_a_missed_distance_is_left_out_of_the_mean_and_counted(rule, missing):
    results = filled(rule, missing)
    assert results.mean("liver", "hd") == 6
    assert results.mean("colon_tumour") == 0.25
    assert results.mean("colon_tumour", "hd") == 10
    assert [results.missed(name) for name in results.categories] == [0, 1]
    assert results.mean_dice == pytest.approx((0.8 + 0.25) / 2)  # over categories, not cases


@pytest.mark.parametrize("metrics", [("dice", "hd"), ("hd", "dice"), ("hd",)])
def test_the_number_of_cases_is_that_with_a_truth_whatever_is_measured(metrics):
    results = filled()
    results.metrics = metrics
    assert results.as_json()["scored"] == {"liver": 2, "colon_tumour": 2}
    liver, tumour = results.as_text().splitlines()[1:3]
    assert liver.split()[len(metrics) + 1 :] == ["2"]
    assert tumour.split()[len(metrics) + 1 :] == ["2", "1", "3", "0.33", "0.50"]


def test_false_tumours_are_reported_of_the_cases_without_one():
    results = filled()
    assert results.absent_cases("colon_tumour") == 3
    assert results.false_volume("colon_tumour") == 0.5  # of 0, 0.5 and 3
    assert results.clean_share("colon_tumour") == pytest.approx(1 / 3)
    assert results.absent_cases("liver") == 0
    assert results.false_volume("liver") is None
    assert results.clean_share("liver") is None


def test_nothing_scored_has_no_mean():
    assert Results(("liver",)).mean_dice is None
    assert json.loads(json.dumps(Results(("liver",)).as_json()))["dice"] == {"liver": None}


def test_json_holds_all_of_it():
    results = filled()
    results.missing = ("h",)
    values = json.loads(json.dumps(results.as_json(), allow_nan=False))
    assert values["mean_dice"] == pytest.approx(0.525)
    assert values["mean_hd"] == 8
    assert values["hd"] == {"liver": 6.0, "colon_tumour": 10.0}
    assert values["scored"] == {"liver": 2, "colon_tumour": 2}
    assert values["missed"] == {"liver": 0, "colon_tumour": 1}
    assert values["absent_cases"] == {"liver": 0, "colon_tumour": 3}
    assert values["false_volume_ml"] == {"liver": None, "colon_tumour": 0.5}
    assert values["clean_share"] == {"liver": None, "colon_tumour": pytest.approx(1 / 3)}
    assert values["missing"] == ["h"]
    assert values["cases"]["c"] == {"colon_tumour": {"dice": 0.0, "hd": None}}


def test_json_is_read_back():
    results = Results(("liver", "spleen"), ("dice",))
    results.add("a", {"liver": {"dice": 0.5}, "spleen": {"dice": None, "false_ml": 2.0}})
    again = Results.from_json(json.loads(json.dumps(results.as_json())))
    assert again == results


def test_text():
    assert filled().as_text().splitlines() == [
        "category       Dice  HD mm  cases  missed  without  clean  false ml",
        "liver         0.800   6.00      2",
        "colon_tumour  0.250  10.00      2       1        3   0.33      0.50",
        "mean          0.525   8.00      7                3   0.33      0.50",
    ]


def test_text_counts_what_has_no_prediction_and_leaves_out_empty_columns():
    results = Results(("liver",), missing=("b", "c"))
    results.add("a", {"liver": {"dice": 0.5}})
    assert results.as_text().splitlines() == [
        "category   Dice   cases",
        "liver     0.500       1",
        "mean      0.500  1 of 3",
    ]


def test_spread_by_hand():
    assert Spread.of([0.5, 0.7, 0.9]) == Spread(pytest.approx(0.7), pytest.approx(0.2))
    assert Spread.of([0.5, None]) == Spread(0.5, 0.0)
    assert Spread.of([None]) is None


def test_several_seeds_as_json():
    values = json.loads(json.dumps(seeds().as_json(), allow_nan=False))
    assert values["mean_dice"] == pytest.approx((0.4 + 0.7 + 0.9) / 3)
    assert values["dice"] == {"liver": pytest.approx(0.7), "spleen": pytest.approx(0.3)}
    assert values["standard_deviation"]["dice"]["liver"] == pytest.approx(0.2)
    assert values["standard_deviation"]["hd"] == {"liver": pytest.approx(1), "spleen": None}
    assert values["seeds"]["2"]["dice"] == {"liver": 0.9, "spleen": None}
    assert values["false_volume_ml"]["spleen"] == 1.5  # of both seeds' cases together


def test_several_seeds_as_text():
    assert seeds().as_text().splitlines() == [
        "category           Dice        HD mm  cases  without  clean  false ml",
        "liver     0.700 ± 0.200  5.00 ± 1.00      3",
        "spleen    0.300 ± 0.000            -      1        2   0.00      1.50",
        "mean      0.667 ± 0.252  5.00 ± 1.00      6        2   0.00      1.50",
    ]


def test_a_view_of_one_seed_one_group_or_some_categories():
    results = seeds()
    assert results.seeds == (0, 1, 2)
    assert results.of(seed=1).mean("liver") == 0.7
    assert results.of(categories=["spleen"]).categories == ("spleen",)
    assert {case.name for case in results.of(categories=["spleen"]).cases} == {"b"}
    assert filled().groups == ("liver", "colon")
    assert filled().of(group="colon").mean("liver") is None


def test_by_case_is_the_mean_over_seeds_without_what_was_missed():
    assert seeds().by_case() == {("a", "liver"): pytest.approx(0.7), ("b", "spleen"): 0.3}
    assert filled().by_case("hd") == {
        ("a", "liver"): 4.0,
        ("b", "liver"): 8.0,
        ("e", "colon_tumour"): 10.0,
    }


def domains():
    results = Results(("liver", "spleen"), ("dice", "hd"))
    for case, domain, liver, spleen in (
        ("a", "liver", 0.9, 0.4),
        ("b", "liver", 0.7, None),
        ("c", "spleen", 0.5, 0.8),
    ):
        scores = {
            "liver": {"dice": liver, "hd": 2.0},
            "spleen": {"dice": spleen, "hd": None if spleen is None else math.inf},
        }
        results.add(case, scores, group=domain)
    return results


def test_means_by_domain():
    assert domains().by_group() == {
        "liver": {"liver": pytest.approx(0.8), "spleen": 0.4},
        "spleen": {"liver": 0.5, "spleen": 0.8},
    }
    assert domains().by_group("hd")["liver"] == {"liver": 2.0, "spleen": None}


def test_the_table_by_domain_marks_what_is_labelled_there():
    assert domains().groups_as_text().splitlines() == [
        "Dice                       liver  spleen",
        "liver                     0.800*  0.500",
        "spleen                    0.400   0.800*",
        "mean, labelled there*     0.800   0.800",
        "mean, labelled elsewhere  0.400   0.500",
    ]


def test_wrong_input_is_told():
    with pytest.raises(KeyError, match="unknown category 'gallbladder'"):
        filled().add("f", {"gallbladder": {}})
    with pytest.raises(ValueError, match="'a' is there twice"):
        filled().add("a", {})
    results = Results(("liver",))
    results.add("a", {}, seed=0)
    results.add("a", {}, seed=1)
    assert results.cases == [ScoredCase("a", {}, 0), ScoredCase("a", {}, 1)]


def test_a_mean_that_leaves_out_categories_says_of_how_many_it_is():
    found = Results(("liver", "vessel"), ("dice", "hd"))
    for seed in range(2):
        missed = {"dice": 0.0, "hd": math.inf} if seed else {"dice": 0.1, "hd": 90.0}
        found.add("a", {"liver": {"dice": 0.9, "hd": 4.0}, "vessel": missed}, seed=seed)
    assert found.as_text().splitlines()[-1].split()[:9] == [
        *("mean", "0.475", "±", "0.035", "25.50", "±", "30.41", "(1", "of")
    ]
    assert found.of(seed=0).of_categories("hd") == ""
    far = Results(found.categories, ("hd", "dice"), cases=found.cases)  # whatever comes first
    assert far.of_categories("hd") == " (1 of 2)"
    assert far.of_categories("dice") == ""
