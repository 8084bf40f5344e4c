"""Every category on every domain, by hand."""

import pytest

from mots_pretrained.evaluation.domains import domain_means, domain_text
from mots_pretrained.evaluation.results import Results


def found():
    results = Results(("liver", "spleen"), ("dice", "hd"))
    for case, domain, liver, spleen in (
        ("a", "liver", 0.9, 0.4),
        ("b", "liver", 0.7, None),
        ("c", "spleen", 0.5, 0.8),
    ):
        results.add(
            case,
            {
                "liver": {"dice": liver, "hd": 2.0},
                "spleen": {"dice": spleen, "hd": None if spleen is None else float("inf")},
            },
            group=domain,
        )
    return results


def test_means():
    assert domain_means([found()]) == {
        "liver": {"liver": pytest.approx(0.8), "spleen": 0.4},
        "spleen": {"liver": 0.5, "spleen": 0.8},
    }
    assert domain_means([found(), found()])["liver"]["spleen"] == 0.4
    assert domain_means([found()], "hd")["liver"] == {"liver": 2.0, "spleen": None}


def test_text_marks_what_is_labelled_there():
    assert domain_text(domain_means([found()])).splitlines() == [
        "Dice                       liver  spleen",
        "liver                     0.800*  0.500",
        "spleen                    0.400   0.800*",
        "mean, labelled there*     0.800   0.800",
        "mean, labelled elsewhere  0.400   0.500",
    ]
