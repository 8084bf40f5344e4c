"""A prepared split: an oracle network scores 1 where its case is labelled, and nowhere else."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mots_pretrained.data.patches import Case
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.tasks import IGNORED, task_named
from mots_pretrained.training.score_prepared import score_prepared
from mots_pretrained.training.scoring import Scoring

SHAPE, SPACING = (20, 40, 36), (12.0, 12.0, 6.0)
TASKS = tuple(task_named(name) for name in ("liver", "colon", "spleen"))


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


def test_each_case_is_scored_where_its_collection_labels_it(tiny, prepared):
    done = []
    results = score_prepared(
        Oracle(tiny),
        prepared,
        Scoring(metrics=("dice", "hd", "hd_voxels")),
        on_case=lambda *now: done.append(now),
    )
    right = {"dice": 1.0, "hd": 0.0, "hd_voxels": 0.0}
    assert results.cases == {
        "a": {"liver": right, "liver_tumour": right},
        "b": {"colon_tumour": right},
        "c": {"spleen": right},
    }
    assert results.groups["b"] == "the colon's"
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert {*results.seconds} == {"a", "b", "c"}
    only = score_prepared(Oracle(tiny), prepared, split=None, task="liver")
    assert [*only.cases] == ["a", "d"]


def test_distances_are_in_the_cases_own_millimetres(tiny, prepared):
    class Shifted(Oracle):
        def __call__(self, image, *, tasks):
            return super().__call__(torch.roll(image, 1, dims=-1), tasks=tasks)

    results = score_prepared(Shifted(tiny), prepared, Scoring(metrics=("hd", "hd_voxels")))
    assert results.cases["c"]["spleen"] == {"hd": 6.0, "hd_voxels": 1.0}


def test_ignored_voxels_count_neither_way(tiny, prepared):
    one = dataclasses.replace(prepared, records=(record("ignored", "spleen"),))
    results = score_prepared(Oracle(tiny), one, Scoring(metrics=("dice", "hd")))
    assert results.cases["ignored"]["spleen"] == {"dice": 1.0, "hd": 0.0}


def test_what_does_not_fit_is_told(tiny, prepared):
    net = Oracle(tiny)
    coarse = dataclasses.replace(tiny.preprocessing, spacing=(9.0, 9.0, 9.0))
    with pytest.raises(ValueError, match=r"spacing \(9.0, 9.0, 9.0\), the model expects \(12.0"):
        score_prepared(net, dataclasses.replace(prepared, contract=coarse))
    with pytest.raises(ValueError, match="no case to score in the split train and the task colon"):
        score_prepared(net, prepared, split="train", task="colon")
    lung = Oracle(dataclasses.replace(tiny, tasks=(task_named("lung"),)))
    with pytest.raises(ValueError, match="knows lung_tumour, and prepared labels none of it"):
        score_prepared(lung, prepared)
