"""The library's changes: as often and as strong as told, a function of the generator alone."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from mots_pretrained.data.augment import Augmentation, change_appearance

pytest.importorskip("batchgeneratorsv2")

LIBRARY = Augmentation(engine="batchgeneratorsv2")
OFF = replace(
    LIBRARY,
    noise=(0, 0.1),
    blur=(0, (1, 1)),
    brightness=(0, (1, 1)),
    shift=(0, 0.1),
    contrast=(0, (1, 1)),
    low_resolution=(0, (1, 1)),
    gamma=(0, (1, 1)),
)


def image_of(channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, 8, 10, 12)).astype(np.float32)


def changed(image, settings, seed=0):
    return change_appearance(image, settings, np.random.default_rng(seed))


def test_it_is_a_function_of_the_generator_and_leaves_the_global_ones():
    image, strong = image_of(2), replace(LIBRARY, noise=(1, 0.1), blur=(1, (0.5, 1)))
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    first = changed(image, strong)
    torch.rand(3), np.random.rand(3)
    np.testing.assert_array_equal(changed(image, strong), first)
    assert not np.array_equal(changed(image, strong, seed=1), first)
    torch.set_rng_state(states[0])
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    changed(image, strong)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert torch.get_num_threads() == states[2]
    np.testing.assert_array_equal(image, image_of(2))  # what came in is not changed
    assert first.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, lambda x: x),
        ({"brightness": (1, (2, 2))}, lambda x: 2 * x),
        (
            {"contrast": (1, (2, 2))},
            lambda x: np.clip(x.mean() + 2 * (x - x.mean()), x.min(), x.max()),
        ),
        ({"gamma": (1, (2, 2))}, lambda x: x.min() + ((x - x.min()) / np.ptp(x)) ** 2 * np.ptp(x)),
    ],
)
def test_changes_by_formula(changes, expected):
    image = image_of()
    np.testing.assert_allclose(changed(image, replace(OFF, **changes)), expected(image), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise", (0.1, 0.1)),
        ("blur", (0.2, (0.5, 1.0))),
        ("brightness", (0.15, (0.75, 1.25))),
        ("shift", (0.15, 0.1)),
        ("contrast", (0.15, (0.75, 1.25))),
        ("low_resolution", (0.25, (0.5, 1.0))),
        ("gamma", (0.15, (0.7, 1.5))),
    ],
)
def test_each_comes_as_often_as_published(name, value):
    image, settings = image_of()[:, :4, :4, :4], replace(OFF, **{name: value})
    touched = [not np.array_equal(changed(image, settings, seed), image) for seed in range(400)]
    p = value[0]
    assert abs(np.mean(touched) - p) < 4 * np.sqrt(p * (1 - p) / 400)


def test_without_the_library_the_message_names_the_extra():
    code = """
import sys
sys.modules["batchgeneratorsv2"] = None
import numpy as np
from mots_pretrained.data.augment import Augmentation, change_appearance
try:
    change_appearance(np.zeros((1, 4, 4, 4), np.float32), Augmentation(engine="batchgeneratorsv2"),
                      np.random.default_rng(0))
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mots_pretrained[train]'" in done.stdout
