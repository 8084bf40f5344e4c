"""Memory of this process, and arrays that lie in files."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from mots_pretrained.memory import Scratch, added_bytes, held_bytes
from mots_pretrained.stages import peak_memory_mb

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_arrays_in_files_are_arrays_like_others(tmp_path):
    scratch = Scratch(tmp_path / "made", {"slab"})
    there, here = (scratch.zeros(name, (3, 4, 5), np.float32) for name in ("slab", "labels"))
    assert not there.any()
    assert there.shape == here.shape
    there[1], here[1] = 7, 7
    scratch.release()
    np.testing.assert_array_equal(there, here)
    assert [*(tmp_path / "made").iterdir()] == []  # a file without a name
    assert scratch.zeros("slab", (0, 4), np.uint8).shape == (0, 4)


def test_a_full_disk_is_an_error_and_no_signal(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        Scratch(tmp_path, {"slab"}).zeros("slab", (9,), np.uint8)


@linux
def test_what_work_takes_is_measured_and_the_run_s_peak_is_kept():
    before = peak_memory_mb()["process"]
    added = added_bytes(lambda: np.ones(40_000_000, np.uint8).sum())
    assert 38e6 < added < 60e6
    assert added_bytes(lambda: np.ones(1000, np.uint8).sum()) < 5e6  # not that of the work before
    assert peak_memory_mb()["process"] >= before
    assert held_bytes() < (peak_memory_mb()["process"] + 1) << 20


@linux
def test_files_take_no_memory_once_released(tmp_path):
    if os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize < 1 << 28:
        pytest.skip("no room for a file of 100 MB")
    scratch = Scratch(tmp_path, {"slab"})
    slab = scratch.zeros("slab", (50, 2_000_000), np.uint8)

    def fill() -> None:
        for index in range(50):
            slab[index] = index
            scratch.release()

    assert added_bytes(fill) < 20e6
    assert slab[:, 0].tolist() == [*range(50)]


@linux
def test_zeros_that_nobody_writes_take_no_memory() -> None:
    scratch = Scratch()
    kept: list[np.ndarray] = []
    added = added_bytes(
        lambda: kept.append(scratch.zeros("labels", (1 << 27,), np.uint8, sparse=True))
    )
    assert added < 4 << 20
    assert added_bytes(lambda: kept[0][: 1 << 26].fill(1)) > 60 << 20
    assert kept[0][-1] == 0


def test_memory_that_the_system_refuses_is_no_full_disk() -> None:
    for sparse in (False, True):
        with pytest.raises(MemoryError):
            Scratch().zeros("labels", (1 << 60,), np.uint8, sparse=sparse)
