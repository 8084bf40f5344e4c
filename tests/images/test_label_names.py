"""Names and colours of label values in the NIfTI header, for ITK-SNAP and for 3D Slicer."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np

from mots_pretrained.images.label_names import nifti_extension, write_label_files
from mots_pretrained.images.reading import read_labels
from mots_pretrained.images.volume import Volume, write_like

VALUES = {"liver": 1, 'a "b" <c> & d\n': 2, "left_kidney": 255}


def test_the_header_extension_is_totalsegmentators(tmp_path: Path) -> None:
    labels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    scan = Volume.with_spacing(labels, (3, 2, 1))
    path = tmp_path / "seg.nii.gz"
    write_like(path, labels, scan, extension=nifti_extension(VALUES))
    np.testing.assert_array_equal(read_labels(path).array, labels)
    (extension,) = nib.load(path).header.extensions
    root = ElementTree.fromstring(extension.get_content().rstrip(b"\0"))
    assert root.tag == "CaretExtension"
    rows = root.findall("VolumeInformation/LabelTable/Label")
    assert {row.text: int(row.attrib["Key"]) for row in rows} == {
        "liver": 1, 'a "b" <c> & d ': 2, "left_kidney": 255,
    }  # fmt: skip
    shares = [float(rows[0].attrib[name]) for name in ("Red", "Green", "Blue", "Alpha")]
    np.testing.assert_allclose(shares, (217 / 255, 140 / 255, 74 / 255, 1), atol=1e-5)


def test_label_files_hold_every_value_once(tmp_path: Path) -> None:
    write_label_files(tmp_path, VALUES)
    snap = [row.split(None, 7) for row in (tmp_path / "labels_itksnap.txt").read_text().splitlines()
            if not row.startswith("#")]  # fmt: skip
    assert [row[0] for row in snap] == ["0", "1", "2", "255"]
    assert snap[1] == ["1", "217", "140", "74", "1", "1", "1", '"liver"']
    assert snap[2][7] == "\"a 'b' <c> & d \""
    slicer = (tmp_path / "labels.ctbl").read_text().splitlines()
    assert slicer[0] == "# Color table file labels.ctbl"
    assert slicer[2:4] == ["0 Background 0 0 0 0", "1 liver 217 140 74 255"]
    assert slicer[4].split()[:2] == ["2", 'a_"b"_<c>_&_d'.replace('"', "'")]
    assert len(slicer) == 6
