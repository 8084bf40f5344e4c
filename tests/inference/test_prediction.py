"""A prediction's volumes and masks, counted by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.labels import Masks
from mots_pretrained.inference.prediction import Prediction

VALUES = {"liver": (1, 2, 5), "liver_tumour": (2,), "vessel": (5,)}


def prediction(masks=None):
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[0, 0] = 1, 2, 2, 5
    volume = Volume.with_spacing(np.zeros((2, 3, 4), np.int16), (10.0, 10.0, 10.0))  # 1 ml each
    return Prediction(labels, volume, VALUES, masks)


def test_a_category_s_volume_counts_all_that_lies_in_it():
    found = prediction()
    assert found.volumes == pytest.approx({"liver": 4.0, "liver_tumour": 2.0, "vessel": 1.0})
    assert found.values == {"liver": 1, "liver_tumour": 2, "vessel": 5}
    assert found.mask("liver")[0, 0].tolist() == [True] * 4
    assert found.mask_volumes == found.volumes


def test_masks_of_their_own_come_before_the_label_map():
    masks = Masks(tuple(VALUES), (2, 3, 4))
    masks["liver"] = np.arange(24).reshape(2, 3, 4) < 6
    found = prediction(masks)
    assert found.mask_volumes == pytest.approx({"liver": 6.0, "liver_tumour": 0, "vessel": 0})
    assert found.volumes["liver"] == pytest.approx(4)
    with pytest.raises(UnknownNameError, match="no category 'spleen' here; there are: liver"):
        found.mask("spleen")


def test_probabilities_are_written_with_names_and_the_grid_of_the_network(tmp_path):
    found = prediction()
    with pytest.raises(UserError, match="no probabilities were kept"):
        found.save_probabilities(tmp_path / "p.npz")
    kept = np.linspace(0, 1, 4 * 1 * 3 * 2).reshape(4, 1, 3, 2).astype(np.float16)
    found = dataclasses.replace(found, probabilities=kept)
    found.save_probabilities(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as stored:
        np.testing.assert_array_equal(stored["probabilities"], kept)
        assert stored["probabilities"].dtype == np.float16
        assert stored["names"].tolist() == ["background", *VALUES]
        # half as many voxels along depth and width: the first lies between the scan's first two
        place = stored["affine"] @ (0, 0, 0, 1)
        np.testing.assert_allclose(place, found.volume.affine @ (0.5, 0, 0.5, 1))
        assert np.linalg.norm(stored["affine"][:3, :3], axis=0).tolist() == [20, 10, 20]
