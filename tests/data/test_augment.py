"""Augmentation: what each change does, by hand where it can be."""

import numpy as np
import pytest

from mots_pretrained.data.augment import Augmentation, change_appearance, draw_matrix, draw_mirror

NOTHING = Augmentation(
    scale=(0, (1, 1)),
    rotation=(0, 0),
    mirror=(),
    noise=(0, 0),
    blur=(0, (1, 1)),
    brightness=(0, (1, 1)),
    shift=(0, 0),
    contrast=(0, (1, 1)),
    low_resolution=(0, (1, 1)),
    gamma=(0, (1, 1)),
)


def only(**changes):
    return Augmentation(**{**NOTHING.__dict__, **changes})


def image_of(seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (1, 6, 8, 10)).astype(np.float32)


def test_nothing_changes_nothing():
    image, rng = image_of(), np.random.default_rng(0)
    assert draw_matrix(NOTHING, rng, spacing=(1, 1, 1)) is None
    np.testing.assert_array_equal(change_appearance(image, NOTHING, rng), image)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"brightness": (1, (2, 2))}, lambda x: 2 * x),
        ({"contrast": (1, (0.5, 0.5))}, lambda x: x.mean() + (x - x.mean()) / 2),
        (
            {"gamma": (1, (2, 2))},
            lambda x: x.min() + ((x - x.min()) / np.ptp(x)) ** 2 * np.ptp(x),
        ),
    ],
)
def test_changes_by_formula(changes, expected):
    image = image_of()
    changed = change_appearance(image, only(**changes), np.random.default_rng(0))
    np.testing.assert_allclose(changed, expected(image), atol=1e-5)
    assert changed.dtype == np.float32


def test_noise_has_its_variance_and_blur_takes_it_away():
    flat = np.zeros((1, 40, 40, 40), np.float32)
    noisy = change_appearance(flat, only(noise=(1, 0.1)), np.random.default_rng(1))
    assert 0 < noisy.var() <= 0.1
    assert abs(noisy.mean()) < 0.01
    blurred = change_appearance(noisy, only(blur=(1, (1, 1))), np.random.default_rng(1))
    assert blurred.var() < 0.1 * noisy.var()


def test_low_resolution_keeps_the_field_of_view():
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32), (1, 16, 16, 16))
    lost = change_appearance(ramp, only(low_resolution=(1, (0.5, 0.5))), np.random.default_rng(0))
    assert lost.shape == ramp.shape
    assert np.abs(lost - ramp)[..., 2:-2].max() <= 0.5
    spot = np.zeros((1, 16, 16, 16), np.float32)
    spot[0, 8, 8, 8] = 1
    lost = change_appearance(spot, only(low_resolution=(1, (0.5, 0.5))), np.random.default_rng(0))
    assert lost[0, 8, 8, 8] < 1


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


def test_zoom_is_within_its_range():
    settings = only(scale=(1, (0.85, 1.25)))
    matrices = [
        draw_matrix(settings, np.random.default_rng(seed), spacing=(3, 2, 1)) for seed in range(30)
    ]
    zooms = [1 / np.diag(matrix) for matrix in matrices]
    assert np.ptp(np.array(zooms), axis=1).max() < 1e-12
    assert 0.85 <= np.min(zooms) < 0.95 < 1.15 < np.max(zooms) <= 1.25
