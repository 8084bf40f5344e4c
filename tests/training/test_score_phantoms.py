"""Phantoms: which categories are scored where, the same again, and the complete truth."""

import dataclasses

import pytest
import torch

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.methods import METHODS
from mots_pretrained.training.score_phantoms import score_phantoms
from mots_pretrained.training.scoring import Scoring


def test_each_case_is_scored_where_its_collection_labels_it(tiny):
    net = METHODS["transdodnet"](tiny).eval()
    done = []
    scoring = Scoring(metrics=("dice", "hd"))
    results = score_phantoms(net, scoring, cases=7, seed=3, on_case=lambda *now: done.append(now))
    assert [list(scores) for scores in results.cases.values()] == [
        list(task.categories) for task in tiny.tasks
    ]
    assert [*results.groups.values()] == [task.name for task in tiny.tasks]
    assert len(results.categories) == 11
    assert done[-1] == (7, 7)
    assert all({*found} == {"dice", "hd"} for s in results.cases.values() for found in s.values())
    again = score_phantoms(net, scoring, cases=2, seed=3)
    for name, scores in again.cases.items():
        assert scores == results.cases[name]


def test_the_complete_truth_allows_every_category_everywhere(tiny):
    net = METHODS["transdodnet"](tiny).eval()
    results = score_phantoms(net, cases=2, everywhere=True)
    first = next(iter(results.cases.values()))
    assert [*first] == [*results.categories]
    assert first["spleen"]["dice"] is not None  # on a scan like LiTS's
    own = score_phantoms(net, cases=1)
    assert next(iter(own.cases.values()))["liver"] == first["liver"]


@pytest.mark.long
def test_phantoms_made_ahead_are_the_same(tiny):
    net = METHODS["transdodnet"](tiny).eval()
    assert score_phantoms(net, cases=3, workers=1).cases == score_phantoms(net, cases=3).cases


def test_a_segmenter_of_bcv_organs_is_scored_by_its_classes(tiny):
    net = Segmenter.from_scratch(tiny, classes=("liver", "aorta")).eval()
    results = score_phantoms(net, cases=1)
    assert results.categories == ("liver", "aorta")
    assert results.table().scored("liver")
    with pytest.raises(ValueError, match="no truth for the class 'heart'"):
        score_phantoms(Segmenter.from_scratch(tiny, classes=("liver", "heart")))
    with pytest.raises(ValueError, match="at least 1 case, not 0"):
        score_phantoms(net, cases=0)


class Recorder:
    """A network that finds nothing and remembers which tasks it was asked for."""

    def __init__(self, config):
        self.config, self.asked = config, set()

    def __call__(self, image, *, tasks):
        self.asked.add(tuple(tasks))
        return torch.full((len(image), len(tasks), 2, *image.shape[2:]), -9.0)


def test_cleaning_a_hepatic_tumour_asks_for_the_liver_as_well(tiny):
    hepatic = dataclasses.replace(tiny, tasks=(tiny.tasks[2], tiny.tasks[0]))
    net = Recorder(hepatic)
    score_phantoms(net, Scoring(postprocess=True), cases=1)
    score_phantoms(net, Scoring(), cases=1)
    assert net.asked == {("hepatic_vessel", "liver"), ("hepatic_vessel",)}


def test_wrong_scoring_is_told():
    with pytest.raises(ValueError, match="unknown rule 'kind'"):
        Scoring(rule="kind")
    with pytest.raises(KeyError, match="unknown metric 'iou'"):
        Scoring(metrics=("iou",))
