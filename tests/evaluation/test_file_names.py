"""Scoring files: which values of either side are which class."""

import json
import tracemalloc
import warnings

import numpy as np
import pytest
from scored_files import LIVER, cases, folders, write

from mots_pretrained.config import ModelConfig
from mots_pretrained.evaluation.files import score_files
from mots_pretrained.evaluation.names import NAMED, LabelNames
from mots_pretrained.images.seg_nrrd import write_seg_nrrd
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.tasks import MOTS_TASKS


def test_names_lie_beside_the_truth(tmp_path):
    out, truth = folders(tmp_path)
    (truth / "labels.json").write_text('{"1": "liver"}')
    assert score_files(out, truth).categories == ("liver",)
    (truth / "labels.json").unlink()
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "hepar": 1}}')
    assert score_files(out, truth).categories == ("hepar",)


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


def test_values_of_any_size_are_counted_without_a_table_of_them(tmp_path):
    array = np.zeros((4, 4, 4), np.int32)
    array[0], array[1] = 2_000_000_000, 7
    for name in ("a", "b"):
        path = tmp_path / f"{name}.nii.gz"
        write_like(path, array, Volume.with_spacing(array, (3.0, 2.0, 1.0)), dtype=np.int32)
    tracemalloc.start()
    results = score_files(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", metrics=["dice"])
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert results.categories == ("label_7", "label_2000000000")
    assert results.mean_dice == 1
