"""Which class is which after mirroring."""

import pytest

from mots_pretrained.data.sides import mirrored_classes, mirrored_tasks, other_side
from mots_pretrained.tasks import BCV_ORGANS, MOTS_TASKS, Task


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("liver", "liver"),
        ("left_kidney", "right_kidney"),
        ("KidneyLeft", "KidneyRight"),
        ("LKidney", "RKidney"),
        ("LK", "RK"),
        ("kidney_l", "kidney_r"),
        ("right adrenal gland", "left adrenal gland"),
        ("copyright", "copyright"),
        ("LEFT-LUNG", "RIGHT-LUNG"),
        ("Kidney-L", "Kidney-R"),
        ("bright_spot", "bright_spot"),
        ("cleft", "cleft"),
    ],
)
def test_other_side(name, other):
    assert other_side(name) == other
    assert other_side(other) == name


def test_bcv_kidneys_and_adrenals_change_places():
    order = mirrored_classes(BCV_ORGANS)
    assert order == (0, 2, 1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 11)
    assert [order[place] for place in order] == list(range(13))


def test_no_order_where_a_side_has_no_counterpart_or_a_class_no_name():
    assert mirrored_classes(("left_kidney", "liver")) is None
    assert mirrored_classes(("liver", "class_2")) is None


def test_tasks_change_places_whole():
    assert mirrored_tasks(MOTS_TASKS) == tuple(range(7))
    lungs = (
        Task("left_lung", "left_lung", "left_lung_tumour"),
        Task("liver", "liver", None),
        Task("right_lung", "right_lung", "right_lung_tumour"),
    )
    assert mirrored_tasks(lungs) == (2, 1, 0)
    assert mirrored_tasks(lungs[:2]) is None
    other = Task("right_lung", "right_lung", None)  # does not label what its counterpart does
    assert mirrored_tasks((lungs[0], other)) is None
