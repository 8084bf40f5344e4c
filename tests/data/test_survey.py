"""One pass over the files before they are prepared, reading no more than was asked for."""

from pathlib import Path

import numpy as np
import pytest

from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.data.survey import Facts, survey
from mots_pretrained.images import nifti
from mots_pretrained.images.volume import Volume, write_like


@pytest.fixture
def scans(tmp_path):
    """Two scans of two channels each, a file a channel, with values 0, 2, 300 and 0, 7."""
    cases = []
    for name, step, values in (("a", 3.0, (2, 300)), ("b", 5.0, (7,))):
        volume = Volume.with_spacing(np.full((4, 5, 6), -500, np.int16), (step, 2.0, 1.0))
        volume.array[0, 0, 0] = -1000 if name == "b" else -600
        labels = np.zeros(volume.shape, np.int32)
        labels[0, 0, : len(values)] = values
        paths = [tmp_path / f"{name}_{part}.nii" for part in ("0", "1", "label")]
        for path, array in zip(paths, (volume.array, volume.array, labels), strict=True):
            write_like(path, array, volume, dtype=np.int16)
        cases.append(CaseFiles(name, tuple(paths[:2]), paths[2]))
    return Collection("data", tmp_path, tuple(cases))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_all_facts(scans, workers):
    assert survey(scans, intensities=1, values=True, workers=workers) == {
        "a": Facts(2, (3.0, 2.0, 1.0), -600.0, (0, 2, 300)),
        "b": Facts(2, (5.0, 2.0, 1.0), None, (0, 7)),
    }


def test_only_headers_are_read_unless_more_is_asked_for_and_no_file_twice(scans, monkeypatch):
    """Fault 39: label maps and scans were read again for each fact."""
    read, voxels = [], nifti._read_array

    def noted(path, *rest):
        read.append(Path(path).name)
        return voxels(path, *rest)

    monkeypatch.setattr(nifti, "_read_array", noted)
    assert survey(scans)["b"] == Facts(2, (5.0, 2.0, 1.0))
    assert read == []
    survey(scans, intensities=2, values=True)
    assert sorted(read) == ["a_0.nii", "a_label.nii", "b_0.nii", "b_label.nii"]


def test_channels_of_one_file(tmp_path):
    volume = Volume.with_spacing(np.zeros((3, 4, 5, 6), np.int16), (3.0, 2.0, 1.0))
    write_like(tmp_path / "a.nii.gz", volume.array, volume, dtype=np.int16)
    found = Collection("data", tmp_path, (CaseFiles("a", (tmp_path / "a.nii.gz",)),))
    assert survey(found)["a"].channels == 3
