"""How large categories were in training, reckoned by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mots_pretrained.config import EncoderConfig, ModelConfig, Preprocessing, SeenVolume
from mots_pretrained.data.case import Case
from mots_pretrained.data.seen_volumes import seen_volumes, with_seen_volumes
from mots_pretrained.data.stored_case import StoredCase, write_case
from mots_pretrained.tasks import IGNORED

CONFIG = ModelConfig(preprocessing=Preprocessing(spacing=(10.0, 10.0, 10.0)))  # 1 ml a voxel


def case(organ, tumour, labelled=(True, True), task=0):
    """A case whose organ and tumour are boxes of so many voxels; from 0 on, or within."""
    target = np.zeros((2, 6, 6, 6), np.uint8)
    for channel, (first, last) in enumerate((organ, tumour)):
        target[channel, first:last, 1, 1] = 1
    return Case(np.zeros((1, 6, 6, 6), np.float32), target, labelled, (task,))


def test_the_range_is_of_whole_organs_below_and_of_all_above():
    cases = [
        case((1, 4), (1, 2)),
        case((0, 2), (3, 3)),  # cut by the border, no tumour
        case((0, 6), (1, 3)),
        case((1, 3), (1, 3), (True, False), task=6),  # a spleen
    ]
    assert seen_volumes(cases, CONFIG) == (
        SeenVolume("liver", 3.0, 6.0, 3, 0),
        SeenVolume("liver_tumour", 1.0, 2.0, 2, 1),
        SeenVolume("spleen", 2.0, 2.0, 1, 0),
    )


@pytest.mark.parametrize("exclusive", [True, False])
def test_classes_and_regions_of_stored_cases_are_read_at_their_border_alone(exclusive, tmp_path):
    config = dataclasses.replace(
        CONFIG,
        architecture="segmenter",
        classes=("a", "b", "c"),
        exclusive=exclusive,
        preprocessing=dataclasses.replace(CONFIG.preprocessing, spacing=(10.0, 10.0, 10.0)),
    )
    target = np.zeros((1 if exclusive else 3, 9, 8, 7), np.uint8)
    target[:, 1:3, 1:3, 1:3] = 1
    target[-1, 4:6, 1:4, 4:7] = 2 if exclusive else 1  # reaches the last column
    target[0, 8, 7, 6] = IGNORED
    made = Case(np.zeros((1, 9, 8, 7), np.float32), target, (True,) * len(target))
    folder = tmp_path / "case"
    folder.mkdir()
    step, classes = write_case(folder, made)
    stored = StoredCase.at(
        *(folder,), name="x", channels=1, shape=made.shape, labelled=made.labelled, tasks=(),
        step=step, classes=classes,
    )  # fmt: skip
    whole = (SeenVolume("a", 8.0, 8.0, 1, 0),)
    if not exclusive:
        whole += (SeenVolume("b", 8.0, 8.0, 1, 0),)
    assert seen_volumes([made], config) == seen_volumes([stored], config) == whole
    partly = dataclasses.replace(made, labelled=(False, True, True))
    assert seen_volumes([partly], config) == whole[1:]


def test_limits_are_those_of_voxels_not_of_tenths():
    """0.072 ml, rounded to 0.1, were more than the 0.072 ml of the scan that it was measured in."""
    contract = dataclasses.replace(CONFIG.preprocessing, spacing=(4.0, 3.0, 3.0))
    config = dataclasses.replace(CONFIG, preprocessing=contract)
    assert seen_volumes([case((1, 3), (1, 2))], config) == (
        SeenVolume("liver", 0.072, 0.072, 1, 0),
        SeenVolume("liver_tumour", 0.036, 0.036, 1, 0),
    )


def test_a_later_training_replaces_what_it_measures_and_keeps_the_rest():
    old = (SeenVolume("liver", 9.0, 9.5, 8, 0), SeenVolume("pancreas", 1.0, 2.0, 8, 0))
    config = dataclasses.replace(CONFIG, seen_volumes=old)
    assert with_seen_volumes(config, [case((1, 4), (1, 2))]).seen_volumes == (
        SeenVolume("liver", 3.0, 3.0, 1, 0),
        old[1],
        SeenVolume("liver_tumour", 1.0, 1.0, 1, 0),
    )


def test_it_travels_in_the_configuration_and_not_to_other_classes():
    import mots_pretrained as mots

    seen = (SeenVolume("liver", 3.0, 6.0, 3, 0),)
    config = dataclasses.replace(CONFIG, seen_volumes=seen)
    assert ModelConfig.from_json(config.to_json()) == config
    small = dataclasses.replace(
        config, transformer=None, architecture="dodnet", encoder=EncoderConfig(depth=10)
    )
    assert mots.Segmenter.from_scratch(small, out_channels=2).config.seen_volumes == ()


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_class_that_a_case_does_not_label_is_not_without_it(exclusive):
    """A case that says nothing of the spleen was counted as one that has none."""
    contract = Preprocessing(spacing=(10.0, 10.0, 10.0))
    config = dataclasses.replace(
        CONFIG, architecture="segmenter", classes=("liver", "spleen"),
        exclusive=exclusive, preprocessing=contract,
    )  # fmt: skip
    target = np.zeros((1 if exclusive else 2, 6, 6, 6), np.uint8)
    target[0, 2:4, 2:4, 2:4] = 1  # 8 ml of liver
    image = np.zeros((1, 6, 6, 6), np.float32)
    partly, wholly = (Case(image, target, known, ()) for known in ((True, False), (True, True)))
    assert seen_volumes([partly], config) == (SeenVolume("liver", 8.0, 8.0, 1, 0),)
    target = target.copy()
    target[-1, 4, 4, 4] = 2 if exclusive else 1  # 1 ml of spleen
    found = seen_volumes([partly, wholly, Case(image, target, (True, True), ())], config)
    assert found[1] == SeenVolume("spleen", 1.0, 1.0, 1, 1)
