import numpy as np
import pytest
from scipy import ndimage

from mots_pretrained.phantom import torso
from mots_pretrained.phantom.labels import LABEL

_SPACING = (4.0, 3.0, 3.0)


def _kidneys(seed: int, phase: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of a healthy right kidney, smoothed by 6 mm and away from its surface."""
    phantom = torso(
        seed,
        domain="kidney",
        lesions=(),
        shape=(40, 64, 64),
        spacing=_SPACING,
        focus="right_kidney",
        phase=phase,
    )
    inside = ndimage.binary_erosion(phantom.labels == LABEL["right_kidney"])
    width = 6.0 / 2.355 / np.array(_SPACING)
    weight = np.maximum(ndimage.gaussian_filter(inside.astype(float), width), 1e-3)
    smooth = ndimage.gaussian_filter(np.where(inside, phantom.image, 0.0), width) / weight
    return smooth[inside], phantom.image[inside]


@pytest.fixture(scope="module")
def portal() -> list[np.ndarray]:
    return [_kidneys(seed, "portal")[0] for seed in range(8)]


@pytest.fixture(scope="module")
def native() -> list[tuple[np.ndarray, np.ndarray]]:
    return [_kidneys(seed, "native") for seed in range(14)]


def test_a_healthy_kidney_with_contrast_is_bright_and_holds_dark_parts(portal):
    """Real portal kidneys: 144 to 236 HU, p90 - p10 22 to 86, in most a part 40 HU under."""
    assert 160 < np.median([np.median(values) for values in portal]) < 215
    spread = [np.subtract(*np.percentile(values, [90, 10])) for values in portal]
    assert 30 < np.median(spread) < 86
    dark = [(values < np.percentile(values, 75) - 40).mean() for values in portal]
    assert np.mean(np.array(dark) > 0.02) >= 0.6


def test_a_native_kidney_is_even(native):
    """Real native kidneys: 14 to 43 HU, and 1.8 to 11 of structure."""
    levels = [np.median(values) for values, _ in native]
    assert 20 < np.median(levels) < 36
    assert 1.5 < np.median([values.std() for values, _ in native]) < 11


def test_some_kidneys_hold_a_stone(native):
    stones = [values.max() > 180 for _, values in native]
    assert 0 < sum(stones) < 10
