"""nnU-Net's resampling by this package's, found by its name in any process."""

from __future__ import annotations

import pickle
import sys
import types

import numpy as np
import pytest

from mots_pretrained.export.nnunet_resampling import (
    RESAMPLING,
    Registration,
    register,
    resample_channels,
)
from mots_pretrained.images.resample import resample


def test_resampling_is_this_package_s_own():
    data = np.random.default_rng(0).normal(size=(2, 5, 8, 9)).astype(np.float16)
    found = resample_channels(data, (7, 4, 5), (1, 1, 1), (9, 9, 9))
    np.testing.assert_allclose(found[1], resample(data[1], (7, 4, 5)))
    # 50 voxels of 5 mm make 62.5 of 4 mm: nnU-Net rounds to 62, this package to 63.
    found = resample_channels(data[:, :, :, :5], (0, 0, 0), (5, 5, 6.25), (5, 5, 4.0), True)
    assert found.shape == (2, 5, 8, 8)


def test_channels_are_standardised_before_they_are_resampled():
    data = np.random.default_rng(0).normal(50, 9, (2, 6, 8, 10)).astype(np.float32)
    found = resample_channels(data, (6, 8, 10), (1, 1, 1), (1, 1, 1), standardise=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=(1, 2, 3)), 1, rtol=1e-5)
    plain = resample_channels(data, (6, 8, 10), (1, 1, 1), (1, 1, 1))
    np.testing.assert_allclose(plain, data, rtol=1e-6)


@pytest.fixture
def nnunet(monkeypatch):
    """The module in which nnU-Net looks functions up, as far as it matters here."""
    names = ("nnunetv2", "nnunetv2.preprocessing", "nnunetv2.preprocessing.resampling")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    module = types.ModuleType("no_resampling")
    sys.modules[names[-1]].no_resampling = module
    return module


def test_the_function_is_found_by_its_name(nnunet):
    register()
    assert getattr(nnunet, RESAMPLING) is resample_channels


def test_unpickling_registers_it_in_another_process_too(nnunet):
    assert isinstance(pickle.loads(pickle.dumps(Registration())), Registration)
    assert getattr(nnunet, RESAMPLING) is resample_channels
