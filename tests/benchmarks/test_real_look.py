"""The look at real scans: Dice where there are labels, false volumes where there are none."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mots_pretrained.evaluation.names import LabelNames
from mots_pretrained.images.volume import Volume

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("real_look")


def test_organs_are_scored_and_tumours_without_labels_are_measured(bench):
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[:2] = 5
    drawn = np.zeros((4, 4, 4), np.uint8)
    drawn[:2, :2], drawn[3, 0, :3] = 1, 2
    masks = {"liver": truth == 5, "liver_tumour": drawn == 2}
    prediction = SimpleNamespace(
        labels=drawn,
        spacing=(5.0, 2.0, 2.0),
        label_values={"liver": (1,), "liver_tumour": (2,)},
        mask=masks.get,
    )
    names = LabelNames({"liver": (5,), "spleen": (1,)})
    found = bench.look(lambda volume: prediction, None, truth, names)
    assert found["liver"] == {"mask": 1.0, "label map": pytest.approx(2 * 16 / 48)}
    false = {"false ml in masks": pytest.approx(0.06), "false ml in label map": 0.06}
    assert found["liver_tumour"] == pytest.approx(false)
    assert found["all tumours"] == pytest.approx(false)


def test_a_slab_lies_around_the_first_class(bench):
    labels = np.zeros((40, 4, 4), np.uint8)
    labels[20:30] = 7
    scan = Volume.with_spacing(np.arange(640.0).reshape(40, 4, 4), (3.0, 1.0, 1.0))
    names = LabelNames({"liver": (7,)})
    volume, cut = bench.slab(scan, Volume.with_spacing(labels, scan.spacing), names, 12.0)
    assert volume.shape == cut.shape == (4, 4, 4)
    assert volume.array[0, 0, 0] == 16 * 22
    assert (cut.array == 7).all()
