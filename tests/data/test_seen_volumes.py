"""How large categories were in training, reckoned by hand."""

from __future__ import annotations

import dataclasses

import numpy as np

from mots_pretrained.config import EncoderConfig, ModelConfig, Preprocessing, SeenVolume
from mots_pretrained.data.case import Case
from mots_pretrained.data.seen_volumes import seen_volumes

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


def test_it_travels_in_the_configuration_and_not_to_other_classes():
    import mots_pretrained as mots

    seen = (SeenVolume("liver", 3.0, 6.0, 3, 0),)
    config = dataclasses.replace(CONFIG, seen_volumes=seen)
    assert ModelConfig.from_json(config.to_json()) == config
    small = dataclasses.replace(
        config, transformer=None, architecture="dodnet", encoder=EncoderConfig(depth=10)
    )
    assert mots.Segmenter.from_scratch(small, out_channels=2).config.seen_volumes == ()
