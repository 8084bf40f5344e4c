"""What speaks against a prediction, on phantoms with their labels: upright, flipped, scaled."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from torso_once import torso_once

from mots_pretrained.config import ModelConfig, SeenVolume
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.measures import measure
from mots_pretrained.inference.plausible import find_doubts
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.phantom import task_target

CONFIG = ModelConfig()
ORGANS = ("liver", "kidney", "pancreas", "spleen")


def predicted(flip=None, offset=0.0, scale=1.0, cut=None, without=()):
    """The prediction of a perfect network on a phantom, and what the header makes of the scan."""
    phantom = torso_once(101, domain="liver", shape=(48, 64, 64))
    labels = np.zeros(phantom.labels.shape, np.uint8)
    values = {name: CONFIG.label_values[name] for name in ORGANS}
    for name in ORGANS:
        if name not in without:
            labels[task_target(phantom.labels, name)[0]] = values[name][0]
    image = phantom.image + offset
    if flip is not None:
        image, labels = np.flip(image, flip), np.flip(labels, flip)
    part = slice(cut)
    spacing = [step * scale for step in phantom.spacing]
    volume = Volume.with_spacing(np.ascontiguousarray(image[part]), spacing)
    return Prediction(np.ascontiguousarray(labels[part]), volume, values)


def doubts(config=CONFIG, **how):
    found = predicted(**how)
    return find_doubts(found, config, measure(found))


def kinds(*args, **how):
    return [doubt.kind for doubt in doubts(*args, **how)]


def test_nothing_speaks_against_an_upright_phantom():
    assert [d for d in doubts() if d.category not in ("hepatic_vessel",)] == []


@pytest.mark.parametrize(
    ("flip", "axis", "seen"),
    [
        (0, "head-foot", "above the liver"),
        (1, "front-back", "in front of"),
        (2, "left-right", "left of the spleen"),
    ],
)
def test_a_flipped_scan_is_told(flip, axis, seen):
    (doubt,) = (d for d in doubts(flip=flip) if d.kind == "orientation")
    assert doubt.text.startswith(f"the scan looks flipped {axis} (")
    assert seen in doubt.text


@pytest.mark.parametrize(
    ("offset", "words"), [(1024, "was not applied"), (-1024, "was applied twice")]
)
def test_an_offset_of_1024_is_recognised(offset, words):
    texts = [d.text for d in doubts(offset=offset) if d.kind == "intensity"]
    assert len(texts) == 1
    assert "1024" in texts[0]
    assert words in texts[0]


@pytest.mark.parametrize("flip", [0, 1])
def test_a_head_is_no_trunk(flip):
    """Heads were told to be too narrow, and flipped where bone or air lies as in no trunk."""
    found = predicted(scale=190 / 440, flip=flip)
    head = Prediction(np.minimum(found.labels, 1), found.volume, {"brain": (1,)})
    config = ModelConfig(architecture="segmenter", classes=("brain",))
    told = {d.kind for d in find_doubts(head, config, measure(head))}
    assert not told & {"spacing", "orientation"}


def test_a_trunk_without_a_known_organ_is_read_for_flips():
    """Of a prostate alone, whose name no order of organs has, nothing was told."""
    found = predicted(flip=1)
    own = Prediction(np.minimum(found.labels, 1), found.volume, {"prostate": (1,)})
    config = ModelConfig(architecture="segmenter", classes=("prostate",))
    assert "orientation" in {d.kind for d in find_doubts(own, config, measure(own))}


def test_a_body_19_cm_wide_is_told():
    found = doubts(scale=190 / 440)  # of this phantom's width, in mm
    texts = [d.text for d in found if d.kind == "spacing"]
    assert re.search(
        r"the body is 1[89]\.\d cm wide, adults are 22 to 65 cm: is the spacing of", texts[0]
    )
    assert "spacing" not in kinds()
    assert "spacing" in kinds(scale=2.5)


def test_an_organ_that_is_missing_or_cut_is_told():
    missing = [d for d in doubts(without=["spleen"]) if d.kind == "missing"]
    assert [d.category for d in missing] == ["spleen"]
    liver = np.flatnonzero((predicted().labels == 1).any(axis=(1, 2)))
    cut = doubts(cut=int(liver.mean()))
    (found,) = (d for d in cut if d.category == "liver")
    assert (found.kind, "(head)" in found.text) == ("cut", True)


def test_a_volume_that_training_never_saw_is_told():
    liver = measure(predicted())["liver"].volume_ml

    def with_range(low, high, **how):
        seen = (SeenVolume("liver", low, high, 140, 3),)
        return [
            d for d in doubts(dataclasses.replace(CONFIG, seen_volumes=seen), **how)
            if d.kind == "volume"
        ]  # fmt: skip

    assert with_range(liver - 1, liver + 1) == []
    (large,) = with_range(1, liver - 1)
    assert f"in 140 training scans it measured 1.0 to {liver - 1:,.1f} ml" in large.text
    assert len(with_range(liver + 1, liver + 2)) == 1
    # a part of a liver is smaller than any, and that it is cut is told instead
    half = int(np.flatnonzero((predicted().labels == 1).any(axis=(1, 2))).mean())
    assert with_range(liver - 1, liver + 1, cut=half) == []


def test_organs_of_the_wrong_hu_are_told():
    found = predicted()
    bright = found.volume.array.copy()
    bright[found.labels == CONFIG.label_values["spleen"][0]] += 500
    odd = dataclasses.replace(found, volume=dataclasses.replace(found.volume, array=bright))
    (doubt,) = (d for d in find_doubts(odd, CONFIG, measure(odd)) if d.kind == "intensity")
    assert doubt.category == "spleen"
    assert "HU; 0 to 300 is usual" in doubt.text


def test_a_brain_s_scan_has_no_hu():
    contract = dataclasses.replace(CONFIG.preprocessing, intensity="zscore")
    config = dataclasses.replace(CONFIG, preprocessing=contract)
    assert {*kinds(config, offset=1024, flip=2)} <= {"missing", "cut"}
