"""Several seeds: mean and sample standard deviation, as JSON and as text."""

import json

import pytest

from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.seeds import Spread, over_seeds, seeds_as_json, seeds_as_text


def seeds():
    found = {}
    for seed, dice in ((0, 0.5), (1, 0.7), (2, 0.9)):
        found[seed] = Results(("liver", "spleen"), ("dice", "hd"))
        found[seed].add("a", {"liver": {"dice": dice, "hd": 4.0 + seed}})
        found[seed].add("b", {"spleen": {"dice": None if seed else 0.3, "hd": None}})
    return found


def test_by_hand():
    assert over_seeds([0.5, 0.7, 0.9]) == Spread(pytest.approx(0.7), pytest.approx(0.2))
    assert over_seeds([0.5, None]) == Spread(0.5, 0.0)
    assert over_seeds([None]) is None


def test_json_reads_as_that_of_one_seed_does():
    values = json.loads(json.dumps(seeds_as_json(seeds()), allow_nan=False))
    assert values["mean_dice"] == pytest.approx((0.4 + 0.7 + 0.9) / 3)
    assert values["dice"] == {"liver": pytest.approx(0.7), "spleen": pytest.approx(0.3)}
    assert values["standard_deviation"]["dice"]["liver"] == pytest.approx(0.2)
    assert values["standard_deviation"]["hd"] == {"liver": pytest.approx(1), "spleen": None}
    assert values["seeds"]["2"]["dice"] == {"liver": 0.9, "spleen": None}


def test_text():
    assert seeds_as_text(seeds()).splitlines() == [
        "category           Dice        HD mm",
        "liver     0.700 ± 0.200  5.00 ± 1.00",
        "spleen    0.300 ± 0.000            -",
        "mean      0.667 ± 0.252  5.00 ± 1.00",
    ]
