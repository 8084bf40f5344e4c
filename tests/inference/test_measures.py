"""What is measured of a category, reckoned by hand."""

from __future__ import annotations

import numpy as np
import pytest
from measured_prediction import prediction

from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.measures import Measures, measure
from mots_pretrained.inference.prediction import Prediction


def test_volume_values_and_place():
    found = measure(prediction())
    organ = found["organ"]
    assert organ.volume_ml == pytest.approx(0.3)  # three voxels of 100 mm3
    assert (organ.mean, organ.median) == (30.0, 20.0)
    assert organ.sd == pytest.approx(np.std([10, 20, 60]), abs=0.05)
    assert (organ.p5, organ.p95) == (11.0, 56.0)
    # the world runs to the right, the front and the head; the array to left, back and head
    assert organ.centroid_mm == (-4.0, -10.0, 10.0)
    assert organ.box_mm == ((-6.0, -10.0, 10.0), (-2.0, -10.0, 10.0))
    assert organ.border == ()
    assert found["tumour"].volume_ml == pytest.approx(0.1)
    assert found["corner"].border == ("head", "front", "left")
    assert found["absent"] == Measures(0.0)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.int32])
def test_values_are_numpy_s_whether_counted_or_kept(dtype):
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, (7, 8, 9)).astype(np.uint8)
    scan = np.clip(rng.normal(40, 60, labels.shape), 0, 255).astype(dtype)
    if np.dtype(dtype).kind != "u":
        scan = scan - dtype(100)
    volume = Volume.with_spacing(scan, (1.0, 1.0, 1.0))
    found = measure(Prediction(labels, volume, {"a": (1, 2), "b": (2,)}))
    for name, values in (("a", (1, 2)), ("b", (2,))):
        inside = scan[np.isin(labels, values)].astype(np.float64)
        told = found[name]
        p5, median, p95 = np.percentile(inside, (5, 50, 95))
        expected = [inside.mean(), median, inside.std(), p5, p95]
        assert [told.mean, told.median, told.sd, told.p5, told.p95] == pytest.approx(
            expected, abs=0.051
        )
        middle = np.argwhere(np.isin(labels, values)).mean(axis=0)
        assert told.centroid_mm == pytest.approx((-middle[2], -middle[1], middle[0]), abs=0.051)


def test_the_volumes_are_those_of_the_label_map():
    one = prediction()
    assert {n: m.volume_ml for n, m in measure(one).items()} == pytest.approx(one.volumes)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_largest_value_of_a_type_is_measured(dtype):
    """255 of uint8 ended the scan in an OverflowError, after the network had run."""
    largest = int(np.iinfo(dtype).max)
    labels = np.zeros((4, 5, 6), dtype)
    labels[1:3, 1:3, 1:3] = largest
    volume = Volume.with_spacing(np.full(labels.shape, 40, np.int16), (1.0, 1.0, 1.0))
    found = measure(Prediction(labels, volume, {"mask": (largest,)}))["mask"]
    assert (found.volume_ml, found.mean, found.border) == (0.008, 40.0, ())


def test_values_of_small_units_keep_their_digits():
    """All of a scan in thousandths, as some MRI is stored, was 0.0."""
    labels = np.ones((1, 1, 5), np.uint8)
    scan = np.array([0.012, 0.014, 0.016, 0.018, 0.04], np.float32).reshape(1, 1, 5)
    volume = Volume.with_spacing(scan, (1.0, 1.0, 1.0))
    found = measure(Prediction(labels, volume, {"a": (1,)}))["a"]
    assert (found.mean, found.median) == (0.02, 0.016)
    assert found.sd == pytest.approx(0.0102, abs=1e-4)
    assert found.p95 == pytest.approx(0.0356, abs=1e-6)
