"""Table 9: the paper's figures against its own averages, and ours in its shape."""

import pytest

from mots_pretrained.evaluation.results import Results
from mots_pretrained.published.table9 import (
    PAPER_MEANS,
    PAPER_TABLE_9,
    MethodScores,
    method_scores,
    table9_text,
)
from mots_pretrained.tasks import MOTS_CATEGORIES


@pytest.mark.parametrize("name", PAPER_TABLE_9)
def test_the_papers_rows_have_the_averages_that_it_prints(name):
    scores = PAPER_TABLE_9[name]
    assert sum(scores.dice.values()) / 11 == pytest.approx(PAPER_MEANS[name][0], abs=0.011)
    assert sum(scores.hd.values()) / 11 == pytest.approx(PAPER_MEANS[name][1], abs=0.011)


def ours(rule="standard"):
    metrics = ("dice", "hd", "hd95_published")
    found = Results(MOTS_CATEGORIES, metrics, rule)
    for number, name in enumerate(MOTS_CATEGORIES[:-1]):
        values = {"dice": 0.5 + number / 100, "hd": 10.0 + number, "hd95_published": 1.0}
        found.add(name, {name: values})
    return found


def test_ours_stands_in_the_papers_shape():
    text = table9_text({"ours": method_scores(ours())})
    first, second, told = text.split("\n\n")
    assert first.splitlines()[0] == "Tasks 1 liver, 2 kidney, 3 hepatic_vessel"
    lines = first.splitlines()[1:]
    assert len(lines) == 1 + 7 + 1
    assert lines[-2].split() == [
        *("TransDoDNet", "(paper)", "97.01", "66.27", "3.47", "24.94", "97.03", "83.57"),
        *("1.76", "4.65", "65.43", "76.78", "10.83", "22.57"),
    ]
    assert lines[-1].split()[:5] == ["ours", "50.00", "51.00", "10.00", "11.00"]
    lines = second.splitlines()
    assert lines[0] == "Tasks 4 pancreas, 5 colon, 6 lung, 7 spleen"
    assert lines[1].endswith("7 Dice organ  7 HD organ  mDice    mHD")
    assert lines[-1].split()[-4:] == ["-", "-", "54.50", "14.50"]  # the spleen was not scored
    assert told == "ours: mDice over 10, mHD over 10 of 11 categories, the paper's over all"


def test_means_are_of_the_tables_categories_alone():
    """An organ that was added was in the mean, and stood in no column."""
    every = dict.fromkeys(MOTS_CATEGORIES, 50.0)
    text = table9_text({"ours": MethodScores({**every, "aorta": 90.0}, {**every, "aorta": None})})
    assert text.split("\n\n")[-1].splitlines()[-1].split()[-2:] == ["50.00", "50.00"]


def test_by_the_published_rule_hd_is_what_the_published_code_takes():
    assert method_scores(ours("published")).hd["liver"] == 1.0
    assert method_scores(ours()).hd["liver_tumour"] == 11.0
