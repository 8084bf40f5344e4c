"""What a folder asks of a network: modality, classes, spacing, and which cases are held out."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import read_case
from mots_pretrained.data.layouts import CaseFiles, Collection, Fold, find_labelled
from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.tasks import BRATS_REGIONS
from mots_pretrained.training.downstream import (
    check_same_input,
    describe,
    folds,
    own_first,
    split,
    without_left_out,
)
from mots_pretrained.training.recipe import Recipe

WEIGHTS = Preprocessing(spacing=(4.0, 3.0, 3.0))
MRI = dataclasses.replace(WEIGHTS, intensity="zscore", channels=("a",))


def written(root, name, values, spacing=(3.0, 2.0, 1.0), count=1):
    images = []
    for index in range(count):
        images.append(root / f"{name}_{index}.nii.gz")
        volume = Volume.with_spacing(np.full((8, 8, 8), values, np.int16), spacing)
        write_like(images[-1], volume.array, volume, dtype=np.int16)
    return CaseFiles(name, tuple(images), images[0])


def collection(cases, classes=None, channels=None):
    return Collection("data", Path("data"), cases, classes=classes, channels=channels)


def recipe(**changes):
    return Recipe(steps=1, **changes)


def contract_for(found, contract):
    return describe(found, contract, recipe(classes=("x",))).contract


def scans_named(count):
    return [CaseFiles(f"c{index}", (), None) for index in range(count)]


def test_one_channel_is_a_ct_if_it_has_air(tmp_path):
    ct = collection((written(tmp_path, "ct", -1000),))
    assert contract_for(ct, WEIGHTS) == WEIGHTS
    mri = contract_for(collection((written(tmp_path, "mr", 400),)), WEIGHTS)
    assert (mri.intensity, mri.channels) == ("zscore", ("channel_0",))
    assert mri.spacing == pytest.approx((3.0, 2.0, 1.0))


def test_the_folders_word_counts_for_more_than_its_intensities(tmp_path):
    scan = written(tmp_path, "x", 400)
    assert contract_for(collection((scan,), None, ("ct",)), WEIGHTS).intensity == "ct"
    air = collection((written(tmp_path, "y", -1000),), None, ("t2",))
    assert contract_for(air, WEIGHTS).intensity == "zscore"
    phases = collection((written(tmp_path, "z", 40, count=2),), None, ("ct_early", "ct_late"))
    assert contract_for(phases, WEIGHTS).intensity == "ct"
    assert contract_for(phases, WEIGHTS).channels == ("ct_early", "ct_late")


def test_mri_has_the_median_spacing_unless_the_weights_are_mris(tmp_path):
    scans = [written(tmp_path, f"s{i}", 400, (step, 1.0, 1.0)) for i, step in enumerate((2, 5, 3))]
    folder = collection(tuple(scans))
    assert contract_for(folder, WEIGHTS).spacing == pytest.approx((3.0, 1.0, 1.0))
    assert contract_for(folder, MRI).spacing == WEIGHTS.spacing
    chosen = describe(folder, WEIGHTS, recipe(classes=("x",), spacing=(6.0, 4.0, 4.0)))
    assert chosen.contract.spacing == (6.0, 4.0, 4.0)


def test_intensity_says_what_scans_are(tmp_path):
    clipped = collection((written(tmp_path, "clipped", -175),))
    assert contract_for(clipped, WEIGHTS).intensity == "zscore"
    task = describe(clipped, WEIGHTS, recipe(classes=("x",), intensity="ct"))
    assert task.contract == WEIGHTS
    check_same_input(task, WEIGHTS)
    with pytest.raises(UserError, match=r"or say what the scans are \(--intensity, --spacing\)"):
        check_same_input(describe(clipped, WEIGHTS, recipe(classes=("x",))), WEIGHTS)


def test_the_classes_say_whether_they_exclude_each_other(tmp_path):
    folder = collection((written(tmp_path, "b", 400, count=4),), dict(BRATS_REGIONS))
    assert not describe(folder, WEIGHTS, recipe()).exclusive
    merged = recipe(classes=("kidneys", "liver"), class_values=((2, 3), (6,)))
    assert describe(folder, WEIGHTS, merged).exclusive


def test_differing_channels_name_the_file(tmp_path):
    one, two = written(tmp_path, "a", 1, count=2), written(tmp_path, "b", 1)
    with pytest.raises(ValueError, match=r"b_0.nii.gz: case b has 1 channel\(s\), a has 2"):
        contract_for(collection((one, two)), WEIGHTS)
    with pytest.raises(ValueError, match=r"a_0.nii.gz has 2 channel\(s\), wanted are 1 \(ct\)"):
        contract_for(collection((one,), None, ("ct",)), WEIGHTS)


def test_splits_are_seeded_and_leave_something_to_train_on():
    train, held = split(scans_named(12), recipe())
    assert (len(train), len(held)) == (10, 2)
    three = scans_named(3)
    assert len(split(three, recipe())[1]) == 1
    assert split(three, recipe(held_out=0))[1] == []
    assert split(three, recipe(held_out=1, seed=3)) == split(three, recipe(held_out=1, seed=3))
    by_seed = [split(three, recipe(held_out=1, seed=seed))[1][0].name for seed in range(20)]
    assert len({*by_seed}) == 3
    assert [scan.name for scan in split(three, recipe(validation=("c1",)))[1]] == ["c1"]
    with pytest.raises(KeyError, match="no case 'c7' to hold out; there are c0, c1, c2"):
        split(three, recipe(validation=("c7",)))
    with pytest.raises(ValueError, match="3 of 3 cases can't be held out"):
        split(three, recipe(held_out=3))


def test_each_class_has_a_value_of_its_own_first():
    """The one that is written for it in a label map: of no class inside it."""
    assert own_first({"a": (5,), "b": (255, 3)}) == {"a": (5,), "b": (255, 3)}
    nested = {"whole": (1, 2, 4), "core": (4, 1), "enhancing": (4,)}
    assert own_first(nested) == {"whole": (2, 1, 4), "core": (1, 4), "enhancing": (4,)}
    assert own_first(own_first(nested)) == own_first(nested)
    overlapping = {"left": (1, 2), "right": (2, 3)}
    assert own_first(overlapping) == {"left": (1, 2), "right": (3, 2)}
    both = {"a": (1,), "b": (2,), "both": (1, 2), "all": (1, 2)}
    assert own_first(both) == {"a": (1,), "b": (2,), "both": (3, 1, 2), "all": (4, 1, 2)}


def test_each_case_is_held_out_by_one_fold():
    parts = folds(scans_named(7), 3, 0)
    held = [scan.name for _, validation in parts for scan in validation]
    assert sorted(held) == [f"c{index}" for index in range(7)]
    assert all(len(train) + len(validation) == 7 for train, validation in parts)
    assert folds(scans_named(7), 3, 1) != parts
    for count in (1, 8):
        with pytest.raises(ValueError, match=f"7 cases make 2 to 7 folds, not {count}"):
            folds(scans_named(7), count, 0)


def test_folds_that_the_data_tell_are_held_out_in_their_order():
    scans, told = scans_named(5), (Fold(("c1", "c3")), Fold(("c0",)))
    parts = folds(scans, 2, 0, told=told)
    assert [[scan.name for scan in held] for _, held in parts] == [["c1", "c3"], ["c0"]]
    assert [scan.name for scan in parts[1][0]] == ["c1", "c2", "c3", "c4"]  # without a fold: c2, c4
    assert split(scans, recipe(), told=told) == parts[0]
    assert split(scans, recipe(validation=("c4",)), told=told)[1] == [scans[4]]
    assert split(scans, recipe(held_out=0), told=told)[1] == []
    with pytest.raises(ValueError, match="the data tell 2 folds, not 5 folds"):
        folds(scans, 5, 0, told=told)
    with pytest.raises(ValueError, match="the data tell one part to hold out, not 2 folds"):
        folds(scans, 2, 0, told=told[:1])
    with pytest.raises(KeyError, match="no case 'x' to hold out"):
        folds(scans, 2, 0, told=(Fold(("c1",)), Fold(("x",))))
    with pytest.raises(ValueError, match="5 of 5 cases can't be held out"):
        split(scans, recipe(), told=(Fold(tuple(scan.name for scan in scans)),))


def names(parts):
    return [[scan.name for scan in part] for part in parts]


def time_points(patients, count=2):
    return [
        CaseFiles(f"BraTS-GLI-{patient:05d}-{100 + visit}", ())
        for patient in range(patients)
        for visit in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_patient_s_time_points_are_on_one_side(seed):
    """BraTS-GLI-02002-100 was trained on, and -101 scored."""
    scans = [*time_points(10), *scans_named(3)]
    parts = [split(scans, recipe(seed=seed)), *folds(scans, 4, seed)]
    for train, held in parts:
        assert len(train) + len(held) == 23
        assert not {scan.patient for scan in train} & {scan.patient for scan in held}
    assert 5 <= len(parts[0][1]) <= 6  # a fifth, and what belongs to it
    assert sorted(scan.name for _, held in parts[1:] for scan in held) == sorted(
        scan.name for scan in scans
    )
    assert len(split(scans, recipe(held_out=1, seed=seed))[1]) <= 2


def test_other_cases_are_drawn_as_they_always_were():
    """A training that is resumed holds out what it did."""
    held = [scan.name for scan in split(scans_named(12), recipe(held_out=3, seed=4))[1]]
    order = np.random.default_rng([4, 5]).permutation(12)
    assert held == [f"c{index}" for index in sorted(order[:3])]
    assert [names(part)[1] for part in folds(scans_named(7), 3, 4)] == [
        [f"c{index}" for index in sorted(np.random.default_rng([4, 5]).permutation(7)[fold::3])]
        for fold in range(3)
    ]


def test_too_few_patients_are_told():
    with pytest.raises(UserError, match="all 3 labelled cases are of one patient, BraTS-GLI"):
        split(time_points(1, 3), recipe())
    with pytest.raises(UserError, match="2 patients make 2 to 2 folds, not 3: each needs a pa"):
        folds(time_points(2), 3, 0)
    with pytest.raises(UserError, match="must be left to train on, and all of a patient are on"):
        split(time_points(2), recipe(held_out=3))


def test_a_patient_in_both_parts_that_are_named_is_told():
    scans = time_points(3)
    first, second, *_ = (scan.name for scan in scans)
    with pytest.warns(UserWarning, match="^1 patient has scans .* held out, such as BraTS-GLI-000"):
        split(scans, recipe(validation=(first,)))
    with pytest.warns(UserWarning, match="^1 patient has scans that are trained on and"):
        folds(scans, 1, 0, told=(Fold((second,)),))
    with pytest.warns(UserWarning, match="^1 patient has scans that are trained on and"):
        folds(scans[:2], 1, 0, told=(Fold((second,)),))  # told, though there is no other patient
    split(scans, recipe(validation=(first,), train_on=(scans[-1].name,)))


def test_what_is_in_neither_part_of_a_split_is_left_out():
    """It was trained on: a test set beside nnU-Net's splits leaked into the training."""
    scans = tuple(scans_named(6))
    told = (Fold(("c1",), ("c0", "c2")), Fold(("c0",), ("c1", "c2", "c3")))
    parts = folds(scans, 2, 0, told=told)
    assert [names(part) for part in parts] == [
        [["c0", "c2"], ["c1"]],
        [["c1", "c2", "c3"], ["c0"]],
    ]
    assert split(scans, recipe(), told=told) == parts[0]
    named = recipe(validation=("c4",), train_on=("c3",))
    assert names(split(scans, named, told=told)) == [["c3"], ["c4"]]
    said = []
    found = without_left_out(collection(scans), parts, said.append)
    assert [case.name for case in found.cases] == ["c0", "c1", "c2", "c3"]
    assert said == [
        "3 cases are in neither part of fold 0 and left out",
        "2 cases are in neither part of fold 1 and left out",
    ]
    without_left_out(collection(scans), parts[:1], said.append)
    assert said[2:] == ["3 cases are in neither part of this split and left out"]
    without_left_out(collection(scans), [split(scans, recipe(held_out=1))], said.append)
    assert len(said) == 3
    with pytest.raises(KeyError, match="no case 'x' to train on"):
        split(scans, recipe(validation=("c4",), train_on=("x",)))
    with pytest.raises(ValueError, match="'c4' is to be trained on and held out"):
        recipe(validation=("c4",), train_on=("c4",))
    with pytest.raises(ValueError, match="give validation, too"):
        recipe(train_on=("c4",))


def test_channels_that_differ_in_a_data_list_name_the_file(tmp_path):
    files = [written(tmp_path, name, 1, count=2).images for name in "ab"]
    training = [
        {"image": [path.name for path in files[0]], "label": "a_0.nii.gz"},
        {"image": files[1][0].name, "label": "b_0.nii.gz"},
    ]
    (tmp_path / "datalist.json").write_text(json.dumps({"training": training}))
    with pytest.raises(UserError, match=r"b_0.nii.gz: case b_0 has 1 channel\(s\), a_0 has 2"):
        describe(find_labelled(tmp_path), WEIGHTS, recipe())


def test_one_case_only_names_the_file(tmp_path):
    scan = written(tmp_path, "lonely", -1000)
    for parted in (lambda: split((scan,), recipe()), lambda: folds((scan,), 5, 0)):
        with pytest.raises(ValueError, match=r"lonely_0.nii.gz is the only labelled case"):
            parted()


def test_brats_phantoms_are_mri_with_nested_regions(tmp_path):
    write_collection("brats", tmp_path, cases=2, shape=(31, 48, 48))
    task = describe(find_labelled(tmp_path), WEIGHTS, recipe())
    assert {scan.label.parts[-3] for scan in task.scans} == {"HGG", "LGG"}
    assert task.contract.channels == ("t1", "t1ce", "t2", "flair")
    assert task.contract.spacing == pytest.approx((5.0, 5.0, 5.0))
    case = read_case(task.scans[0], task.contract, task.targets)
    assert case.image.shape == (4, 31, 48, 48)
    inner, core, whole = case.target
    assert (inner <= core).all()
    assert (core <= whole).all()
    brain = case.image[0] != 0
    assert case.image[0][brain].mean() == pytest.approx(0, abs=1e-3)
    assert case.image[0][brain].std() == pytest.approx(1, abs=1e-3)


def test_channels_stay_in_the_order_of_the_network_that_has_had_them(tmp_path):
    four = dataclasses.replace(MRI, channels=("flair", "t1w", "t1gd", "t2w"))
    brats = collection((written(tmp_path, "x", 400, count=4),), None, ("t1", "t1ce", "t2", "flair"))
    task = describe(brats, four, recipe(classes=("x",)))
    assert task.contract.channels == ("flair", "t1w", "t1gd", "t2w")
    assert [path.name for path in task.scans[0].images] == [
        "x_3.nii.gz", "x_0.nii.gz", "x_1.nii.gz", "x_2.nii.gz",
    ]  # fmt: skip
    other = dataclasses.replace(MRI, channels=("a", "b", "c", "d"))
    task = describe(brats, other, recipe(classes=("x",)))
    assert (task.found, task.contract.channels) == (brats, ("t1", "t1ce", "t2", "flair"))


def test_channels_of_one_file_that_are_in_another_order_are_told(tmp_path):
    volume = Volume.with_spacing(np.full((2, 8, 8, 8), 400, np.int16), (3.0, 2.0, 1.0))
    write_like(tmp_path / "x.nii.gz", volume.array, volume, dtype=np.int16)
    case = CaseFiles("x", (tmp_path / "x.nii.gz",), tmp_path / "x.nii.gz")
    contract = dataclasses.replace(MRI, channels=("t2", "t1"))
    with pytest.warns(UserWarning, match="as t1, t2, the network has had t2, t1: its first layer"):
        found = contract_for(collection((case,), None, ("t1", "t2")), contract)
    assert found.channels == ("t1", "t2")


@pytest.mark.parametrize("classes", [None, {"liver": (1,), "spleen": (2,), "aorta": (3,)}])
def test_a_case_that_labels_a_class_unknown_to_folder_and_recipe_is_named(tmp_path, classes):
    """livr was not taught, unsaid; of the folder's own classes the recipe may leave some out."""
    scans = [written(tmp_path, name, -1000) for name in "ab"]
    one, other = (
        dataclasses.replace(scan, labelled=names)
        for scan, names in zip(scans, (("liver",), ("spleen", "livr")), strict=True)
    )
    two = recipe(classes=("liver", "spleen"), class_values=((1,), (2,)))
    match = "data says that b labels 'livr'; the classes are liver, spleen"
    with pytest.raises(UserError, match=match):
        describe(collection((one, other), classes), WEIGHTS, two)
    other = dataclasses.replace(other, labelled=("spleen", *(["aorta"] if classes else [])))
    task = describe(collection((one, other), classes), WEIGHTS, two)
    assert [*task.classes] == ["liver", "spleen"]


@pytest.mark.parametrize("value", [-1, 65536])
def test_a_label_value_that_no_class_can_have_names_the_label_map(tmp_path, value):
    """It was refused when every case was prepared, and without the file."""
    scans = []
    for name, odd in (("one", 1), ("odd", value)):
        labels = np.ones((8, 8, 8), np.float32)
        labels[0] = odd
        path = tmp_path / f"{name}.nii.gz"
        write_like(path, labels, Volume.with_spacing(labels, (3.0, 2.0, 1.0)), dtype=np.float32)
        scans.append(dataclasses.replace(written(tmp_path, name, -1000), label=path))
    found = collection(tuple(scans))
    match = rf"odd.nii.gz holds label value {value}, .* name {value} as ignore in a dataset.json"
    with pytest.raises(UserError, match=match):
        describe(found, WEIGHTS, recipe())
    ignoring = dataclasses.replace(found, ignore=value)
    assert describe(ignoring, WEIGHTS, recipe()).classes == {"class_1": (1,)}
    named = collection(tuple(scans), {"liver": (1,), "rest": (value,)})
    with pytest.raises(UserError, match=f"^data gives rest the label value {value}; allowed are 1"):
        describe(named, WEIGHTS, recipe())
    asked = recipe(classes=("rest",), class_values=((value,),))
    with pytest.raises(UserError, match=f"^--classes gives rest the label value {value}; "):
        describe(found, WEIGHTS, asked)


def test_other_values_than_the_folders_are_told(tmp_path):
    """--classes tumour,organ calls 1 the tumour, whatever dataset.json says."""
    folder = collection((written(tmp_path, "b", 400),), {"organ": (1,), "tumour": (2,)}, ("ct",))
    swapped = recipe(classes=("tumour", "organ"), class_values=((1,), (2,)))
    with pytest.warns(UserWarning, match="the former is taken") as told:
        assert describe(folder, WEIGHTS, swapped).classes == {"tumour": (1,), "organ": (2,)}
    assert [str(w.message)[:45] for w in told] == [
        "tumour is to be 1, but data says 2; the forme",
        "organ is to be 2, but data says 1; the former",
    ]
    same = recipe(classes=("tumour", "organ"), class_values=((2,), (1,)))
    assert describe(folder, WEIGHTS, same).classes == {"tumour": (2,), "organ": (1,)}
