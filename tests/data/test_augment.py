"""Augmentation: as often and as strong as published, a function of the generator alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mots_pretrained.data.augment import (
    PUBLISHED,
    Augmentation,
    change_appearance,
    draw_matrix,
    draw_mirror,
)

NOTHING = Augmentation(
    scale=(0, (1, 1)), rotation=(0, 0), mirror=(), noise=(0, 0.1), blur=(0, (1, 1)),
    brightness=(0, (1, 1)), shift=(0, 0.1), contrast=(0, (1, 1)), low_resolution=(0, (1, 1)),
    gamma=(0, (1, 1)),
)  # fmt: skip


def only(**changes):
    return replace(NOTHING, **changes)


def image_of(channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, 8, 10, 12)).astype(np.float32)


def changed(image, settings, seed=0):
    return change_appearance(image, settings, np.random.default_rng(seed))


def test_nothing_changes_nothing():
    image, rng = image_of(), np.random.default_rng(0)
    assert draw_matrix(NOTHING, rng, spacing=(1, 1, 1)) is None
    np.testing.assert_array_equal(change_appearance(image, NOTHING, rng), image)


def test_it_is_a_function_of_the_generator_and_leaves_the_global_ones():
    strong = Augmentation(noise=(1, 0.1), blur=(1, (0.5, 1)), channels=1)
    image = image_of(2)
    first = changed(image, strong)
    torch.rand(3), np.random.rand(3)
    np.testing.assert_array_equal(changed(image, strong), first)
    assert not np.array_equal(changed(image, strong, seed=1), first)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    changed(image, strong)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    assert torch.get_num_threads() == states[2]
    np.testing.assert_array_equal(image, image_of(2))  # what came in is not changed
    assert first.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"brightness": (1, (2, 2))}, lambda x: 2 * x),
        (
            {"contrast": (1, (2, 2))},
            lambda x: np.clip(x.mean() + 2 * (x - x.mean()), x.min(), x.max()),
        ),
        (
            {"low_resolution": (1, (1, 1)), "channels": 1},
            lambda x: x,
        ),
    ],
)
def test_changes_by_formula(changes, expected):
    image = image_of()
    np.testing.assert_allclose(changed(image, only(**changes)), expected(image), atol=1e-5)


def test_gamma_keeps_mean_and_deviation():
    image = image_of()
    low, high = image.min(), image.max()
    power = low + ((image - low) / (high - low)) ** 2 * (high - low)
    kept = (power - power.mean()) / power.std() * image.std() + image.mean()
    made = changed(image, only(gamma=(1, (2, 2))))
    np.testing.assert_allclose(made, kept, atol=1e-3)
    assert made.mean() == pytest.approx(image.mean(), abs=1e-4)
    assert made.std() == pytest.approx(image.std(), rel=1e-3)


def test_noise_is_given_by_its_deviation():
    """At most 0.1, and uniform below it: over many draws 0.05 on average."""
    flat = np.zeros((1, 16, 16, 16), np.float32)
    deviations = [changed(flat, only(noise=(1, 0.1)), seed).std() for seed in range(200)]
    assert max(deviations) < 0.105
    assert np.mean(deviations) == pytest.approx(0.05, abs=0.01)


PUBLISHED_SHARES = {  # per sample; the second: of the channels of such a sample
    "noise": (0.1, 1.0),
    "blur": (0.2, 0.5),
    "brightness": (0.15, 1.0),
    "shift": (0.15, 0.5),
    "contrast": (0.15, 1.0),
    "low_resolution": (0.25, 0.5),
    "gamma": (0.15, 1.0),
}


@pytest.mark.parametrize("name", PUBLISHED_SHARES)
def test_each_comes_as_often_as_published(name):
    sample, channel = PUBLISHED_SHARES[name]
    settings = only(**{name: getattr(PUBLISHED, name)})
    image, count = image_of(2)[:, :5, :5, :5], 600
    touched = np.array(
        [(changed(image, settings, seed) != image).any(axis=(1, 2, 3)) for seed in range(count)]
    )

    def near(share, expected):
        return abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / count)

    assert near(touched[:, 0].mean(), sample * channel)
    assert near(touched[:, 1].mean(), sample * channel)
    assert near(touched.any(axis=1).mean(), sample * (1 - (1 - channel) ** 2))
    assert near(touched.all(axis=1).mean(), sample * channel**2)


def test_the_published_numbers():
    assert PUBLISHED.scale == (0.2, (0.85, 1.25))
    assert PUBLISHED.mirror == (0, 1, 2)
    assert (PUBLISHED.orders, PUBLISHED.border) == ((3, 1), 0.0)
    assert PUBLISHED.rotation[0] == 0
    assert replace(PUBLISHED, mirror=(2,), orders=(1, 0), border=None) == Augmentation()


def test_a_blur_is_the_same_along_every_axis():
    spot = np.zeros((1, 15, 15, 15), np.float32)
    spot[0, 7, 7, 7] = 1
    blurred = changed(spot, only(blur=(1, (0.9, 0.9)), channels=1))[0]
    np.testing.assert_allclose(blurred, blurred.transpose(1, 2, 0), atol=1e-6)
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    assert blurred[7, 7, 7] < 0.2


def test_low_resolution_keeps_the_field_of_view():
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32), (1, 16, 16, 16))
    lost = changed(ramp, only(low_resolution=(1, (0.5, 0.5)), channels=1))
    assert lost.shape == ramp.shape
    assert 0 < np.abs(lost - ramp)[..., 2:-2].max() <= 0.5
    assert lost.mean() == pytest.approx(ramp.mean(), abs=0.5)


def test_each_allowed_axis_is_mirrored_half_of_the_time():
    drawn = [draw_mirror(only(mirror=(0, 2)), np.random.default_rng(seed)) for seed in range(200)]
    assert {*drawn} == {(), (0,), (2,), (0, 2)}
    assert all(60 < sum(axis in axes for axes in drawn) < 140 for axis in (0, 2))


def test_rotation_turns_the_body_not_the_grid():
    spacing = (4.0, 1.0, 2.0)
    settings = only(rotation=(1, 30))
    matrix = draw_matrix(settings, np.random.default_rng(0), spacing=spacing)
    millimetres = np.diag(spacing) @ matrix @ np.diag(1 / np.array(spacing))
    np.testing.assert_allclose(millimetres @ millimetres.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(millimetres) == pytest.approx(1)
    angle = np.degrees(np.arccos((np.trace(millimetres) - 1) / 2))
    assert 0 < angle <= 30


def test_a_scale_above_one_shows_more_and_both_sides_of_one_come_equally_often():
    settings = only(scale=(1, (0.85, 1.25)))
    scales = np.array([
        np.diag(draw_matrix(settings, np.random.default_rng(seed), spacing=(3, 2, 1)))
        for seed in range(400)
    ])  # fmt: skip
    assert np.ptp(scales, axis=1).max() < 1e-12
    scales = scales[:, 0]
    assert 0.85 <= scales.min() < 0.87 < 1.23 < scales.max() <= 1.25
    assert 160 < (scales < 1).sum() < 240
