"""Scoring files: paired by name, named by JSON, refused with the file's name."""

import json
import warnings

import numpy as np
import pytest

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import MissingFileError
from mots_pretrained.evaluation.files import case_key, score_files
from mots_pretrained.evaluation.names import NAMED, LabelNames
from mots_pretrained.images.seg_nrrd import write_seg_nrrd
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.tasks import MOTS_TASKS

LIVER = np.zeros((4, 4, 4), np.uint8)
LIVER[:2] = 1


def write(path, array, spacing=(3.0, 2.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_like(path, array, Volume.with_spacing(array, spacing))
    return path


def cases(results):
    return {case.name: case.scores for case in results.cases}


def folders(tmp_path):
    write(tmp_path / "out/img0001_seg.nii.gz", LIVER)
    write(tmp_path / "out/img0002_seg.nii.gz", np.roll(LIVER, 1, axis=0))
    write(tmp_path / "truth/label0001.nii.gz", LIVER)
    write(tmp_path / "truth/label0002.nii.gz", LIVER)
    write(tmp_path / "truth/label0003.nii.gz", LIVER)
    return tmp_path / "out", tmp_path / "truth"


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


def test_each_side_is_read_by_its_own_names(tmp_path):
    predicted, true = tmp_path / "out", tmp_path / "labelsTr"
    organs = LIVER.copy()
    organs[2] = 2
    write(predicted / "a_seg.nii.gz", organs)
    (predicted / "labels.json").write_text(json.dumps({"liver": 1, "spleen": 2}))
    write(true / "a.nii.gz", np.array([0, 2, 1], np.uint8)[organs])
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"1": "spleen", "2": "liver"}}))
    results = score_files(predicted, true, metrics=["dice"])
    assert cases(results) == {"a": {"spleen": {"dice": 1.0}, "liver": {"dice": 1.0}}}


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


def name(folder, **values):
    (folder / "labels.json").write_text(json.dumps(values))


def test_a_label_map_scores_1_against_a_truth_that_it_equals_for_every_task(tmp_path):
    """A whole liver with its tumour, vessel and vessel tumour, and so on, written and scored."""
    values = ModelConfig().label_values
    for task in MOTS_TASKS:
        drawn = np.zeros((6, 6, 6), np.uint8)
        predicted = np.zeros((6, 6, 6), np.uint8)
        for category, own, position in ((task.organ, task.organ_values, np.s_[1:5]),
                                        (task.tumour, task.tumour_values, np.s_[2:4])):  # fmt: skip
            if category is not None:
                drawn[position, 1:5, 1:5] = own[0]
                predicted[position, 1:5, 1:5] = values[category][0]
        if task.name == "liver":
            predicted[1, 2, 2], predicted[4, 2, 2] = values["hepatic_vessel"][0], 6
        write(tmp_path / task.name / "out/a_seg.nii.gz", predicted)
        name(tmp_path / task.name / "out", **{n: list(v) for n, v in values.items()})
        write(tmp_path / task.name / "truth/a.nii.gz", drawn)
        results = score_files(
            tmp_path / task.name / "out", tmp_path / task.name / "truth",
            truth_names=NAMED[task.name], metrics=["dice"],
        )  # fmt: skip
        assert {n: results.mean(n) for n in task.categories} == dict.fromkeys(task.categories, 1.0)
        if task.name == "liver":  # likewise by the word
            pair = tmp_path / "liver/out", tmp_path / "liver/truth"
            results = score_files(*pair, names=NAMED["mots"], truth_names=NAMED["liver"])
            assert results.mean("liver") == 1.0


def test_a_truth_whose_organ_leaves_out_its_tumour_is_read_as_the_predictions_have_it(tmp_path):
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[:2], truth[0] = 6, 17
    write(tmp_path / "out/a_seg.nii.gz", np.where(truth == 17, 2, truth // 6).astype(np.uint8))
    name(tmp_path / "out", liver=[1, 2], liver_tumour=[2])
    write(tmp_path / "truth/a.nii.gz", truth)
    (tmp_path / "truth/labels.json").write_text('{"6": "liver", "17": "liver_tumour"}')
    with pytest.warns(UserWarning, match="liver are read with what lies in them"):
        results = score_files(tmp_path / "out", tmp_path / "truth", metrics=["dice"])
    assert results.mean_dice == 1.0
    given = LabelNames({"liver": (6,), "liver_tumour": (17,)})
    results = score_files(tmp_path / "out", tmp_path / "truth", truth_names=given, metrics=["dice"])
    assert results.mean("liver") == pytest.approx(2 / 3)  # what the user says is left as it is


def test_nested_regions_score_1_by_the_label_map_that_is_written_of_them(tmp_path):
    regions = ("enhancing_tumour", "tumour_core", "whole_tumour")
    brats = np.zeros((8, 8, 8), np.uint8)
    brats[1:7, 1:7, 1:7], brats[2:6, 2:6, 2:6], brats[3:5, 3:5, 3:5] = 2, 1, 4
    write(tmp_path / "out/a_seg.nii.gz", np.array([0, 2, 3, 0, 1], np.uint8)[brats])
    write(tmp_path / "truth/a.nii.gz", brats)
    pair = tmp_path / "out", tmp_path / "truth"
    name(tmp_path / "out", enhancing_tumour=[1], tumour_core=[2, 1], whole_tumour=[3, 2, 1])
    results = score_files(*pair, truth_names=NAMED["brats"], metrics=["dice"])
    assert [results.mean(region) for region in regions] == [1.0] * 3
    labels = {"background": 0, "whole_tumour": [1, 2, 4], "tumour_core": [1, 4]}
    (tmp_path / "truth/dataset.json").write_text(
        json.dumps({"labels": {**labels, "enhancing_tumour": 4}})
    )
    results = score_files(*pair, metrics=["dice"])
    assert [results.mean(region) for region in regions] == [1.0] * 3
    name(tmp_path / "out", enhancing_tumour=1, tumour_core=2, whole_tumour=3)  # version 0.1.0
    with pytest.warns(UserWarning, match="tumour_core, whole_tumour are read with what lies in"):
        results = score_files(*pair, truth_names=NAMED["brats"], metrics=["dice"])
    assert [results.mean(region) for region in regions] == [1.0] * 3


@pytest.mark.parametrize("values", [(255,), (1, 3), (2, 3), (2,), (205, 420)])
def test_values_of_the_users_own_are_scored_by_the_predictions_names(tmp_path, values):
    labels = np.zeros((4, 4, 4), np.uint16)
    for plane, value in enumerate(values):
        labels[plane] = value
    for where in ("out/a_seg.nii.gz", "truth/a.nii.gz"):
        path = tmp_path / where
        path.parent.mkdir()
        write_like(path, labels, Volume.with_spacing(labels, (1, 1, 1)), dtype=np.uint16)
    name(tmp_path / "out", **{f"class_{value}": [value] for value in values})
    results = score_files(tmp_path / "out", tmp_path / "truth", metrics=["dice"])
    assert results.mean_dice == 1.0
    assert results.categories == tuple(f"class_{value}" for value in values)


def test_a_value_without_a_name_is_refused_with_what_to_do(tmp_path):
    write(tmp_path / "out/a_seg.nii.gz", LIVER)
    name(tmp_path / "out", organ=[1])
    write(tmp_path / "truth/a.nii.gz", 255 * LIVER)
    with pytest.raises(ValueError, match=r"255, which has no name .* say with --truth-labels"):
        score_files(tmp_path / "out", tmp_path / "truth")


def test_names_of_the_predictions_are_not_lent_to_a_truth_of_other_values(tmp_path):
    write(tmp_path / "out/a_seg.nii.gz", 11 * LIVER)
    name(tmp_path / "out", liver=1, spleen=11)
    write(tmp_path / "spleens/a.nii.gz", LIVER)
    pair = tmp_path / "out", tmp_path / "spleens"
    with pytest.raises(ValueError, match=r"read by .*1 is liver; but the predictions hold 11"):
        score_files(*pair)
    results = score_files(*pair, truth_names=NAMED["spleen"], metrics=["dice"])
    assert results.mean("spleen") == 1.0
    both = 11 * LIVER
    both[3] = 1
    write(tmp_path / "out/a_seg.nii.gz", both)
    with pytest.warns(UserWarning, match=r"1 is liver; the predictions also hold 11 \(spleen\)"):
        score_files(*pair)


def test_names_of_the_truth_are_lent_to_predictions_without_any(tmp_path):
    write(tmp_path / "out/a_seg.nii.gz", 2 * LIVER)
    write(tmp_path / "truth/a.nii.gz", LIVER)
    (tmp_path / "truth/labels.json").write_text('{"liver": 1, "spleen": 2}')
    with pytest.raises(ValueError, match=r"out has no names of its own .* --labels what the val"):
        score_files(tmp_path / "out", tmp_path / "truth")


def test_without_names_each_value_of_either_side_is_a_class(tmp_path):
    predicted = LIVER.copy()
    predicted[3] = 2
    one, other = write(tmp_path / "p.nii.gz", predicted), write(tmp_path / "t.nii.gz", LIVER)
    results = score_files(one, other, metrics=["dice"])
    assert cases(results) == {
        "t": {"label_1": {"dice": 1.0}, "label_2": {"dice": None, "false_ml": 16 * 6 / 1000}}
    }


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


def test_classes_that_the_predictions_lack_are_named(tmp_path):
    predicted, true = folders(tmp_path)
    (predicted / "labels.json").write_text(json.dumps({"liver": [1]}))
    (true / "labels.json").write_text(json.dumps({"liver": 1, "spleen": 2}))
    with pytest.warns(UserWarning, match="do not name spleen, which the truth does; not scored"):
        results = score_files(predicted, true, metrics=["dice"])
    assert results.categories == ("liver",)


def test_a_seg_nrrd_names_its_own_segments_and_is_no_second_case(tmp_path):
    scan = Volume.with_spacing(LIVER, (3.0, 2.0, 1.0), name="img0001")
    for place in ("out", "truth"):
        (tmp_path / place).mkdir()
        write_seg_nrrd(tmp_path / place / "img0001.seg.nrrd", LIVER, scan, {"liver": 1})
    results = score_files(tmp_path / "out", tmp_path / "truth", metrics=["dice"])
    assert cases(results) == {"img0001": {"liver": {"dice": 1.0}}}
    write(tmp_path / "out/img0001_seg.nii.gz", LIVER)
    results = score_files(tmp_path / "out", tmp_path / "truth", metrics=["dice"])
    assert cases(results) == {"img0001": {"liver": {"dice": 1.0}}}


def test_one_label_map_is_not_scored_against_another_cases_truth(tmp_path):
    """A folder of one truth was taken for the prediction's, whatever its name."""
    one = write(tmp_path / "out/x_seg.nii.gz", LIVER)
    other = write(tmp_path / "truth/y.nii.gz", LIVER)
    with pytest.raises(MissingFileError, match=r"would be called x\.nii\.gz"):
        score_files(one, other.parent, metrics=["dice"])
    assert score_files(one, other, metrics=["dice"]).mean_dice == 1
    write(tmp_path / "truth/x.nii.gz", LIVER)
    assert [c.name for c in score_files(one, other.parent, metrics=["dice"]).cases] == ["x"]


def partly_labelled(tmp_path, told):
    """Three cases of liver (1) and spleen (2): found in all, by half or whole."""
    both = LIVER.copy()
    both[3] = 2
    names = {"labels": {"background": 0, "liver": 1, "spleen": 2}}
    for number, (predicted, true) in enumerate(
        ((both, both), (both, LIVER), (both, np.where(both == 2, 1, 0).astype(np.uint8)))
    ):
        write(tmp_path / f"out/img000{number}_seg.nii.gz", predicted)
        write(tmp_path / f"data/label/label000{number}.nii.gz", true)
    (tmp_path / "out/labels.json").write_text(json.dumps({"liver": 1, "spleen": 2}))
    (tmp_path / "data/dataset.json").write_text(json.dumps(names | told))
    return tmp_path / "out", tmp_path / "data/label"


def test_a_case_is_scored_for_the_classes_that_it_labels(tmp_path):
    """The last one labels the spleen alone; what its map says of the liver is not the truth."""
    told = {"img0000": ["liver", "spleen"], "img0001": ["liver"], "img0002": ["spleen"]}
    sides = partly_labelled(tmp_path, {"labelled": told})
    results = score_files(*sides, metrics=["dice"])
    assert {name: [*scores] for name, scores in cases(results).items()} == {
        "label0000": ["liver", "spleen"], "label0001": ["liver"], "label0002": ["spleen"],
    }  # fmt: skip
    # the third's map has no spleen, which it labels: it is absent there, and only there
    assert results.mean("liver") == results.mean("spleen") == 1
    assert results.as_json()["absent_cases"] == {"liver": 0, "spleen": 1}
    published = score_files(*sides, metrics=["dice"], rule="published")
    # 2 x 32 / (32 + 32 + 1) of both livers; 32 / 33 of one spleen, 0 of the one that is not there
    assert published.mean("liver") == pytest.approx(64 / 65)
    assert published.mean("spleen") == pytest.approx(32 / 33 / 2)
    one = score_files(sides[0] / "img0001_seg.nii.gz", sides[1] / "label0001.nii.gz")
    assert [[*case.scores] for case in one.cases] == [["liver"]]


def test_a_table_in_the_folder_says_so_too(tmp_path):
    sides = partly_labelled(tmp_path, {})
    assert all({*scores} == {"liver", "spleen"} for scores in cases(score_files(*sides)).values())
    rows = "case,liver,spleen\nimg0000,1,1\nimg0001,1,0\nimg0002,0,0\n"
    (tmp_path / "data/labelled.csv").write_text(rows)
    results = score_files(*sides, metrics=["dice"])
    assert [[*case.scores] for case in results.cases] == [["liver", "spleen"], ["liver"], []]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"img0000": ["livr"]}, "says that img0000 labels 'livr'; the truth's classes are liver, "),
        ({"img0000": ["liver"]}, "does not tell which classes label0001 labels"),
    ],
)
def test_what_is_wrong_with_the_classes_that_cases_label_is_named(tmp_path, told, message):
    with pytest.raises(ValueError, match=message):
        score_files(*partly_labelled(tmp_path, {"labelled": told}))


def test_classes_told_of_other_cases_only_are_told(tmp_path):
    """As of a test set beside the training set that dataset.json describes."""
    sides = partly_labelled(tmp_path, {"labelled": {"img0007": ["liver"]}})
    with pytest.warns(UserWarning, match="but of none in .*label; all are scored for every class"):
        results = score_files(*sides)
    assert [[*case.scores] for case in results.cases] == [["liver", "spleen"]] * 3


def test_a_case_is_called_as_its_truth_whoever_predicted(tmp_path):
    """mots predict's case_1_seg.nii.gz and nnU-Net's case_1.nii.gz had no case in common."""
    write(tmp_path / "truth/case_1.nii.gz", LIVER)
    for folder, file in {"ours": "case_1_seg.nii.gz", "theirs": "case_1.nii.gz"}.items():
        write(tmp_path / folder / file, LIVER)
        assert [*cases(score_files(tmp_path / folder, tmp_path / "truth"))] == ["case_1"]


def test_lesions_of_two_names_are_told_where_one_side_alone_holds_them(tmp_path):
    labels = LIVER.copy()
    labels[1] = 2
    for folder in ("out", "truth"):
        write(tmp_path / folder / "a.nii.gz", labels)
    nested = {"liver": (1, 2), "liver_tumour": (2,)}
    parted = {"liver": (1,), "cancer": (2,)}
    for own, theirs, words in (
        (nested, parted, "liver_tumour that it holds in the predictions, but without the cancer"),
        (parted, nested, "liver_tumour that it holds in the truth, but without the cancer"),
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            results = score_files(
                *(tmp_path / "out", tmp_path / "truth"),
                names=LabelNames(own),
                truth_names=LabelNames(theirs),
            )
        assert [words in str(one.message) for one in told].count(True) == 1
        assert results.mean("liver", "dice") == pytest.approx(2 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a bladder beside the liver is no lesion of it
        score_files(
            *(tmp_path / "out", tmp_path / "truth"),
            names=LabelNames(nested),
            truth_names=LabelNames({"liver": (1, 2)}),
        )
