"""Table 1 and the downstream label sets, number by number."""

from __future__ import annotations

import pytest

from mots_pretrained.errors import UserError
from mots_pretrained.tasks import (
    BCV_ORGANS,
    BRATS_2023_REGIONS,
    BRATS_MODALITIES,
    BRATS_REGIONS,
    MOTS_CATEGORIES,
    MOTS_TASKS,
    Task,
    task_named,
)


def test_table_1():
    told = [(task.name, task.labelled, task.train, task.test) for task in MOTS_TASKS]
    assert told == [
        ("liver", (True, True), 104, 27),
        ("kidney", (True, True), 168, 42),
        ("hepatic_vessel", (True, True), 242, 61),
        ("pancreas", (True, True), 224, 57),
        ("colon", (False, True), 100, 26),
        ("lung", (False, True), 50, 13),
        ("spleen", (True, False), 32, 9),
    ]
    assert sum(task.train for task in MOTS_TASKS) == 920
    assert sum(task.train + task.test for task in MOTS_TASKS) == 1155


def test_the_eleven_categories_are_in_the_order_of_their_values():
    assert (
        *("liver", "liver_tumour", "kidney", "kidney_tumour"),
        *("hepatic_vessel", "hepatic_vessel_tumour", "pancreas", "pancreas_tumour"),
        *("colon_tumour", "lung_tumour", "spleen"),
    ) == MOTS_CATEGORIES


def test_an_organ_holds_its_tumour_but_for_the_vessels():
    inside = {t.name: t.organ_has_tumour for t in MOTS_TASKS if t.organ}
    assert inside == {"liver": True, "kidney": True, "hepatic_vessel": False, "pancreas": True,
                      "spleen": True}  # fmt: skip


def test_the_downstream_label_sets():
    assert len(BCV_ORGANS) == len({*BCV_ORGANS}) == 13
    assert (BCV_ORGANS[0], BCV_ORGANS[5], BCV_ORGANS[12]) == (
        *("spleen", "liver", "left_adrenal_gland"),
    )
    assert BRATS_MODALITIES == ("t1", "t1ce", "t2", "flair")
    enhancing, core, whole = ({*values} for values in BRATS_REGIONS.values())
    assert enhancing < core < whole == {1, 2, 4}
    assert BRATS_2023_REGIONS == {
        "enhancing_tumour": (3,), "tumour_core": (1, 3), "whole_tumour": (1, 2, 3),
    }  # fmt: skip


def test_a_task_is_found_by_its_name_among_ones_own():
    assert task_named("colon").categories == ("colon_tumour",)
    mine = Task("aorta", "aorta", None)
    assert task_named("aorta", (mine,)) is mine
    with pytest.raises(KeyError, match="unknown task 'liver'; this model has: aorta"):
        task_named("liver", (mine,))


@pytest.mark.parametrize("part", ["name", "organ", "tumour", "source"])
def test_no_name_leads_elsewhere(part):
    values = {"name": "a", "organ": "b", "tumour": "c", "source": "d", part: "../x"}
    with pytest.raises(UserError, match=f"{part} of a task: '../x' is not allowed as a name"):
        Task(**values)
