"""Label maps and what their values mean, of one kind a folder."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_labels
from mots_pretrained.images.segmentation import check_label_values, write_segmentation
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
    "text", ['{"vessel": [1]}', '{"organ": 1, "tumour": 2}', '{"organ": [1, 2]}', "[", "[1]"]
)
def test_label_maps_of_other_values_are_not_mixed_in(tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=r"other values .* than these \(organ, tumour\); give"):
        write_segmentation(tmp_path, np.zeros(SCAN.shape, np.uint8), SCAN, VALUES)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.json"]
    assert (tmp_path / "labels.json").read_text() == text
    check_label_values(tmp_path / "elsewhere", VALUES)
