"""Label maps and what their values mean, of one kind a folder."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from dicom_series import voxels, write_series

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.images.reading import read_labels, read_volume
from mots_pretrained.images.segmentation import (
    FORMATS,
    check_formats,
    check_label_values,
    write_segmentation,
)
from mots_pretrained.images.volume import Volume

SCAN = Volume.with_spacing(np.zeros((3, 4, 5), np.int16), (3.0, 2.0, 1.0), name="ct")
VALUES = {"organ": (1, 2), "tumour": (2,)}


def test_values_are_named_beside_the_label_map(tmp_path):
    labels = np.zeros(SCAN.shape, np.uint8)
    labels[0, 0, :2] = 1, 2
    path = write_segmentation(tmp_path, labels, SCAN, VALUES)["nifti"]
    assert path == tmp_path / "ct_seg.nii.gz"
    assert json.loads((tmp_path / "labels.json").read_text()) == {"organ": [1, 2], "tumour": 2}
    np.testing.assert_array_equal(read_labels(path).array, labels)
    other = dataclasses.replace(SCAN, name="mr")
    write_segmentation(tmp_path, labels, other, VALUES)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "ct_seg.nii.gz", "labels.ctbl", "labels.json", "labels_itksnap.txt", "mr_seg.nii.gz",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"vessel": [1]}', "organ was not there and is [1, 2]"),
        ('{"organ": 1, "tumour": 2}', "organ was 1 and is [1, 2]"),
        ('{"organ": [1, 2]}', "tumour was not there and is 2"),
        ('{"organ": [1, 2], "tumour": 2, "a": null}', "a was None and is not there"),
        ("[", "nothing readable"),
        ("[1]", "nothing readable"),
    ],
)
def test_label_maps_of_other_values_are_not_mixed_in(tmp_path, text, told):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=f"other values than these: {re.escape(told)}; give"):
        write_segmentation(tmp_path, np.zeros(SCAN.shape, np.uint8), SCAN, VALUES)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.json"]
    assert (tmp_path / "labels.json").read_text() == text
    check_label_values(tmp_path / "elsewhere", VALUES)


def test_dicom_results_need_a_dicom_scan(tmp_path: Path) -> None:
    scan = Volume.with_spacing(np.zeros((3, 4, 5), np.int16), (3, 2, 1), name="ct")
    for kind in ("dicom-seg", "rtstruct"):
        with pytest.raises(UserError, match=f"format {kind} refers to a DICOM series, and this"):
            write_segmentation(tmp_path, scan.array, scan, VALUES, formats=["nifti", kind])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnknownNameError, match="unknown format 'stl'; allowed are nifti, nrrd"):
        check_formats(["stl"], dicom=True)
    with pytest.raises(UserError, match="no format given"):
        check_formats([], dicom=True)


def test_every_format_has_its_own_file(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", voxels((3, 6, 7)))
    volume = read_volume(tmp_path / "ct")
    labels = np.ones(volume.shape, np.uint8)
    written = write_segmentation(tmp_path, labels, volume, {"liver": (1,)}, formats=list(FORMATS))
    assert {name: path.name for name, path in written.items()} == {
        "nifti": "ct_seg.nii.gz", "nrrd": "ct.seg.nrrd", "dicom-seg": "ct_seg.dcm",
        "rtstruct": "ct_rtstruct.dcm", "nnunet": "ct.nii.gz",
    }  # fmt: skip
    assert all(path.is_file() for path in written.values())
