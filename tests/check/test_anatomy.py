"""Orientation read off boxes by hand, phantoms and real label maps, upright and flipped."""

import numpy as np
import pytest
from torso_once import torso_once

from mots_pretrained.check.anatomy import AXES, HU_RANGES, Reading, judge, read_anatomy
from mots_pretrained.check.landmarks import find_landmarks, thinned
from mots_pretrained.images.reading import read_volume
from mots_pretrained.phantom.labels import LABEL, task_target
from mots_pretrained.tasks import MOTS_CATEGORIES

SPACING = (3.0, 3.0, 3.0)
FLIPS = (None, 0, 1, 2)
AMOS = {
    "spleen": 1,
    "right_kidney": 2,
    "left_kidney": 3,
    "gallbladder": 4,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior_vena_cava": 9,
    "pancreas": 10,
    "bladder": 14,
}
TOTALSEGMENTATOR = {
    "spleen": 1,
    "right_kidney": 2,
    "left_kidney": 3,
    "gallbladder": 4,
    "liver": 5,
    "stomach": 6,
    "pancreas": 7,
    "bladder": 21,
    "aorta": 52,
    "inferior_vena_cava": 63,
}
KITS = ("00021", "00023", "00038", "00039", "00129")
PHANTOM = (
    "liver",
    "spleen",
    "right_kidney",
    "left_kidney",
    "stomach",
    "pancreas",
    "bladder",
    "lung",
)


def box(*slices, shape=(60, 60, 60)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*edges) for edges in slices)] = True
    return mask


def named(labels, values):
    return {name: labels == value for name, value in values.items() if (labels == value).any()}


def verdicts(organs, spacing, flip=None, image=None):
    """Verdicts of head-foot, front-back and left-right, everything flipped along an axis."""
    turn = (lambda a: a) if flip is None else (lambda a: np.flip(a, flip))
    seen = None if image is None else find_landmarks(turn(image), spacing)
    turned = {name: turn(mask) for name, mask in organs.items()}
    return [*judge(read_anatomy(turned, spacing, landmarks=seen)).values()]


def with_flip(told, flip):
    """What is to be said of a flipped scan, where the upright one was told as given."""
    return ["flipped" if axis == flip and v == "upright" else v for axis, v in enumerate(told)]


def test_an_order_is_measured_in_millimetres():
    organs = {
        "liver": box((40, 50), (10, 20), (5, 15)),
        "spleen": box((40, 50), (30, 40), (40, 50)),
    }
    texts = [reading.text for reading in read_anatomy(organs, SPACING)]
    assert texts == [
        "the spleen lies 15 mm behind the body's middle",
        "the liver lies 105 mm right of the spleen",
        "the liver lies 60 mm right of the body's middle",
        "the spleen lies 45 mm left of the body's middle",
    ]


def test_kidneys_alone_do_not_tell_left_from_right():
    leaning = np.zeros((60, 60, 60), bool)
    for depth in range(15, 45):  # the upper poles lie nearer to each other
        far = 12 + (45 - depth) // 5
        leaning[depth, 40:46, 30 - far - 5 : 30 - far] = True
        leaning[depth, 40:46, 30 + far : 30 + far + 5] = True
    for flip in FLIPS:
        told = verdicts({"kidney": leaning}, SPACING, flip)
        assert told == with_flip(["upright", "upright", "untold"], flip)


def test_one_kidney_leans_nowhere():
    told = verdicts({"kidney": box((15, 45), (40, 46), (10, 20))}, SPACING)
    assert told == ["untold", "upright", "untold"]


def test_an_organ_of_a_few_voxels_tells_nothing():
    assert read_anatomy({"liver": box((0, 2), (0, 2), (0, 2))}, SPACING) == ()
    assert read_anatomy({}, SPACING) == ()
    assert judge(()) == dict.fromkeys(AXES, "untold")


def test_readings_are_counted_and_weak_ones_are_not():
    def told(*strengths):
        return judge(Reading("left-right", "", s) for s in strengths)["left-right"]

    assert told(1.0, -0.9) == "upright"
    assert told(5.0, -1.0, -1.0) == "flipped"
    assert told(0.5) == told(3.0, -3.0) == "unclear"


def test_every_category_has_its_range_of_hu():
    assert set(HU_RANGES) == set(MOTS_CATEGORIES)


@pytest.mark.parametrize(
    ("domain", "told"),
    [
        ("liver", ["upright", "upright", "upright"]),
        ("spleen", ["upright", "upright", "upright"]),
        ("kidney", ["upright", "upright", "untold"]),
    ],
)
def test_phantoms_complete_and_as_their_collections_label_them(domain, told):
    phantom = torso_once(101, domain=domain, shape=(48, 64, 64))
    complete = named(phantom.labels, {name: LABEL[name] for name in PHANTOM})
    partial = {domain: task_target(phantom.labels, domain)[0]}
    for flip in FLIPS:
        assert verdicts(complete, phantom.spacing, flip) == with_flip(["upright"] * 3, flip)
        found = verdicts(partial, phantom.spacing, flip, phantom.image)
        assert found == with_flip(told, flip)


@pytest.mark.parametrize(
    ("name", "values"),
    [("amos_0001", AMOS), ("s0327", TOTALSEGMENTATOR)],
)
def test_real_multi_organ_maps(shared, name, values):
    labels = read_volume(shared / f"data/label_maps/{name}_labels.nii.gz")
    thin, spacing = thinned(labels.array, labels.spacing, 3.0)
    organs = named(thin, values)
    assert len(organs) == len(values)
    for flip in FLIPS:
        assert verdicts(organs, tuple(spacing), flip) == with_flip(["upright"] * 3, flip)


@pytest.mark.parametrize("case", KITS)
def test_real_kidneys_are_read_upright_by_the_header(shared, case):
    labels = read_volume(shared / f"data/label_maps/kits19/case_{case}_segmentation.nii.gz")
    thin, spacing = thinned(labels.array, labels.spacing, 3.0)
    for flip in FLIPS:
        told = verdicts({"kidney": thin > 0}, tuple(spacing), flip)
        assert told == with_flip(["upright", "upright", "untold"], flip)


@pytest.mark.parametrize("organ", ["liver", "spleen", "pancreas"])
def test_a_real_scan_with_one_organ(shared, organ):
    folder = shared / "data/ts_patientA_ct"
    image = read_volume(folder / "example_ct.nii.gz")
    labels = read_volume(folder / "example_seg_fast_force_split.nii.gz").array
    mask = {organ: labels == TOTALSEGMENTATOR[organ]}
    side = "untold" if organ == "pancreas" else "upright"
    for flip in FLIPS:
        told = verdicts(mask, image.spacing, flip, image.array)
        assert told == with_flip(["upright", "upright", side], flip)
