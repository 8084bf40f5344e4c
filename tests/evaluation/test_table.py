"""Means by category, cases left out, and what is printed."""

import json

import pytest

from mots_pretrained.evaluation.table import Table


def filled():
    table = Table(("liver", "spleen", "colon_tumour"))
    table.add("a", {"liver": 0.9, "spleen": 0.5})
    table.add("b", {"liver": 0.7, "spleen": None})
    table.add("c", {"liver": None})
    return table


def test_the_mean_is_over_categories_not_over_cases():
    table = filled()
    assert table.mean("liver") == pytest.approx(0.8)
    assert table.mean("colon_tumour") is None
    assert table.mean_dice == pytest.approx((0.8 + 0.5) / 2)
    assert [table.left_out(name) for name in table.categories] == [1, 1, 0]


def test_json_holds_all_of_it():
    values = json.loads(json.dumps(filled().as_json(), allow_nan=False))
    assert values["mean_dice"] == pytest.approx(0.65)
    assert values["dice"]["colon_tumour"] is None
    assert values["scored"] == {"liver": 2, "spleen": 1, "colon_tumour": 0}
    assert values["left_out"] == {"liver": 1, "spleen": 1, "colon_tumour": 0}
    assert values["cases"]["b"] == {"liver": 0.7, "spleen": None}


def test_text():
    assert filled().as_text().splitlines() == [
        "category       Dice  cases  left out",
        "liver         0.800      2         1",
        "spleen        0.500      1         1",
        "colon_tumour      -      0",
        "mean          0.650      3",
    ]


def test_nothing_scored_has_no_mean():
    assert Table(("liver",)).mean_dice is None


def test_wrong_input_is_told():
    table = filled()
    with pytest.raises(KeyError, match="unknown category 'gallbladder'"):
        table.add("d", {"gallbladder": 1.0})
    with pytest.raises(ValueError, match="'a' is there twice"):
        table.add("a", {})
