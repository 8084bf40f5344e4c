"""Scoring phantoms and prepared splits: which categories where, on whose grid, and faults."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.methods import METHODS
from mots_pretrained.tasks import IGNORED, Task, task_named
from mots_pretrained.training.score import Scoring, score_phantoms, score_prepared

SHAPE, SPACING = (20, 40, 36), (12.0, 12.0, 6.0)
TASKS = tuple(task_named(name) for name in ("liver", "colon", "spleen"))


def scores_of(results):
    return {case.name: case.scores for case in results.cases}


def test_each_phantom_is_scored_where_its_collection_labels_it(tiny):
    net = METHODS["transdodnet"](tiny).eval()
    done = []
    scoring = Scoring(metrics=("dice", "hd"))
    results = score_phantoms(
        net, scoring, cases=7, seeds=(3,), on_case=lambda *now: done.append(now)
    )
    assert [list(case.scores) for case in results.cases] == [
        list(task.categories) for task in tiny.tasks
    ]
    assert results.groups == tuple(task.name for task in tiny.tasks)
    assert len(results.categories) == 11
    assert done[-1] == (7, 7)
    for case in results.cases:
        assert case.seconds > 0
        assert all({"dice", "hd"} <= {*found} for found in case.scores.values())
    again = score_phantoms(net, scoring, cases=2, seeds=(4, 3))
    assert again.seeds == (4, 3)
    for name, scores in scores_of(again.of(seed=3)).items():
        assert scores == scores_of(results)[name]


def test_the_complete_truth_allows_every_category_everywhere(tiny):
    net = METHODS["transdodnet"](tiny).eval()
    results = score_phantoms(net, cases=2, everywhere=True)
    first = results.cases[0].scores
    assert [*first] == [*results.categories]
    assert first["spleen"]["dice"] is not None  # on a scan like LiTS's
    own = score_phantoms(net, cases=1)
    assert own.cases[0].scores["liver"] == first["liver"]


class Finder:
    """A network that finds everything everywhere, or nothing, and remembers what it was asked."""

    def __init__(self, config, logit):
        self.config, self.logit, self.asked = config, logit, set()

    def __call__(self, image, *, tasks):
        self.asked.add(tuple(tasks))
        return torch.full((len(image), len(tasks), 2, *image.shape[2:]), self.logit)


def test_false_tumours_of_phantoms_without_one_are_measured(tiny):
    all_of_it = score_phantoms(Finder(tiny, 9.0), cases=7, everywhere=True)
    nothing = score_phantoms(Finder(tiny, -9.0), cases=7, everywhere=True)
    absent = [n for n in all_of_it.categories if all_of_it.absent_cases(n)]
    assert any(name.endswith("tumour") for name in absent)
    for name in absent:
        assert all_of_it.absent_cases(name) == nothing.absent_cases(name)
        assert (all_of_it.clean_share(name), nothing.clean_share(name)) == (0.0, 1.0)
        assert nothing.false_volume(name) == 0
        assert all_of_it.false_volume(name) > 1000  # the whole field of view, in ml


@pytest.mark.long
def test_phantoms_made_ahead_are_the_same(tiny):
    net = METHODS["transdodnet"](tiny).eval()
    here, ahead = (score_phantoms(net, cases=3, workers=workers) for workers in (0, 1))
    assert scores_of(here) == scores_of(ahead)


def test_a_segmenter_of_bcv_organs_is_scored_by_its_classes(tiny):
    net = Segmenter.from_scratch(tiny, classes=("liver", "aorta")).eval()
    results = score_phantoms(net, cases=1)
    assert results.categories == ("liver", "aorta")
    assert results.values("liver")
    with pytest.raises(ValueError, match="no truth for the class 'heart'"):
        score_phantoms(Segmenter.from_scratch(tiny, classes=("liver", "heart")))
    with pytest.raises(ValueError, match="at least 1 case and 1 seed, not 0"):
        score_phantoms(net, cases=0)


def test_cleaning_a_hepatic_tumour_asks_for_the_liver_as_well(tiny):
    hepatic = dataclasses.replace(tiny, tasks=(tiny.tasks[2], tiny.tasks[0]))
    net = Finder(hepatic, -9.0)
    score_phantoms(net, Scoring(postprocess=True), cases=1)
    score_phantoms(net, Scoring(), cases=1)
    assert net.asked == {("hepatic_vessel", "liver"), ("hepatic_vessel",)}


def test_cleaning_leaves_tasks_without_a_rule_and_refuses_a_network_of_them(tiny):
    vessels, spleen = tiny.tasks[2], tiny.tasks[6]
    net = Finder(dataclasses.replace(tiny, tasks=(vessels, spleen)), -9.0)
    assert len(score_phantoms(net, Scoring(postprocess=True), cases=2).cases) == 2
    net = Finder(dataclasses.replace(tiny, tasks=(vessels,)), -9.0)
    with pytest.raises(ValueError, match="no rule for what is predicted here: hepatic_vessel"):
        score_phantoms(net, Scoring(postprocess=True), cases=1)
    assert not net.asked


@pytest.mark.parametrize("everywhere", [False, True])
def test_tasks_that_phantoms_do_not_have_are_left_out_with_a_warning(tiny, everywhere):
    aorta = Task("aorta", "aorta", None, (8,))
    net = Finder(dataclasses.replace(tiny, tasks=(tiny.tasks[6], aorta)), 9.0)
    with pytest.warns(UserWarning, match="phantoms have no truth for aorta; not scored"):
        results = score_phantoms(net, cases=2, everywhere=everywhere)
    assert (results.categories, results.groups) == (("spleen",), ("spleen",))
    assert len(results.cases) == 2
    alone = Finder(dataclasses.replace(tiny, tasks=(aorta,)), 9.0)
    with pytest.raises(ValueError, match="no truth for aorta; score a prepared folder or files"):
        score_phantoms(alone, cases=2, everywhere=everywhere)


def test_without_a_device_the_network_stays_where_it_is(tiny):
    net = METHODS["transdodnet"](tiny).to("meta")
    assert Scoring().predictor(net).device.type == "meta"
    assert next(net.parameters()).device.type == "meta"


def test_wrong_scoring_is_told():
    with pytest.raises(ValueError, match="unknown rule 'kind'"):
        Scoring(rule="kind")
    with pytest.raises(KeyError, match="unknown metric 'iou'"):
        Scoring(metrics=("iou",))


class Oracle:
    """Sees organs where the image is above 0, tumours where it is above 0.5, in every task."""

    def __init__(self, config):
        self.config = config

    def __call__(self, image, *, tasks):
        both = torch.cat([image, image - 0.5], dim=1) * 50
        return both[:, None].repeat(1, len(tasks), 1, 1, 1, 1)


class InMemory(PreparedSet):
    """A prepared set whose cases are drawn when they are read."""

    def read(self, record, *, tasks=None):
        image = np.full((1, *SHAPE), -0.5, np.float32)
        image[0, 4:12, 5:30, 5:20] = 0.25
        image[0, 5:8, 8:14, 8:14] = 0.75
        labelled = np.array(record.labelled)[:, None, None, None]
        target = np.concatenate([image > 0, image > 0.5]).astype(np.uint8) * labelled
        if record.identifier == "ignored":
            target[:, 4:8] = IGNORED
            image[:, 8:12, 5:30, 5:20] = 0.25
        return Case(image, target.astype(np.uint8), record.labelled, (0,), record.identifier)


def record(identifier, task, split="test"):
    return SimpleNamespace(
        identifier=identifier, collection=f"the {task}'s", task=task, split=split, fold=None,
        spacing=SPACING, labelled=task_named(task).labelled,
    )  # fmt: skip


@pytest.fixture
def prepared(tiny):
    records = [
        record("a", "liver"),
        record("b", "colon"),
        record("c", "spleen"),
        record("d", "liver", "train"),
    ]
    return InMemory(Path("prepared"), tiny.preprocessing, TASKS, tuple(records))


def test_each_prepared_case_is_scored_where_its_collection_labels_it(tiny, prepared):
    done = []
    results = score_prepared(
        Oracle(tiny),
        prepared,
        Scoring(metrics=("dice", "hd", "hd_voxels")),
        on_case=lambda *now: done.append(now),
    )
    right = {"dice": 1.0, "hd": 0.0, "hd_voxels": 0.0}
    assert scores_of(results) == {
        "a": {"liver": right, "liver_tumour": right},
        "b": {"colon_tumour": right},
        "c": {"spleen": right},
    }
    assert results.cases[1].group == "the colon's"
    assert done == [(1, 3), (2, 3), (3, 3)]
    only = score_prepared(Oracle(tiny), prepared, split=None, task="liver")
    assert [*scores_of(only)] == ["a", "d"]


def test_distances_are_in_the_cases_own_millimetres(tiny, prepared):
    class Shifted(Oracle):
        def __call__(self, image, *, tasks):
            return super().__call__(torch.roll(image, 1, dims=-1), tasks=tasks)

    results = score_prepared(Shifted(tiny), prepared, Scoring(metrics=("hd", "hd_voxels")))
    assert scores_of(results)["c"]["spleen"] == {"hd": 6.0, "hd_voxels": 1.0}


def test_ignored_voxels_count_neither_way(tiny, prepared):
    one = dataclasses.replace(prepared, records=(record("ignored", "spleen"),))
    results = score_prepared(Oracle(tiny), one, Scoring(metrics=("dice", "hd")))
    assert scores_of(results)["ignored"]["spleen"] == {"dice": 1.0, "hd": 0.0}


def test_what_does_not_fit_is_told(tiny, prepared):
    net = Oracle(tiny)
    coarse = dataclasses.replace(tiny.preprocessing, spacing=(9.0, 9.0, 9.0))
    with pytest.raises(ValueError, match=r"spacing \(9.0, 9.0, 9.0\), the model expects \(12.0"):
        score_prepared(net, dataclasses.replace(prepared, contract=coarse))
    with pytest.raises(ValueError, match="no case to score in the split train and the task colon"):
        score_prepared(net, prepared, split="train", task="colon")
    spleen = Oracle(dataclasses.replace(tiny, tasks=(task_named("spleen"),)))
    with pytest.warns(UserWarning, match="does not know liver, liver_tumour, colon_tumour, which"):
        assert score_prepared(spleen, prepared).categories == ("spleen",)
    lung = Oracle(dataclasses.replace(tiny, tasks=(task_named("lung"),)))
    with pytest.raises(ValueError, match="knows lung_tumour, and prepared labels none of it"):
        score_prepared(lung, prepared)


def test_an_organ_that_a_segmenter_parts_from_its_tumour_is_scored_with_it(tiny, prepared):
    """Perfect labels of liver and liver tumour gave the liver 0.9: its truth holds the tumour."""
    classes = ("liver", "liver_tumour")
    config = dataclasses.replace(tiny, architecture="segmenter", classes=classes)

    class Parts(Oracle):
        def __call__(self, image):
            tumour, organ = image > 0.5, (image > 0) & (image <= 0.5)
            return torch.cat([~(tumour | organ), organ, tumour], dim=1).float() * 20

    with pytest.warns(UserWarning, match="does not know colon_tumour, spleen"):
        results = score_prepared(Parts(config), prepared, Scoring(metrics=("dice",)))
    assert scores_of(results) == {"a": {"liver": {"dice": 1.0}, "liver_tumour": {"dice": 1.0}}}


def test_cases_prepared_beside_a_training_are_refused(tiny, prepared):
    with pytest.raises(ValueError, match="prepared beside a training, without tasks; score what"):
        score_prepared(Oracle(tiny), dataclasses.replace(prepared, tasks=()))
