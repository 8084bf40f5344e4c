"""Scoring files: paired by name, named by JSON, refused with the file's name."""

import json

import numpy as np
import pytest
from scored_files import LIVER, cases, folders, write

from mots_pretrained.errors import MissingFileError
from mots_pretrained.evaluation.files import case_key, score_files
from mots_pretrained.evaluation.names import LabelNames
from mots_pretrained.images.volume import Volume, write_like


def test_folders_are_paired_by_name(tmp_path):
    names = LabelNames({"liver": (1,), "spleen": (2,)})
    results = score_files(*folders(tmp_path), names=names, metrics=["dice"])
    absent = {"dice": None, "false_ml": 0.0}
    assert cases(results) == {
        "label0001": {"liver": {"dice": 1.0}, "spleen": absent},
        "label0002": {"liver": {"dice": 0.5}, "spleen": absent},
    }
    assert results.mean_dice == 0.75
    assert results.as_json()["absent_cases"] == {"liver": 0, "spleen": 2}


def test_distances_are_in_millimetres_of_the_truths_grid(tmp_path):
    results = score_files(*folders(tmp_path), metrics=["hd", "hd_voxels"])
    assert results.mean("label_1", "hd") == 1.5  # 0, and one plane of 3 mm
    assert results.mean("label_1", "hd_voxels") == 0.5


def test_two_files_need_no_common_name(tmp_path):
    one, other = write(tmp_path / "a.nii.gz", LIVER), write(tmp_path / "b.nii", LIVER)
    results = score_files(one, other, metrics=["dice", "hd"])
    assert cases(results) == {"b": {"label_1": {"dice": 1.0, "hd": 0.0}}}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("liver_12_seg.nii.gz", "liver_12"),
        ("liver_12.nii.gz", "liver_12"),
        ("imaging.nii.gz", "imaging"),
        ("segmentation-3.nii", "-3"),
        ("volume-3_seg.nii.gz", "-3"),
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
        score_files(out, truth, names=LabelNames({"spleen": (2,)}))
    write(truth / "label0002.nii.gz", LIVER, spacing=(3.0, 2.0, 2.0))
    with pytest.raises(ValueError, match=r"img0002_seg.nii.gz lies on another grid"):
        score_files(out, truth)
    (truth / "label0002.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"img0002_seg.nii.gz has no truth of its name"):
        score_files(out, truth)


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
    assert cases(results) == {"a": {"liver": {"dice": 1.0, "hd": 0.0}}}


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


def test_true_label_maps_without_a_prediction_are_named(tmp_path):
    results = score_files(*folders(tmp_path), metrics=["dice"])
    assert results.missing == ("label0003",)
    assert len(results.cases) == 2
    one = score_files(tmp_path / "out/img0001_seg.nii.gz", tmp_path / "truth", metrics=["dice"])
    assert one.missing == ()


def test_files_named_as_nnu_net_does_find_their_truth(tmp_path):
    for case in ("a", "b"):
        write(tmp_path / f"truth/{case}.nii.gz", LIVER)
    write(tmp_path / "out/a_0000_seg.nii.gz", LIVER)
    write(tmp_path / "out/b.nii.gz", LIVER)
    results = score_files(tmp_path / "out", tmp_path / "truth", metrics=["dice"])
    assert [case.name for case in results.cases] == ["a", "b"]
    write(tmp_path / "out/a_seg.nii.gz", LIVER)
    with pytest.raises(ValueError, match="are named as one case"):
        score_files(tmp_path / "out", tmp_path / "truth")


def test_names_that_end_in_four_digits_stay_apart(tmp_path):
    for case in ("scan_0000", "scan_0001"):
        write(tmp_path / f"truth/{case}.nii.gz", LIVER)
        write(tmp_path / f"out/{case}_seg.nii.gz", LIVER)
    results = score_files(tmp_path / "out", tmp_path / "truth", metrics=["dice"])
    assert [case.name for case in results.cases] == ["scan_0000", "scan_0001"]


def test_label_values_a_rounding_off_are_read(tmp_path):
    near = LIVER.astype(np.float32) * np.float32(1.0000001)
    path = tmp_path / "p.nii.gz"
    write_like(path, near, Volume.with_spacing(near, (3.0, 2.0, 1.0)), dtype=np.float32)
    results = score_files(path, write(tmp_path / "t.nii.gz", LIVER), metrics=["dice"])
    assert results.mean_dice == 1.0


def test_one_label_map_is_not_scored_against_another_cases_truth(tmp_path):
    """A folder of one truth was taken for the prediction's, whatever its name."""
    one = write(tmp_path / "out/x_seg.nii.gz", LIVER)
    other = write(tmp_path / "truth/y.nii.gz", LIVER)
    with pytest.raises(MissingFileError, match=r"would be called x\.nii\.gz"):
        score_files(one, other.parent, metrics=["dice"])
    assert score_files(one, other, metrics=["dice"]).mean_dice == 1
    write(tmp_path / "truth/x.nii.gz", LIVER)
    assert [c.name for c in score_files(one, other.parent, metrics=["dice"]).cases] == ["x"]


def test_a_case_is_called_as_its_truth_whoever_predicted(tmp_path):
    """mots predict's case_1_seg.nii.gz and nnU-Net's case_1.nii.gz had no case in common."""
    write(tmp_path / "truth/case_1.nii.gz", LIVER)
    for folder, file in {"ours": "case_1_seg.nii.gz", "theirs": "case_1.nii.gz"}.items():
        write(tmp_path / folder / file, LIVER)
        assert [*cases(score_files(tmp_path / folder, tmp_path / "truth"))] == ["case_1"]
