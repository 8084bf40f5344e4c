"""Which category wins a voxel: hand-written probabilities against the rules of the label map."""

import dataclasses

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.images.resample import resample_planes
from mots_pretrained.inference.labels import LabelRule, Masks, class_rule, decide, task_rule
from mots_pretrained.tasks import BRATS_REGIONS, MOTS_CATEGORIES, MOTS_TASKS

ALL = tuple(task.name for task in MOTS_TASKS)


def label(rule: LabelRule, probabilities: list[float]) -> int:
    """The value of one voxel."""
    labels = np.zeros((1, 1, 1), rule.dtype)
    masks = None if rule.exclusive else Masks(rule.names, (1, 1, 1))
    decide(torch.tensor(probabilities).view(-1, 1, 1, 1), rule, (1, 1), labels, masks, 0)
    return int(labels.item())


def of(**given: float) -> list[float]:
    return [given.get(name, 0.0) for name in MOTS_CATEGORIES]


def test_values_of_the_mots_tasks() -> None:
    rule = task_rule(ModelConfig(), ALL)
    assert dict(zip(rule.names, rule.values, strict=True)) == {
        "liver": 1,
        "liver_tumour": 2,
        "kidney": 3,
        "kidney_tumour": 4,
        "hepatic_vessel": 5,
        "hepatic_vessel_tumour": 6,
        "pancreas": 7,
        "pancreas_tumour": 8,
        "colon_tumour": 9,
        "lung_tumour": 10,
        "spleen": 11,
    }
    few = task_rule(ModelConfig(), ("lung", "spleen"))
    assert (few.names, few.values) == (("lung_tumour", "spleen"), (10, 11))
    assert rule.dtype == np.uint8


@pytest.mark.parametrize(
    ("given", "winner"),
    [
        ({}, 0),
        ({"liver": 0.5}, 0),  # exactly one half is background, as published
        ({"liver": 0.51}, 1),
        ({"liver": 0.99, "liver_tumour": 0.51}, 2),  # a tumour over an organ
        ({"spleen": 0.99, "lung_tumour": 0.51}, 10),  # of whichever task
        ({"liver_tumour": 0.6, "hepatic_vessel_tumour": 0.7}, 6),  # else the larger
        ({"liver_tumour": 0.8, "hepatic_vessel_tumour": 0.7}, 2),
        ({"liver": 0.99, "hepatic_vessel": 0.51}, 5),  # a vessel over the liver
        ({"liver": 0.99, "hepatic_vessel": 0.49}, 1),
        ({"liver": 0.99, "hepatic_vessel": 0.6, "liver_tumour": 0.51}, 2),
        ({"kidney": 0.7, "hepatic_vessel": 0.6}, 3),  # a vessel beats the liver only
        ({"kidney": 0.7, "spleen": 0.8}, 11),
        ({"liver": 0.9, "kidney": 0.7, "hepatic_vessel": 0.6}, 3),
    ],
)
def test_who_wins(given: dict[str, float], winner: int) -> None:
    assert label(task_rule(ModelConfig(), ALL), of(**given)) == winner


def test_nested_regions_and_exclusive_classes() -> None:
    regions = class_rule(
        ModelConfig(architecture="segmenter", classes=tuple(BRATS_REGIONS), exclusive=False)
    )
    assert [label(regions, p) for p in ([0.6, 0.9, 0.99], [0.4, 0.6, 0.9], [0.1, 0.2, 0.7])] == [
        1,
        2,
        3,
    ]
    assert label(regions, [0.1, 0.2, 0.3]) == 0
    organs = class_rule(ModelConfig(architecture="segmenter", classes=("a", "b")))
    cases = ([0.4, 0.35, 0.25], [0.3, 0.36, 0.34], [0.3, 0.3, 0.4], [0.4, 0.4, 0.2])
    assert [label(organs, p) for p in cases] == [0, 1, 2, 0]


def regions_of(**values: tuple[int, ...]) -> LabelRule:
    return class_rule(
        ModelConfig(
            architecture="segmenter",
            classes=tuple(values),
            exclusive=False,
            class_values=tuple(values.values()),
        )
    )


def test_the_smallest_region_gives_the_value_whatever_the_order_of_the_classes() -> None:
    rule = regions_of(whole=(2, 1, 4), core=(1, 4), enhancing=(4,))
    assert [label(rule, p) for p in ([0.6, 0.4, 0.4], [0.9, 0.6, 0], [0.9, 0.8, 0.51])] == [2, 1, 4]
    assert label(rule, [0.1, 0.2, 0.6]) == 4
    assert label(regions_of(a=(1,), b=(2,)), [0.6, 0.9]) == 1  # of equals the earlier


def test_values_are_those_of_the_users_labels() -> None:
    config = ModelConfig(
        architecture="segmenter", classes=("tumour", "organ"), class_values=((2,), (255,))
    )
    assert class_rule(config).values == (2, 255)
    assert class_rule(config).dtype == np.uint8
    assert [label(class_rule(config), p) for p in ([0.2, 0.5, 0.3], [0.2, 0.3, 0.5])] == [2, 255]
    large = ModelConfig(architecture="segmenter", classes=("a", "b"), class_values=((205,), (420,)))
    assert class_rule(large).dtype == np.uint16
    assert label(class_rule(large), [0.2, 0.3, 0.5]) == 420


def test_many_classes_need_sixteen_bits() -> None:
    names = tuple(f"class_{i}" for i in range(300))
    contract = Preprocessing(window=(16, 32, 32))
    config = ModelConfig(architecture="segmenter", classes=names, preprocessing=contract)
    rule = class_rule(config)
    probabilities = [0.0] * 301
    probabilities[299] = 1.0
    assert label(rule, probabilities) == 299
    assert rule.dtype == np.uint16


def test_probabilities_are_resampled_before_deciding() -> None:
    # between 0.2 and 0.9, linear: 0.2, 0.375, 0.725, 0.9; labels resampled would be 0, 0, 1, 1
    # as well, but 0.45 and 0.7 cross one half before the middle
    rule = task_rule(ModelConfig(), ("spleen",))
    labels = np.zeros((1, 1, 4), np.uint8)
    probabilities = torch.tensor([0.45, 0.7]).view(1, 1, 1, 2)
    decide(probabilities, rule, (1, 4), labels, None, 0)
    assert labels.ravel().tolist() == [0, 11, 11, 11]


def test_probabilities_are_left_as_they_are() -> None:
    rule = task_rule(ModelConfig(), ALL)
    probabilities = torch.rand(len(rule.names), 2, 3, 4)
    before = probabilities.clone()
    labels, masks = np.zeros((2, 3, 4), np.uint8), Masks(rule.names, (2, 3, 4))
    decide(probabilities, rule, (3, 4), labels, masks, 0)
    assert torch.equal(probabilities, before)


def test_masks_keep_what_the_label_map_hides() -> None:
    rule = task_rule(ModelConfig(), ALL)
    labels, masks = np.zeros((2, 1, 1), np.uint8), Masks(rule.names, (2, 1, 1))
    both = torch.tensor(of(liver=0.9, liver_tumour=0.8, spleen=0.7)).view(-1, 1, 1, 1)
    decide(both, rule, (1, 1), labels, masks, 1)
    assert labels.ravel().tolist() == [0, 2]
    assert {n for n in rule.names if masks[n][1].all()} == {"liver", "liver_tumour", "spleen"}
    assert not any(masks[n][0].any() for n in rule.names)


@pytest.mark.parametrize("old", [(5, 7), (40, 31), (16, 16)])
@pytest.mark.parametrize("name", ["spleen", "liver_tumour"])
@pytest.mark.parametrize("size", [(16, 16), (21, 19)])
def test_what_is_left_out_is_below_the_threshold(
    old: tuple[int, int], name: str, size: tuple[int, int]
) -> None:
    """One voxel of an old grid at every place, on finer and on coarser grids."""
    config = ModelConfig(thresholds={"liver_tumour": 0.3})
    rule = task_rule(config, ALL)
    index = rule.names.index(name)
    threshold = rule.thresholds[index]
    for place in np.ndindex(old):
        probabilities = torch.zeros(len(rule.names), 2, *old)
        probabilities[(index, 1, *place)] = 1.0
        labels, masks = np.zeros((2, *size), np.uint8), Masks(rule.names, (2, *size))
        decide(probabilities, rule, size, labels, masks, 0)
        expected = resample_planes(probabilities[index], size).numpy() > threshold
        np.testing.assert_array_equal(masks[name], expected)
        np.testing.assert_array_equal(labels, expected * np.uint8(rule.values[index]))


@pytest.mark.parametrize("width", [4, 8, 21])
def test_masks_are_a_store(width: int) -> None:
    names = tuple("abcdefghijk")
    masks = Masks(names, (2, 3, width))
    rng = np.random.default_rng(0)
    truth = {name: rng.random((2, 3, width)) > 0.5 for name in names}
    for name, mask in truth.items():
        masks[name] = ~mask
        masks[name] = mask
    for name, mask in truth.items():
        np.testing.assert_array_equal(masks[name], mask)
    assert "k" in masks
    assert "z" not in masks


@pytest.mark.parametrize(
    ("given", "winner"),
    [
        ({"liver": 0.6}, 0),  # not above its 0.8
        ({"liver": 0.81}, 1),
        ({"spleen": 0.3}, 11),  # above its 0.2
        # 0.9 / 0.1 over 0.8 / 0.2 are odds of 2.25, as of 0.69; kidney's 0.7 is more
        ({"liver": 0.9, "kidney": 0.7}, 3),
        ({"liver": 0.9, "kidney": 0.69}, 1),
        ({"spleen": 0.3, "kidney": 0.6}, 11),  # 0.3 is as 0.63
        ({"spleen": 0.3, "kidney": 0.64}, 3),
        ({"liver": 1.0, "liver_tumour": 0.9}, 1),  # a tumour that is none wins nowhere
        ({"liver": 1.0, "liver_tumour": 0.96}, 2),
    ],
)
def test_who_wins_with_thresholds(given: dict[str, float], winner: int) -> None:
    thresholds = {"liver": 0.8, "spleen": 0.2, "liver_tumour": 0.95}
    assert label(task_rule(ModelConfig(thresholds=thresholds), ALL), of(**given)) == winner


def test_masks_take_their_own_thresholds() -> None:
    config = ModelConfig(thresholds={"liver": 0.8, "spleen": 0.2})
    rule = task_rule(config, ("liver", "spleen"))
    masks, labels = Masks(rule.names, (1, 1, 2)), np.zeros((1, 1, 2), np.uint8)
    probabilities = torch.tensor([[0.75, 0.85], [0.0, 0.0], [0.21, 0.19]]).view(3, 1, 1, 2)
    decide(probabilities, rule, (1, 2), labels, masks, 0)
    assert labels.tolist() == [[[11, 1]]]
    assert masks["liver"].tolist() == [[[False, True]]]
    assert masks["spleen"].tolist() == [[[True, False]]]


def test_a_class_beats_the_background_above_its_share_of_both() -> None:
    config = ModelConfig(architecture="segmenter", classes=("a", "b"))
    rule = class_rule(dataclasses.replace(config, thresholds={"a": 0.8, "b": 0.2}))
    # of a's and the background's, a must have over 4/5; of b's and the background's b over 1/5
    assert [label(rule, p) for p in ([0.2, 0.76, 0.04], [0.15, 0.82, 0.03])] == [0, 1]
    assert [label(rule, p) for p in ([0.81, 0.0, 0.19], [0.79, 0.0, 0.21])] == [0, 2]
    assert label(rule, [0.1, 0.8, 0.1]) == 2  # 0.8 / 4 is less than 0.1 * 4


@settings(max_examples=60, deadline=None)
@hypothesis.given(st.data())
def test_all_thresholds_of_one_half_change_no_bit(data: st.DataObject) -> None:
    exclusive = data.draw(st.booleans())
    shape = (4 if exclusive else 3, 2, 3, 3)
    values = torch.rand(
        shape, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    )
    values = values.softmax(0) if exclusive else values
    plain = LabelRule(("a", "b", "c"), (1, 2, 3), (0, 0, 1), ((0, 1),), exclusive)
    found = []
    for rule in (plain, dataclasses.replace(plain, thresholds=(0.5, 0.5, 0.5))):
        labels, masks = np.zeros((2, 5, 7), np.uint8), Masks(rule.names, (2, 5, 7))
        decide(values, rule, (5, 7), labels, None if exclusive else masks, 0)
        found.append((labels, *(masks[name] for name in rule.names)))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)
