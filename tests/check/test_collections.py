"""Checking collections: cases without labels, and worker processes, one of which may be ended."""

import importlib

import numpy as np
import pytest

from mots_pretrained.check.case import Finding
from mots_pretrained.check.collections import check_collections
from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.tasks import task_named


def test_cases_without_a_label_map_are_worth_a_look(tmp_path):
    """Fault: of KiTS19 with a segmentation missing, nothing but the number of cases told."""
    volume = Volume.with_spacing(np.full((8, 12, 12), -1000, np.int16), (20.0, 20.0, 20.0))
    volume.array[:, 2:10, 2:10] = 40
    files = {}
    for name in ("imaging", "segmentation"):
        files[name] = tmp_path / f"{name}.nii"
        write_like(files[name], (volume.array > 0).astype(np.uint8), volume)
    write_like(files["imaging"], volume.array, volume, dtype=np.int16)
    bare = [CaseFiles(f"kidney_0000{n}", (files["imaging"],)) for n in (5, 6)]
    whole = CaseFiles("kidney_00001", (files["imaging"],), files["segmentation"])
    kidneys = Collection("kidney", tmp_path, (whole, *bare), task_named("kidney"))
    report = check_collections([kidneys], {"kidney_00001": "train"})
    text = "2 without label map, such as kidney_00005"
    assert report.findings == (Finding("labels", text, "", "kidney", problem=False),)
    whole_alone = Collection("kidney", tmp_path, (whole,), task_named("kidney"))
    assert check_collections([whole_alone], {"kidney_00001": "train"}).findings == ()


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
