"""Cases: image and labels on the contract's grid, from memory and from files."""

import numpy as np
import pytest

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import make_case, read_case
from mots_pretrained.data.layouts import CaseFiles
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.images.volume import Volume, write_like

CONTRACT = Preprocessing(spacing=(4.0, 2.0, 2.0))
CLASSES = {"liver": (6,), "spleen": (1,)}
TARGETS = Targets.of_classes(CLASSES)


def scan(shape=(8, 16, 16), spacing=(2.0, 1.0, 1.0)):
    values = np.full(shape, -1000, np.int16)
    values[:, 4:12, 4:12] = 60
    return Volume.with_spacing(values, spacing, name="ct")


def labels_of(volume):
    labels = np.zeros(volume.shape, np.uint8)
    labels[2:6, 4:8, 4:12] = 6
    labels[2:6, 8:12, 4:12] = 1
    return labels


def test_classes_are_numbered_in_their_order_and_resampled_with_the_image():
    volume = scan()
    case = make_case(volume, labels_of(volume), CONTRACT, CLASSES)
    assert case.image.shape == case.target.shape == (1, 4, 8, 8)
    expected = np.zeros((4, 8, 8), np.uint8)
    expected[1:3, 2:4, 2:6] = 1
    expected[1:3, 4:6, 2:6] = 2
    np.testing.assert_array_equal(case.target[0], expected)
    assert case.image[0, 1, 3, 3] == pytest.approx(60 / 325)
    assert case.image.min() == -1
    assert (case.name, case.labelled) == ("ct", (True,))


def test_labels_must_lie_on_the_scans_grid():
    volume = scan(shape=(8, 16, 12))
    labels = labels_of(volume)
    make_case(volume, labels.astype(np.float32), CONTRACT, CLASSES)
    for wrong in (labels.T, labels[:4], labels[None]):
        with pytest.raises(ValueError, match=r"labels have the shape .*, ct has \(8, 16, 12\)"):
            make_case(volume, wrong, CONTRACT, CLASSES)
    for wrong in (labels + 0.5, np.full(labels.shape, np.nan)):
        with pytest.raises(ValueError, match="labels of ct must be whole numbers"):
            make_case(volume, wrong, CONTRACT, CLASSES)


def test_a_scan_with_a_voxel_that_is_not_finite_is_refused():
    """Such a case made all weights of a head NaN."""
    volume = scan()
    values = volume.array.astype(np.float32)
    values[3, 4, 5] = np.nan
    bad = Volume.with_spacing(values, volume.spacing, name="ct")
    with pytest.raises(ValueError, match="ct: 1 of 2048 voxels are NaN or infinite; replace them"):
        make_case(bad, labels_of(volume), CONTRACT, CLASSES)


def test_classes_that_a_case_labels_must_be_classes():
    volume = scan()
    labels = labels_of(volume)
    case = make_case(volume, labels, CONTRACT, CLASSES, labelled=["spleen"])
    assert case.labelled == (False, True)
    with pytest.raises(ValueError, match="'splen' is no class; they are liver, spleen"):
        make_case(volume, labels, CONTRACT, CLASSES, labelled=["splen"])
    with pytest.raises(ValueError, match=r"a list of names, such as \['spleen'\]"):
        make_case(volume, labels, CONTRACT, CLASSES, labelled="spleen")


def test_regions_overlap_in_channels_of_their_own():
    volume = scan()
    regions = {"both": (1, 6), "one": (1,)}
    case = make_case(volume, labels_of(volume), CONTRACT, regions)
    assert case.target.shape == (2, 4, 8, 8)
    assert case.target.sum(axis=(1, 2, 3)).tolist() == [32, 16]
    assert (case.target[1] <= case.target[0]).all()


def written(tmp_path, labels, volume=None, image=None):
    volume = volume or scan()
    write_like(tmp_path / "ct.nii.gz", (image or volume).array, image or volume, dtype=np.int16)
    write_like(tmp_path / "seg.nii.gz", labels, volume)
    return CaseFiles("a", (tmp_path / "ct.nii.gz",), tmp_path / "seg.nii.gz")


def test_files_give_what_memory_gives(tmp_path):
    volume = scan()
    case = read_case(written(tmp_path, labels_of(volume)), CONTRACT, TARGETS)
    expected = make_case(volume, labels_of(volume), CONTRACT, CLASSES)
    np.testing.assert_array_equal(case.target, expected.target)
    np.testing.assert_allclose(case.image, expected.image, atol=1e-6)


def test_faults_name_the_file(tmp_path):
    volume = scan()
    strange = labels_of(volume)
    strange[0, 0, 0] = 9
    with pytest.raises(ValueError, match=r"seg.nii.gz holds label value 9.* known are 0, 1, 6"):
        read_case(written(tmp_path, strange), CONTRACT, TARGETS)
    other = scan(shape=(8, 16, 18))
    with pytest.raises(ValueError, match=r"seg.nii.gz lies on another grid than .*ct.nii.gz"):
        read_case(written(tmp_path, labels_of(volume), image=other), CONTRACT, TARGETS)
    moved = scan(spacing=(2.0, 1.0, 1.5))
    with pytest.raises(ValueError, match="another grid"):
        read_case(written(tmp_path, labels_of(volume), image=moved), CONTRACT, TARGETS)


@pytest.mark.parametrize("exclusive", [True, False])
def test_what_is_to_be_ignored_is_marked_in_every_channel(exclusive):
    volume = scan()
    labels = labels_of(volume)
    labels[6:, :, :4] = 9
    case = make_case(volume, labels, CONTRACT, CLASSES, exclusive=exclusive, ignore=9)
    assert (case.target[:, 3, :, :2] == 255).all()
    assert (case.target == 255).sum() == 16 * len(case.target)
    present = [int(case.target.ravel()[where[0]]) for where in case.foreground]
    assert 255 not in present


def test_another_channel_count_names_the_file(tmp_path):
    two = Preprocessing(spacing=(4.0, 2.0, 2.0), intensity="zscore", channels=("t1", "t2"))
    volume = scan()
    with pytest.raises(ValueError, match=r"ct.nii.gz: case a has 1 channel.*t1, t2"):
        read_case(written(tmp_path, labels_of(volume)), two, TARGETS)
