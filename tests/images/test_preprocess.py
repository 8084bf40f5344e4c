"""The contract at the door: spacing, CT numbers, channels, and warnings with their reason."""

import numpy as np
import pytest

from mots_pretrained.config import Preprocessing
from mots_pretrained.images.preprocess import (
    contract_shape,
    lowest_value,
    preprocess,
    scale_hounsfield,
)
from mots_pretrained.images.volume import Volume

CT = Preprocessing(spacing=(4.0, 3.0, 3.0))
MRI = Preprocessing(spacing=(1, 1, 1), intensity="zscore", channels=("t1", "t2"))


def scan(low: float = -1000, high: float = 400, shape: tuple[int, ...] = (6, 8, 10)) -> Volume:
    array = np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(np.int16)
    return Volume.with_spacing(array, (4.0, 3.0, 3.0), name="scan")


def test_hounsfield_units_are_clipped_and_scaled() -> None:
    image = np.array([-2000, -325, 0, 162.5, 325, 3000], np.float32)
    scale_hounsfield(image, (-325, 325))
    assert image.tolist() == [-1, -1, 0, 0.5, 1, 1]
    image = np.array([-100, 0, 300], np.float32)
    scale_hounsfield(image, (-100, 300))
    assert image.tolist() == [-1, -0.5, 1]


def test_ct_at_the_contract_s_spacing_is_only_scaled() -> None:
    volume = scan()
    expected = np.clip(volume.array / 325, -1, 1)
    image = preprocess(volume, CT)
    assert image.dtype == np.float32
    assert image.shape == (1, 6, 8, 10)
    np.testing.assert_allclose(image[0], expected, atol=1e-6)


def test_resampling_comes_before_clipping() -> None:
    # air beside bone: half of each is what a coarser scanner would have seen
    array = np.full((2, 2, 8), -1000, np.int16)
    array[..., 4:] = 1100
    volume = Volume.with_spacing(array, (4.0, 3.0, 1.0))
    image = preprocess(volume, Preprocessing(spacing=(4.0, 3.0, 8.0)))
    assert image.ravel() == pytest.approx([50 / 325] * 4, abs=1e-5)


def test_mri_is_scored_over_its_non_zero_voxels() -> None:
    array = np.zeros((2, 2, 2, 2), np.float32)
    array[0, 0] = [[1, 2], [3, 6]]
    array[1] = 5
    array[1, 0, 0, 0] = 9
    image = preprocess(Volume.with_spacing(array, (1, 1, 1)), MRI)
    np.testing.assert_allclose(
        image[0, 0], (np.array([[1, 2], [3, 6]]) - 3) / np.sqrt(3.5), rtol=1e-5
    )
    assert not image[0, 1].any()
    assert image[1].mean() == pytest.approx(0, abs=1e-6)
    assert image[1].std() == pytest.approx(1, rel=1e-5)


def test_a_constant_channel_is_warned_of() -> None:
    array = np.zeros((2, 3, 3, 3), np.float32)
    array[0, 0] = 7
    array[0, 1] = 8
    with pytest.warns(UserWarning, match="channel 2 holds one value only"):
        assert not preprocess(Volume.with_spacing(array, (1, 1, 1)), MRI)[1].any()


@pytest.mark.parametrize(
    ("low", "high", "reason"),
    [
        (0, 255, "run from 0 to 255, so nothing lies below -200"),
        (-1, 1, "run from -1 to 1, so nothing lies below -200"),
        (0, 4095, "run from 0 to 4095, so nothing lies below -200"),
        (-1024, -900, "nothing lies above -150"),
    ],
)
def test_what_is_plainly_no_ct_is_warned_of(low: float, high: float, reason: str) -> None:
    with pytest.warns(UserWarning, match=f"scan does not look like a CT.*{reason}"):
        preprocess(scan(low, high), CT)


def test_channels_must_be_the_contract_s() -> None:
    with pytest.raises(ValueError, match=r"scan has 1 channel, the model expects 2.*t1, t2"):
        preprocess(scan(), MRI)
    four = Volume.with_spacing(np.zeros((4, 3, 3, 3), np.int16), (1, 1, 1), name="brain")
    with pytest.raises(ValueError, match=r"brain has 4 channels, the model expects 1 channel"):
        contract_shape(four, CT)


def test_an_absurd_spacing_does_not_exhaust_memory() -> None:
    metres = Volume.with_spacing(np.zeros((100, 100, 100), np.int16), (100, 100, 100))
    with pytest.raises(ValueError, match="would cover 10 x 10 x 10 m"):
        preprocess(metres, CT)


def test_what_surrounds_a_scan() -> None:
    assert (lowest_value(CT), lowest_value(MRI)) == (-1.0, 0.0)
