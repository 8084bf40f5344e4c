"""Scoring files: paired by name, named by JSON, refused with the file's name."""

import json

import numpy as np
import pytest

from mots_pretrained.evaluation.files import case_key, score_files
from mots_pretrained.evaluation.names import NAMED, LabelNames
from mots_pretrained.images.volume import Volume, write_like

LIVER = np.zeros((4, 4, 4), np.uint8)
LIVER[:2] = 1


def write(path, array, spacing=(3.0, 2.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_like(path, array, Volume.with_spacing(array, spacing))
    return path


def folders(tmp_path):
    write(tmp_path / "out/img0001_seg.nii.gz", LIVER)
    write(tmp_path / "out/img0002_seg.nii.gz", np.roll(LIVER, 1, axis=0))
    write(tmp_path / "truth/label0001.nii.gz", LIVER)
    write(tmp_path / "truth/label0002.nii.gz", LIVER)
    write(tmp_path / "truth/label0003.nii.gz", LIVER)
    return tmp_path / "out", tmp_path / "truth"


def test_folders_are_paired_by_name(tmp_path):
    names = LabelNames.of({"liver": 1, "spleen": 2})
    results = score_files(*folders(tmp_path), names=names, metrics=["dice"])
    assert results.cases == {
        "img0001_seg": {"liver": {"dice": 1.0}, "spleen": {"dice": None}},
        "img0002_seg": {"liver": {"dice": 0.5}, "spleen": {"dice": None}},
    }
    assert results.mean_dice == 0.75
    assert results.as_json()["left_out"] == {"liver": 0, "spleen": 2}


def test_distances_are_in_millimetres_of_the_truths_grid(tmp_path):
    results = score_files(*folders(tmp_path), metrics=["hd", "hd_voxels", "sd_voxels"])
    assert results.mean("label_1", "hd") == 1.5  # 0, and one plane of 3 mm
    assert results.mean("label_1", "hd_voxels") == 0.5


def test_two_files_need_no_common_name(tmp_path):
    one, other = write(tmp_path / "a.nii.gz", LIVER), write(tmp_path / "b.nii", LIVER)
    results = score_files(one, other, metrics=["dice", "hd"])
    assert results.cases == {"a": {"label_1": {"dice": 1.0, "hd": 0.0}}}


def test_names_lie_beside_the_truth(tmp_path):
    out, truth = folders(tmp_path)
    (truth / "labels.json").write_text('{"1": "liver"}')
    assert score_files(out, truth).categories == ("liver",)
    (truth / "labels.json").unlink()
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "hepar": 1}}')
    assert score_files(out, truth).categories == ("hepar",)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("liver_12_seg.nii.gz", "liver_12"),
        ("liver_12.nii.gz", "liver_12"),
        ("imaging.nii.gz", "imaging"),
        ("segmentation-3.nii", "segmentation-3"),
        ("label0001.nii.gz", "0001"),
    ],
)
def test_keys(name, key):
    assert case_key(name) == key


def test_faults_name_the_file(tmp_path):
    out, truth = folders(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        score_files(tmp_path / "none", truth)
    with pytest.raises(ValueError, match=r"img0001_seg.nii.gz holds label value 1.* 2 spleen"):
        score_files(out, truth, names=LabelNames.of({"spleen": 2}))
    write(truth / "label0002.nii.gz", LIVER, spacing=(3.0, 2.0, 2.0))
    with pytest.raises(ValueError, match=r"img0002_seg.nii.gz lies on another grid"):
        score_files(out, truth)
    (truth / "label0002.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"img0002_seg.nii.gz has no truth of its name"):
        score_files(out, truth)


def test_each_side_is_read_by_its_own_names(tmp_path):
    predicted, true = tmp_path / "out", tmp_path / "labelsTr"
    organs = LIVER.copy()
    organs[2] = 2
    write(predicted / "a_seg.nii.gz", organs)
    (predicted / "labels.json").write_text(json.dumps({"liver": 1, "spleen": 2}))
    write(true / "a.nii.gz", np.array([0, 2, 1], np.uint8)[organs])
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"1": "spleen", "2": "liver"}}))
    results = score_files(predicted, true, metrics=["dice"])
    assert results.cases == {"a_seg": {"spleen": {"dice": 1.0}, "liver": {"dice": 1.0}}}


def test_sides_without_a_common_class_are_refused(tmp_path):
    predicted, true = folders(tmp_path)
    (predicted / "labels.json").write_text(json.dumps({"liver": 1}))
    (true / "labels.json").write_text(json.dumps({"kidney": 1}))
    with pytest.raises(ValueError, match="no class is in both"):
        score_files(predicted, true)


def test_nested_regions_meet_by_name_whatever_their_values(tmp_path):
    brats = np.zeros((6, 6, 6), np.uint8)
    brats[1:5, 1:5, 1:5], brats[2:4, 2:4, 2:4], brats[2, 2, 2] = 2, 1, 4
    ours = np.array([0, 2, 3, 0, 1], np.uint8)[brats]  # enhancing 1, the rest of the core 2, ...
    one, other = write(tmp_path / "a_seg.nii.gz", ours), write(tmp_path / "a.nii.gz", brats)
    values = {"enhancing_tumour": (1,), "tumour_core": (1, 2), "whole_tumour": (1, 2, 3)}
    results = score_files(
        one, other, names=LabelNames(values), truth_names=NAMED["brats"], metrics=["dice"]
    )
    assert {name: results.mean(name) for name in values} == dict.fromkeys(values, 1.0)


def test_what_the_truth_ignores_is_scored_neither_way(tmp_path):
    truth = LIVER.copy()
    truth[1:3] = 7  # one plane of liver, one of ignored liver, one of ignored background
    prediction = LIVER.copy()
    prediction[2] = 1
    one, other = write(tmp_path / "p/a.nii.gz", prediction), write(tmp_path / "t/a.nii.gz", truth)
    (tmp_path / "t/dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "liver": 1, "ignore": 7}})
    )
    results = score_files(one, other, metrics=["dice", "hd"])
    assert results.cases == {"a": {"liver": {"dice": 1.0, "hd": 0.0}}}


@pytest.mark.parametrize(
    ("shift", "wrong"), [((0, 0, 0.05), False), ((0, 0, 0.5), True), ((3.0, 0, 0), True)]
)
def test_a_prediction_of_another_place_is_refused(tmp_path, shift, wrong):
    volume = Volume.with_spacing(LIVER, (3.0, 2.0, 1.0))
    write_like(tmp_path / "t.nii.gz", LIVER, volume)
    moved = volume.affine.copy()
    moved[:3, 3] += shift
    write_like(tmp_path / "p.nii.gz", LIVER, Volume(LIVER, moved))
    if wrong:
        with pytest.raises(ValueError, match=r"another grid .* corners lie up to .* voxels apart"):
            score_files(tmp_path / "p.nii.gz", tmp_path / "t.nii.gz")
    else:
        assert score_files(tmp_path / "p.nii.gz", tmp_path / "t.nii.gz").mean_dice == 1


def test_a_spacing_that_is_slightly_off_counts_by_what_it_adds_up_to(tmp_path):
    long = np.zeros((200, 3, 3), np.uint8)
    long[50:150, 1, 1] = 1
    write(tmp_path / "t.nii.gz", long, (1.0, 1.0, 1.0))
    write(tmp_path / "p.nii.gz", long, (1.005, 1.0, 1.0))
    with pytest.raises(ValueError, match="up to 1 voxels apart"):
        score_files(tmp_path / "p.nii.gz", tmp_path / "t.nii.gz")


def test_the_same_voxels_stored_along_other_axes_are_the_same_grid(tmp_path):
    import nibabel as nib

    path = write(tmp_path / "t.nii.gz", LIVER)
    image = nib.load(path)
    nib.save(nib.as_closest_canonical(image), tmp_path / "p.nii.gz")
    assert nib.aff2axcodes(nib.load(tmp_path / "p.nii.gz").affine) != nib.aff2axcodes(image.affine)
    assert score_files(tmp_path / "p.nii.gz", path, metrics=["hd"]).mean("label_1", "hd") == 0


def test_several_channels_and_two_truths_of_a_name_are_refused(tmp_path):
    one = write(tmp_path / "p/1.nii.gz", LIVER)
    two = np.stack([LIVER, LIVER])
    path = tmp_path / "t.nii.gz"
    write_like(path, two, Volume.with_spacing(two, (3.0, 2.0, 1.0)))
    with pytest.raises(ValueError, match="has 2 channels; a label map has one"):
        score_files(one, path)
    write(tmp_path / "t/img1.nii.gz", LIVER)
    write(tmp_path / "t/label1.nii.gz", LIVER)
    with pytest.raises(ValueError, match="are named as one case"):
        score_files(one, tmp_path / "t")
