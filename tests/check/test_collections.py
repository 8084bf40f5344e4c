"""Checking collections in worker processes, one of which may be ended."""

import importlib

import numpy as np
import pytest

from mots_pretrained.check.collections import check_collections
from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.tasks import task_named


@pytest.mark.long
def test_a_killed_worker_is_told_in_one_line(tmp_path, monkeypatch):
    """Fault 32: the pool's own exception came through, with a traceback of the program."""
    volume = Volume.with_spacing(np.full((8, 12, 12), -1000, np.int16), (20.0, 20.0, 20.0))
    volume.array[:, 2:10, 2:10] = 40
    cases = []
    for name in "ab":
        scan, label = tmp_path / f"{name}.nii", tmp_path / f"{name}_label.nii"
        write_like(scan, volume.array, volume, dtype=np.int16)
        write_like(label, (volume.array > 0).astype(np.uint8), volume)
        cases.append(CaseFiles(name, (scan,), label))
    spleens = Collection("spleen", tmp_path, tuple(cases), task_named("spleen"))
    split = {"a": "train", "b": "test"}
    (first, second) = check_collections([spleens], split, workers=2).cases
    assert (first.identifier, second.identifier) == ("a", "b")
    (tmp_path / "end_it.py").write_text("import os\ndef draw(*_):\n    os._exit(9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    draw = importlib.import_module("end_it").draw
    with pytest.raises(UserError, match=r"a worker process died.*fewer workers"):
        check_collections([spleens], split, workers=2, picture=draw)
