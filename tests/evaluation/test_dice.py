"""Dice by hand, its rules for empty masks, and MONAI as an oracle."""

import numpy as np
import pytest

from mots_pretrained.evaluation.dice import dice, label_dice

EMPTY, HALF, FULL = np.zeros(4), np.array([1, 1, 0, 0]), np.ones(4)


@pytest.mark.parametrize(
    ("prediction", "truth", "standard", "published"),
    [
        (HALF, HALF, 1.0, 4 / 5),
        (HALF, FULL, 4 / 6, 4 / 7),
        (FULL, HALF, 4 / 6, 4 / 7),
        (HALF, 1 - HALF, 0.0, 0.0),
        (EMPTY, HALF, 0.0, 0.0),
        (HALF, EMPTY, None, 0.0),
        (EMPTY, EMPTY, None, 0.0),
    ],
)
def test_by_hand(prediction, truth, standard, published):
    assert dice(prediction, truth) == standard
    assert dice(prediction, truth, rule="published") == published


def test_any_value_but_zero_is_inside():
    assert dice(np.array([0, 7, 255], np.uint8), np.array([0.0, -1.0, 0.5])) == 1


def test_many_voxels_do_not_overflow():
    mask = np.ones((300, 300, 300), np.uint8)
    assert dice(mask, mask) == 1


def test_it_is_monais():
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    p, y = (torch.rand(1, 1, 6, 7, 8, generator=torch.Generator().manual_seed(s)) > 0.5
            for s in (0, 1))  # fmt: skip
    assert dice(p, y) == pytest.approx(metrics.compute_dice(p, y).item(), abs=1e-6)


def test_classes_of_a_label_map():
    scores = label_dice(
        np.array([0, 1, 1, 2]), np.array([1, 1, 1, 0]), {"a": 1, "b": 2, "c": 3}, rule="published"
    )
    assert scores == {"a": 4 / 6, "b": 0.0, "c": 0.0}


def test_wrong_input_is_told():
    with pytest.raises(ValueError, match=r"differ in shape: \(4,\) and \(3,\)"):
        dice(FULL, FULL[:3])
    with pytest.raises(ValueError, match="unknown rule 'kind'"):
        dice(FULL, FULL, rule="kind")
