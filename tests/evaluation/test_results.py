"""Several metrics: means, what is left out and missed, JSON and text."""

import json
import math

import pytest

from mots_pretrained.evaluation.metrics import METRICS, measure
from mots_pretrained.evaluation.results import Results


def filled(rule="standard", missing=math.inf):
    results = Results(("liver", "colon_tumour"), ("dice", "hd"), rule)
    results.add("a", {"liver": {"dice": 0.9, "hd": 4.0}}, group="liver", seconds=1.5)
    results.add("b", {"liver": {"dice": 0.7, "hd": 8.0}}, group="liver")
    results.add("c", {"colon_tumour": {"dice": 0.0, "hd": missing}}, group="colon")
    results.add("d", {"colon_tumour": {"dice": None, "hd": None}}, group="colon")
    results.add("e", {"colon_tumour": {"dice": 0.5, "hd": 10.0}}, group="colon")
    return results


@pytest.mark.parametrize(("rule", "missing"), [("standard", math.inf), ("published", 999.0)])
def test_a_missed_distance_is_left_out_of_the_mean_and_counted(rule, missing):
    results = filled(rule, missing)
    assert results.mean("liver", "hd") == 6
    assert results.mean("colon_tumour") == 0.25
    assert results.mean("colon_tumour", "hd") == 10
    assert [results.missed(name) for name in results.categories] == [0, 1]
    assert results.mean_dice == pytest.approx((0.8 + 0.25) / 2)


def test_json_holds_all_of_it():
    values = json.loads(json.dumps(filled().as_json(), allow_nan=False))
    assert values["mean_dice"] == pytest.approx(0.525)
    assert values["mean_hd"] == 8
    assert values["hd"] == {"liver": 6.0, "colon_tumour": 10.0}
    assert values["scored"] == {"liver": 2, "colon_tumour": 2}
    assert values["left_out"] == {"liver": 0, "colon_tumour": 1}
    assert values["missed"] == {"liver": 0, "colon_tumour": 1}
    assert values["cases"]["c"] == {"colon_tumour": {"dice": 0.0, "hd": None}}


def test_counts_do_not_depend_on_which_metric_comes_first():
    results = filled()
    results.metrics = ("hd", "dice")
    assert results.as_json()["left_out"] == {"liver": 0, "colon_tumour": 1}
    assert results.as_json()["missed"] == {"liver": 0, "colon_tumour": 1}


def test_text():
    assert filled().as_text().splitlines() == [
        "category       Dice  HD mm  cases  left out  missed",
        "liver         0.800   6.00      2",
        "colon_tumour  0.250  10.00      2         1       1",
        "mean          0.525   8.00      5",
    ]


def test_wrong_input_is_told():
    with pytest.raises(KeyError, match="unknown category 'gallbladder'"):
        filled().add("f", {"gallbladder": {}})
    with pytest.raises(ValueError, match="'a' is there twice"):
        filled().add("a", {})
    with pytest.raises(KeyError, match="unknown metric 'iou'; there are: dice, hd"):
        measure([1], [1], spacing=[1.0], metrics=["iou"])
    with pytest.raises(ValueError, match="at least one metric"):
        measure([1], [1], spacing=[1.0], metrics=[])


def test_all_metrics_of_one_pair():
    scores = measure([1, 1, 0, 0], [1, 1, 1, 1], spacing=[2.0])
    assert scores == {
        "dice": 4 / 6, "hd": 4.0, "hd95": pytest.approx(3.8), "msd": 1.5, "nsd": 0.75,
        "hd_voxels": 2.0, "hd95_voxels": pytest.approx(1.9), "sd_voxels": 0.5,
    }  # fmt: skip
    empty = measure([0, 0], [0, 0], spacing=[2.0])
    assert empty == dict.fromkeys(METRICS)
    missed = measure([0, 0], [0, 1], spacing=[2.0])
    assert missed == {m: 0.0 if METRICS[m].higher_is_better else math.inf for m in METRICS}
    published = measure([0, 1], [0, 0], spacing=[2.0], rule="published")
    assert published == {m: 0.0 if METRICS[m].higher_is_better else 999.0 for m in METRICS}
