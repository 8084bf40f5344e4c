"""Names, headers and lists of the public collections, as their downloads unpack."""

import json

import nibabel as nib
import numpy as np
import pytest

from mots_pretrained.images.reading import read_volume
from mots_pretrained.phantom.layouts import (
    DECATHLON,
    Header,
    bcv_layout,
    mots_layout,
    write_dataset_json,
    write_scan,
)
from mots_pretrained.tasks import MOTS_TASKS, task_named


@pytest.mark.parametrize(
    ("task", "index", "image", "label"),
    [
        ("liver", 27, "LiTS/Training Batch 1/volume-27.nii",
         "LiTS/Training Batch 1/segmentation-27.nii"),
        ("liver", 28, "LiTS/Training Batch 2/volume-28.nii",
         "LiTS/Training Batch 2/segmentation-28.nii"),
        ("kidney", 5, "kits19/data/case_00005/imaging.nii.gz",
         "kits19/data/case_00005/segmentation.nii.gz"),
        ("hepatic_vessel", 0, "Task08_HepaticVessel/imagesTr/hepaticvessel_001.nii.gz",
         "Task08_HepaticVessel/labelsTr/hepaticvessel_001.nii.gz"),
        ("spleen", 9, "Task09_Spleen/imagesTr/spleen_10.nii.gz",
         "Task09_Spleen/labelsTr/spleen_10.nii.gz"),
    ],
)  # fmt: skip
def test_a_case_lies_where_the_download_has_it(task, index, image, label):
    layout = mots_layout(task, index)
    assert (layout.image, layout.label) == (image, label)
    assert layout.identifier in image


def test_unlabelled_scans_of_the_decathlon_lie_apart():
    assert mots_layout("lung", 2, labelled=False).image == "Task06_Lung/imagesTs/lung_003.nii.gz"


@pytest.mark.parametrize("task", [task.name for task in MOTS_TASKS])
def test_no_two_cases_share_a_file(task):
    layouts = [mots_layout(task, index) for index in range(40)]
    assert len({layout.image for layout in layouts}) == 40
    assert len({layout.identifier for layout in layouts}) == 40


def test_bcv_has_the_numbers_of_its_download_and_goes_on_after_them():
    numbers = [int(bcv_layout(index).identifier[3:]) for index in range(32)]
    assert numbers == [*range(1, 11), *range(21, 43)]
    assert bcv_layout(10).label == "label/label0021.nii.gz"


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "IPL"])
@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (0, 1), (2, 0)])
def test_scans_are_turned_to_the_axes_of_their_collection(tmp_path, axes, sform, qform):
    array = np.arange(3 * 4 * 5).reshape(3, 4, 5) * 3 - 50.4
    header = Header(axes, sform=sform, qform=qform)
    path = tmp_path / "a" / "b" / "scan.nii.gz"
    write_scan(path, array, (4.0, 3.0, 2.0), header=header, dtype="int16")
    image = nib.load(path)
    assert nib.aff2axcodes(image.affine) == tuple(axes)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (sform, qform)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, np.rint(array))
    assert volume.spacing == pytest.approx((4.0, 3.0, 2.0), rel=1e-5)
    # the origin lies in the middle of the lowest plane
    np.testing.assert_allclose(volume.affine @ [0, 1.5, 2, 1], (0, 0, 0, 1), atol=1e-5)


def test_the_decathlon_lists_its_cases_and_one_without_labels(tmp_path):
    (tmp_path / "Task08_HepaticVessel").mkdir()
    write_dataset_json(tmp_path, task_named("hepatic_vessel"), 2)
    listed = json.loads((tmp_path / "Task08_HepaticVessel" / "dataset.json").read_text())
    assert listed["labels"] == {"0": "background", "1": "Vessel", "2": "Tumour"}
    assert (listed["numTraining"], listed["numTest"]) == (2, 1)
    assert listed["training"][1] == {
        "image": "./imagesTr/hepaticvessel_002.nii.gz",
        "label": "./labelsTr/hepaticvessel_002.nii.gz",
    }
    assert listed["test"] == ["./imagesTs/hepaticvessel_003.nii.gz"]


def test_labels_of_the_decathlon_name_what_its_task_labels():
    for name, source in DECATHLON.items():
        assert len(source.labels) == sum(task_named(name).labelled)
