import numpy as np
import pytest

from mots_pretrained.phantom.labels import LABEL, TORSO_LABELS, task_target
from mots_pretrained.tasks import BCV_ORGANS, MOTS_TASKS, Task


def _map(*names: str) -> np.ndarray:
    return np.array([[[LABEL[name] if name else 0 for name in names]]], dtype=np.uint8)


def test_bcv_comes_first_with_its_own_values():
    assert TORSO_LABELS[: len(BCV_ORGANS)] == BCV_ORGANS
    assert [LABEL[name] for name in BCV_ORGANS] == list(range(1, 14))
    assert len(set(TORSO_LABELS)) == len(TORSO_LABELS) < 256


@pytest.mark.parametrize(
    ("task", "names", "organ", "tumour"),
    [
        (
            "liver",
            ("", "liver", "hepatic_vessel", "liver_cyst", "liver_tumour", "hepatic_vessel_tumour"),
            [0, 1, 1, 1, 1, 1],
            [0, 0, 0, 0, 1, 1],
        ),
        (
            "kidney",
            ("left_kidney", "right_kidney", "kidney_cyst", "kidney_tumour", "left_adrenal_gland"),
            [1, 1, 1, 1, 0],
            [0, 0, 0, 1, 0],
        ),
        (
            "hepatic_vessel",
            ("liver", "hepatic_vessel", "hepatic_vessel_tumour", "portal_and_splenic_vein"),
            [0, 1, 0, 0],
            [0, 0, 1, 0],
        ),
        ("pancreas", ("pancreas", "pancreas_tumour", "duodenum"), [1, 1, 0], [0, 1, 0]),
        ("colon", ("colon", "colon_tumour", "small_bowel"), [1, 1, 0], [0, 1, 0]),
        ("lung", ("lung", "lung_tumour", "heart"), [1, 1, 0], [0, 1, 0]),
        ("spleen", ("spleen", "liver", ""), [1, 0, 0], [0, 0, 0]),
    ],
)
def test_target_by_hand(task, names, organ, tumour):
    target = task_target(_map(*names), task)
    assert target.shape == (2, 1, 1, len(names))
    assert target.dtype == bool
    assert target[0].ravel().tolist() == [bool(v) for v in organ]
    assert target[1].ravel().tolist() == [bool(v) for v in tumour]


def test_vessel_and_tumour_exclude_each_other_elsewhere_the_tumour_is_in_the_organ():
    everything = np.arange(len(TORSO_LABELS) + 1, dtype=np.uint8).reshape(1, 1, -1)
    for task in MOTS_TASKS:
        organ, tumour = task_target(everything, task)
        if task.name == "hepatic_vessel":
            assert not (organ & tumour).any()
        else:
            assert (organ | ~tumour).all()


def test_unknown_task_is_named():
    with pytest.raises(KeyError, match="brain"):
        task_target(_map("liver"), "brain")
    with pytest.raises(KeyError, match="no target for task 'bone'"):
        task_target(_map("liver"), Task("bone", "bone", None))
