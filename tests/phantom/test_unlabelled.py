"""What is painted around labelled organs: a trunk, and only what the map does not have itself."""

import numpy as np
import pytest

from mots_pretrained.phantom.tissues import Look
from mots_pretrained.phantom.unlabelled import _hull, _on_grid, paint_unlabelled

SPACING = (8.0, 8.0, 8.0)
SHAPE = (24, 40, 50)
ORGANS = {1: "liver", 2: "spleen", 3: "aorta"}


@pytest.fixture(scope="module")
def look():
    made = Look(np.random.default_rng(0), "portal", 0.0)
    made.grain = dict.fromkeys(made.grain, 0.0)
    return made


@pytest.fixture(scope="module")
def labels():
    """Liver on the right, spleen on the left, an aorta between them, as canonical boxes."""
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[4:14, 12:28, 8:24] = 1
    drawn[6:12, 20:30, 34:42] = 2
    drawn[:, 22:24, 25:27] = 3
    return drawn


def painted(labels, names, look, field=0.3):
    """All fields of one value: 0.3 is neither a vessel nor bowel."""
    fields = tuple(np.full(labels.shape, value, np.float32) for value in (field, 0.3, 0.0))
    return paint_unlabelled(labels, names, SPACING, look, fields, np.random.default_rng(0))


def has(image, look, tissue):
    return np.abs(image - look.hu[tissue]) < 1


def test_a_trunk_of_fat_and_muscle_lies_around_organs(labels, look):
    image = painted(labels, ORGANS, look)
    assert image.shape == SHAPE
    assert image[:, 0, 0] == pytest.approx(look.hu["air"])
    for tissue in ("fat", "muscle", "visceral_fat", "spongiosa"):
        assert has(image, look, tissue).any(), tissue
    row = image[2, 20]  # from the right through the trunk: outside in
    first = [int(np.flatnonzero(has(row, look, t))[0]) for t in ("fat", "muscle", "visceral_fat")]
    assert first == sorted(first)


def test_the_spine_lies_behind_the_aorta(labels, look):
    bone = has(painted(labels, ORGANS, look), look, "spongiosa")
    where = np.argwhere(bone).mean(axis=0)
    assert where[1] > 24
    assert where[2] == pytest.approx(25.5, abs=1)
    assert not has(painted(labels, {**ORGANS, 4: "vertebrae_L1"}, look), look, "spongiosa").any()


def test_lungs_lie_above_liver_and_spleen_unless_the_map_has_lungs(labels, look):
    lungs = has(painted(labels, ORGANS, look), look, "lung")
    column = lungs[:, 20, 16]  # through the liver, whose top is plane 13
    assert not column[:12].any()
    assert column[18]
    assert not has(painted(labels, {**ORGANS, 9: "lung_left"}, look), look, "lung").any()
    none = painted(np.where(labels == 3, 3, 0), ORGANS, look)  # an aorta alone says no height
    assert not has(none, look, "lung").any()


def test_bowel_is_made_of_the_coarse_field_unless_the_map_has_bowel(labels, look):
    bowel = has(painted(labels, ORGANS, look, 0.6), look, "bowel_wall")
    assert bowel.any()
    assert has(painted(labels, ORGANS, look, 0.8), look, "bowel_fluid").any()
    named = {**ORGANS, 8: "colon"}
    assert not has(painted(labels, named, look, 0.6), look, "bowel_wall").any()


def test_a_hull_is_filled_and_an_empty_slice_has_its_neighbours():
    inside = np.zeros((6, 30, 30), bool)
    inside[:3, 5, 5] = inside[:3, 5, 24] = inside[:3, 24, 5] = inside[:3, 24, 24] = True
    hull = _hull(inside, (10.0, 10.0, 10.0))
    assert hull[0, 15, 15]
    assert not hull[0, 1, 1]
    np.testing.assert_array_equal(hull[5], hull[0])
    assert (hull[1].sum() / 400) == pytest.approx(1, abs=0.15)
    line = np.zeros((2, 9, 9), bool)
    line[:, 4] = True  # no hull of a line
    np.testing.assert_array_equal(_hull(line, SPACING), line)


def test_the_small_grid_is_brought_to_the_maps_linearly():
    small = np.array([0.0, 10.0])[:, None, None]
    assert _on_grid(small, (4, 1, 2))[:, 0, 1].tolist() == [0, 5, 10, 10]
    np.testing.assert_array_equal(_on_grid(small, (2, 1, 1)), small)
