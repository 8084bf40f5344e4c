"""A body drawn by hand and a phantom: middle, spine and lungs where they are, however it is cut."""

import numpy as np
import pytest
from torso_once import torso_once

from mots_pretrained.check.landmarks import find_landmarks, thinned

SPACING = (5.0, 4.0, 4.0)


def drawn():
    """A box of a body in air: lungs in the upper third, a spine behind, gas in the bowel."""
    scan = np.full((30, 60, 80), -1000.0)
    scan[:, 10:50, 10:70] = 40  # its middle is (29.5, 39.5)
    scan[20:, 15:40, 15:35] = scan[20:, 15:40, 45:65] = -800
    scan[:, 40:48, 36:44] = 300
    scan[3:8, 15:25, 20:50] = -1000
    scan[:, 56:58, 5:75] = 100  # the couch
    return scan


def test_a_body_drawn_by_hand():
    found = find_landmarks(drawn(), SPACING)
    assert found.middle == pytest.approx((29.5 * 4, 39.5 * 4))
    assert found.spine == pytest.approx((43.5 - 29.5) * 4)
    assert found.lungs == pytest.approx(24.5 / 29 - 0.5)
    assert found.tissue == 40


def test_lungs_are_seen_where_the_field_of_view_cuts_the_chest():
    cut = find_landmarks(drawn()[:, :, 20:60], SPACING)
    assert cut.lungs == pytest.approx(24.5 / 29 - 0.5)
    assert cut.middle[1] == pytest.approx(19.5 * 4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flipped_scan_shows_the_opposite(axis):
    upright, flipped = (find_landmarks(scan, SPACING) for scan in (drawn(), np.flip(drawn(), axis)))
    signs = [-1 if axis == 0 else 1, -1 if axis == 1 else 1]
    assert flipped.lungs == pytest.approx(signs[0] * upright.lungs)
    assert flipped.spine == pytest.approx(signs[1] * upright.spine)


def with_neck(*, lungs, chest, neck, padding=0, couch=0):
    """A chest with lungs in its lower slices and a neck above it, 5 mm each, on a couch."""
    scan = np.full((chest + neck, 60, 80), -1000.0)
    scan[:chest, 10:50, 10:70] = 40
    scan[:lungs, 15:40, 15:35] = scan[:lungs, 15:40, 45:65] = -800
    scan[chest:, 15:45, 25:55] = 40
    scan[:, 50 : 50 + couch, 5:75] = 40
    return np.pad(scan, [(padding, padding), (0, 0), (0, 0)], constant_values=-1000)


@pytest.mark.parametrize(
    "scan",
    [
        with_neck(lungs=14, chest=20, neck=44),  # head and neck down to the carina
        with_neck(lungs=50, chest=55, neck=25),
        with_neck(lungs=14, chest=24, neck=6),  # cut just above the shoulders
        with_neck(lungs=14, chest=20, neck=44, padding=9),
        with_neck(lungs=14, chest=20, neck=44, couch=8),
    ],
)
def test_lungs_below_a_neck_are_at_no_height(scan):
    """They lie below the middle of a scan that is upright, and above that of a flipped one."""
    for turned in (scan, scan[::-1]):
        found = find_landmarks(turned, SPACING)
        assert found is not None
        assert found.lungs is None


def test_lungs_at_the_end_of_an_abdomen_are_at_their_height():
    """Also where its waist is slim, and legs follow."""
    scan = np.concatenate([drawn()[::-1], drawn()[:10], with_neck(lungs=0, chest=1, neck=60)])
    scan[40:60, :, :15] = scan[40:60, :, 65:] = -1000
    assert find_landmarks(scan, SPACING).lungs < -0.3
    assert find_landmarks(scan[::-1], SPACING).lungs > 0.3


def test_gas_in_the_bowel_and_thin_rims_are_no_lungs():
    scan = drawn()
    scan[20:] = scan[10:20]
    assert find_landmarks(scan, SPACING).lungs is None


def test_without_air_or_body_there_is_nothing():
    assert find_landmarks(drawn() + 1024, SPACING) is None
    assert find_landmarks(np.full((4, 8, 8), -1000.0), SPACING) is None


def test_without_bone_there_is_no_spine():
    assert find_landmarks(np.minimum(drawn(), 50), SPACING).spine is None


@pytest.mark.parametrize("domain", ["liver", "lung"])
def test_a_phantom(domain):
    phantom = torso_once(101, domain=domain, shape=(48, 64, 64))
    found = find_landmarks(phantom.image, phantom.spacing)
    assert found.spine > 10
    assert -100 < found.tissue < 100
    if domain == "liver":
        assert found.lungs > 0.2
    else:
        assert abs(found.lungs) < 0.2  # lungs fill the scan: their height tells little


def test_thinning_keeps_what_is_coarse_already():
    thin, step = thinned(np.zeros((10, 100, 100)), (5.0, 0.8, 0.8), 4.0)
    assert thin.shape == (10, 20, 20)
    np.testing.assert_allclose(step, (5.0, 4.0, 4.0))


def test_a_body_s_size_is_told_unless_it_goes_on_beyond_the_scan():
    image = np.full((10, 40, 60), -1000.0)
    image[:, 10:30, 5:55] = 40
    found = find_landmarks(image, (5.0, 8.0, 8.0))
    assert found is not None
    assert found.size == (160.0, 400.0)
    cut = find_landmarks(image[:, :, 20:], (5.0, 8.0, 8.0))
    assert cut is not None
    assert cut.size == (160.0, None)
    # thinned to every second voxel, the air beside it is not overlooked
    beside = np.full((10, 40, 1), -1000.0)
    tight = find_landmarks(
        np.concatenate([beside, image[:, :, 5:55], beside], axis=2), (5.0, 2.0, 2.0)
    )
    assert tight is not None
    assert tight.size[1] == pytest.approx(100.0, abs=5)
