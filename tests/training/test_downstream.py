"""What a folder asks of a network: modality, classes, spacing, and which cases are held out."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.tasks import BRATS_REGIONS
from mots_pretrained.training.downstream import (
    Choices,
    contract_for,
    describe,
    folds,
    named_classes,
    split,
)

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
    classes = {"x": (1,)}
    chosen = describe(folder, WEIGHTS, Choices(classes, spacing=(6.0, 4.0, 4.0)))
    assert chosen.contract.spacing == (6.0, 4.0, 4.0)
    with pytest.raises(ValueError, match=r"spacing must be 0.1 to 20.0 mm"):
        describe(folder, WEIGHTS, Choices(classes, spacing=(60.0, 4.0, 4.0)))


def test_the_classes_say_whether_they_exclude_each_other(tmp_path):
    folder = collection((written(tmp_path, "b", 400, count=4),), dict(BRATS_REGIONS))
    assert not describe(folder, WEIGHTS).exclusive
    merged = Choices(classes={"kidneys": (2, 3), "liver": (6,)})
    assert describe(folder, WEIGHTS, merged).exclusive


def test_differing_channels_name_the_file(tmp_path):
    one, two = written(tmp_path, "a", 1, count=2), written(tmp_path, "b", 1)
    with pytest.raises(ValueError, match=r"b_0.nii.gz: case b has 1 channel\(s\), a has 2"):
        contract_for(collection((one, two)), WEIGHTS)
    with pytest.raises(ValueError, match=r"a_0.nii.gz has 2 channel\(s\), wanted are 1 \(ct\)"):
        contract_for(collection((one,), None, ("ct",)), WEIGHTS)


def test_splits_are_seeded_and_leave_something_to_train_on():
    train, held = split(scans_named(12), None, 0)
    assert (len(train), len(held)) == (10, 2)
    assert len(split(scans_named(3), None, 0)[1]) == 1
    assert split(scans_named(3), 0, 0)[1] == []
    assert split(scans_named(3), 1, 3) == split(scans_named(3), 1, 3)
    assert len({split(scans_named(3), 1, seed)[1][0].name for seed in range(20)}) == 3
    assert [scan.name for scan in split(scans_named(3), ("c1",), 0)[1]] == ["c1"]
    with pytest.raises(KeyError, match="no case 'c7' to hold out; there are c0, c1, c2"):
        split(scans_named(3), ("c7",), 0)
    with pytest.raises(ValueError, match="3 of 3 cases can't be held out"):
        split(scans_named(3), 3, 0)
    with pytest.raises(ValueError, match="must be 0 or more, not -1"):
        split(scans_named(3), -1, 0)


def test_each_case_is_held_out_by_one_fold():
    parts = folds(scans_named(7), 3, 0)
    held = [scan.name for _, validation in parts for scan in validation]
    assert sorted(held) == [f"c{index}" for index in range(7)]
    assert all(len(train) + len(validation) == 7 for train, validation in parts)
    assert folds(scans_named(7), 3, 1) != parts
    for count in (1, 8):
        with pytest.raises(ValueError, match=f"7 cases make 2 to 7 folds, not {count}"):
            folds(scans_named(7), count, 0)


def test_one_case_only_names_the_file(tmp_path):
    scan = written(tmp_path, "lonely", -1000)
    for parted in (lambda: split((scan,), None, 0), lambda: folds((scan,), 5, 0)):
        with pytest.raises(ValueError, match=r"lonely_0.nii.gz is the only labelled case"):
            parted()


def test_names_of_classes(tmp_path):
    assert named_classes("") is None
    assert named_classes("liver, spleen") == {"liver": (1,), "spleen": (2,)}
    (tmp_path / "names.json").write_text('{"liver": 6, "both": [6, 7]}')
    assert named_classes(str(tmp_path / "names.json")) == {"liver": (6,), "both": (6, 7)}
    for text in ("liver,,spleen", "liver,liver"):
        with pytest.raises(ValueError, match="different names parted by commas"):
            named_classes(text)


def test_brats_phantoms_are_mri_with_nested_regions(tmp_path):
    from mots_pretrained.data.layouts import find_labelled

    write_collection("brats", tmp_path, cases=2, shape=(31, 48, 48))
    task = describe(find_labelled(tmp_path), WEIGHTS)
    assert {scan.label.parts[-3] for scan in task.scans} == {"HGG", "LGG"}
    assert task.contract.channels == ("t1", "t1ce", "t2", "flair")
    assert task.contract.spacing == pytest.approx((5.0, 5.0, 5.0))
    case = task.read(task.scans[0])
    assert case.image.shape == (4, 31, 48, 48)
    inner, core, whole = case.target
    assert (inner <= core).all()
    assert (core <= whole).all()
    brain = case.image[0] != 0
    assert case.image[0][brain].mean() == pytest.approx(0, abs=1e-3)
    assert case.image[0][brain].std() == pytest.approx(1, abs=1e-3)
