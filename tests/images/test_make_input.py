"""From a file, a file a channel or a volume to what a network reads."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from small_scans import ramp

from mots_pretrained.config import Preprocessing
from mots_pretrained.images.make_input import MakeInput, read_scan
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.volume import Volume, write_like

SPACING = (4.0, 3.0, 2.0)
CONTRACT = Preprocessing(spacing=SPACING, clip=(-100.0, 100.0))


def stored(path: Path, array: np.ndarray) -> Path:
    write_like(path, array, Volume.with_spacing(array, SPACING), dtype=np.int16)
    return path


def test_a_scan_becomes_a_float32_tensor_with_a_channel(tmp_path: Path) -> None:
    array = (ramp() - np.int16(105)) * np.int16(3)
    path = stored(tmp_path / "ct.nii.gz", array)
    found = MakeInput(CONTRACT)(path)
    assert (found.dtype, tuple(found.shape)) == (torch.float32, (1, 5, 6, 7))
    np.testing.assert_allclose(found[0].numpy(), np.clip(array / 100, -1, 1), atol=1e-6)
    again = pickle.loads(pickle.dumps(MakeInput(CONTRACT)))  # as workers get it
    assert torch.equal(again(str(path)), found)
    assert torch.equal(again(Volume.with_spacing(array, SPACING)), found)


def test_one_file_a_channel_is_stacked_in_the_order_given(tmp_path: Path) -> None:
    contract = Preprocessing(spacing=SPACING, intensity="zscore", channels=("t1", "t2"))
    one, two = stored(tmp_path / "1.nii", ramp() + 1), stored(tmp_path / "2.nii", ramp() ** 2 % 97)
    found = MakeInput(contract)([one, two])
    assert tuple(found.shape) == (2, 5, 6, 7)
    expected = preprocess(Volume.with_spacing(np.stack([ramp() + 1, ramp() ** 2 % 97]), SPACING),
                          contract)  # fmt: skip
    np.testing.assert_array_equal(found.numpy(), expected)
    assert torch.equal(MakeInput(contract)((two, one))[0], found[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_volume_with_voxels_that_are_not_finite_is_refused_as_a_file_is(bad, channels) -> None:
    array = np.stack([ramp().astype(np.float32)] * channels)
    array[-1, 2, 3, 4] = bad
    for own in (array, np.asfortranarray(array), array[:, ::2]):
        message = rf"^scan: 1 of {own.size} voxels are NaN or infinite; replace them first"
        with pytest.raises(ValueError, match=message):
            read_scan(Volume.with_spacing(own, SPACING, name="scan"))


def test_a_sheared_volume_is_read_on_a_straight_grid() -> None:
    straight = Volume.with_spacing(ramp(), SPACING)
    assert read_scan(straight) is straight
    affine = straight.affine.copy()
    affine[1, 0] = 1.0  # each slice lies a millimetre further to the front
    with pytest.warns(UserWarning, match=r"tilted by 14\.0 degrees"):  # atan(1 / 4)
        assert read_scan(Volume(ramp(), affine)).shape == (5, 8, 7)
