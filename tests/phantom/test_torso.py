import importlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mots_pretrained.phantom import TORSO_LABELS, Phantom, task_target, torso
from mots_pretrained.phantom.domains import DOMAINS
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.space import Grid

_SHAPE, _SPACING = (72, 64, 64), (8.0, 6.5, 6.5)  # neck to thighs, skin to skin


@pytest.fixture(scope="module")
def people() -> list[Phantom]:
    return [
        torso(seed, domain=domain, shape=_SHAPE, spacing=_SPACING)
        for seed, domain in enumerate(DOMAINS)
    ]


def _middle(phantom: Phantom, *names: str) -> np.ndarray:
    where = np.argwhere(np.isin(phantom.labels, [LABEL[name] for name in names]))
    assert len(where), names
    return where.mean(axis=0)


def _millilitres(phantom: Phantom, *names: str) -> float:
    voxels = np.isin(phantom.labels, [LABEL[name] for name in names]).sum()
    return float(voxels * np.prod(phantom.spacing) / 1000)


def test_types_and_ranges(people):
    for phantom in people:
        assert phantom.image.dtype == np.float32
        assert phantom.labels.dtype == np.uint8
        assert phantom.image.shape == phantom.labels.shape == _SHAPE
        assert phantom.spacing == _SPACING
        assert np.isfinite(phantom.image).all()
        assert phantom.image.min() >= -2000
        assert phantom.image.max() <= 3071
        assert phantom.labels.max() <= len(TORSO_LABELS)


def test_left_right_front_back_up_down(people):
    for phantom in people:
        liver, spleen = _middle(phantom, "liver"), _middle(phantom, "spleen")
        assert liver[2] + 8 < spleen[2]  # the liver on the patient's right, low W
        right, left = (phantom.labels == LABEL[f"{side}_kidney"] for side in ("right", "left"))
        if right.any() and left.any():  # one person in fifty lacks one
            assert _middle(phantom, "right_kidney")[2] + 8 < _middle(phantom, "left_kidney")[2]
        assert _middle(phantom, "inferior_vena_cava")[2] < _middle(phantom, "aorta")[2] + 1
        kidneys = _middle(phantom, "right_kidney", "left_kidney")
        assert kidneys[1] > _middle(phantom, "stomach")[1]  # behind
        assert _middle(phantom, "aorta")[1] < _middle(phantom, "bone")[1]
        assert _middle(phantom, "lung")[0] > liver[0] > _middle(phantom, "small_bowel")[0]


@pytest.mark.parametrize(
    ("names", "low", "high"),
    [
        (("liver", "liver_tumour", "hepatic_vessel_tumour", "hepatic_vessel"), 500, 3500),
        (("spleen",), 15, 800),
        (("right_kidney", "kidney_tumour", "kidney_cyst"), 20, 700),
        (("left_kidney", "kidney_tumour", "kidney_cyst"), 20, 700),
        (("pancreas", "pancreas_tumour"), 8, 300),
        (("stomach",), 40, 1400),
        (("aorta",), 50, 900),
        (("lung",), 1200, 12000),
        (("bone",), 700, 5000),
        (("heart",), 200, 2500),
        (("colon",), 80, 3500),
    ],
)
def test_volumes_are_a_persons(people, names, low, high):
    found = [ml for phantom in people if (ml := _millilitres(phantom, *names)) > 0]
    assert len(found) >= len(people) - 1  # one person in fifty lacks a kidney
    assert low < min(found)
    assert max(found) < high


def test_hounsfield_of_what_is_seen(people):
    for phantom in people:
        for name, low, high in (
            ("lung", -920, -600),
            ("bone", 120, 600),
            ("liver", -30, 190),
            ("muscle", 15, 110),
        ):
            assert low < np.median(phantom.image[phantom.labels == LABEL[name]]) < high, name


def test_a_domain_holds_its_own_tumour(people):
    for phantom in people:
        target = task_target(phantom.labels, phantom.domain)
        assert target[0].any()
        assert target[1].any() == (phantom.domain != "spleen")


def test_lesions_are_had_for_the_asking():
    wanted = ("kidney_tumour", "pancreas_tumour")
    phantom = torso(5, domain="spleen", shape=_SHAPE, spacing=_SPACING, lesions=wanted)
    assert all((phantom.labels == LABEL[name]).any() for name in wanted)


def test_same_seed_same_bytes_whatever_came_before_and_in_another_process():
    arguments = "3, domain='colon', shape=(24, 32, 32), randomise=0.7"
    first = torso(3, domain="colon", shape=(24, 32, 32), randomise=0.7)
    torso(4, domain="lung", shape=(16, 16, 16))
    again = torso(3, domain="colon", shape=(24, 32, 32), randomise=0.7)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.labels.tobytes() == again.labels.tobytes()
    code = (
        "import hashlib; from mots_pretrained.phantom import torso; "
        f"p = torso({arguments}); "
        "print(hashlib.sha256(p.image.tobytes() + p.labels.tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import hashlib

    own = hashlib.sha256(first.image.tobytes() + first.labels.tobytes()).hexdigest()
    assert run.stdout.strip() == own


def test_seeds_domains_and_randomise_differ():
    pictures = {
        torso(seed, domain=domain, shape=(16, 24, 24), randomise=r).image.tobytes()
        for seed, domain, r in (
            (0, "liver", 0.0),
            (1, "liver", 0.0),
            (0, "colon", 0.0),
            (0, "liver", 1.0),
        )
    }
    assert len(pictures) == 4


@pytest.mark.parametrize("seed", [1, 3])
def test_windows_that_reach_above_the_kidneys_show_the_same_patient(monkeypatch, seed):
    """Windows wholly below are not among them, nor have organs at their edges all pieces."""

    def window(bottom: int, planes: int) -> np.ndarray:
        def view(rng, habits, anatomy, *_):
            centre = np.array([bottom + (planes - 1) / 2 * 8, -50.0, 0.0])
            return Grid((planes, 50, 50), (8.0, 9.0, 9.0), centre, anatomy.pose)

        monkeypatch.setattr(importlib.import_module("mots_pretrained.phantom.torso"), "_view", view)
        return torso(seed, domain="kidney").labels

    whole = window(-300, 60)  # to 172 mm above the first lumbar vertebra
    assert len(np.unique(whole)) > 12
    assert np.array_equal(window(-300, 50), whole[:50])
    assert np.array_equal(window(-140, 40)[:30], whole[20:50])


def test_the_patient_is_the_same_on_coarse_and_fine_grids():
    coarse = torso(2, shape=(48, 44, 44), spacing=(8.0, 9.0, 9.0))
    fine = torso(2, shape=(96, 88, 88), spacing=(4.0, 4.5, 4.5))
    for name in ("liver", "spleen", "lung"):
        ratio = _millilitres(coarse, name) / _millilitres(fine, name)
        assert ratio == pytest.approx(1, abs=0.12)


def test_some_scans_are_thin_slabs_where_ranges_are_widened():
    def planes(randomise: float, count: int) -> list[int]:
        made = (torso(s, spacing=(8.0, 14.0, 14.0), randomise=randomise) for s in range(count))
        return [phantom.labels.shape[0] for phantom in made]

    assert min(planes(0.0, 4)) > 20  # the domain's range is at least 185 mm
    slabs = [count for count in planes(1.0, 10) if count < 20]
    assert slabs
    assert min(slabs) >= 8


def test_shape_and_spacing_follow_from_each_other():
    spread = torso(0, shape=(20, 30, 30))
    assert spread.spacing[1] == pytest.approx(spread.spacing[2])
    assert 280 < 30 * spread.spacing[1] < 620  # a field of view
    fitted = torso(0, spacing=(12.0, 12.0, 12.0))
    height = 20 * spread.spacing[0]
    assert fitted.labels.shape[0] == round(height / 12.0)


def test_a_window_finds_what_it_is_aimed_at():
    hits = [
        (
            torso(s, shape=(24, 32, 32), spacing=(4, 4, 4), focus="pancreas").labels
            == LABEL["pancreas"]
        ).any()
        for s in range(4)
    ]
    assert sum(hits) >= 3


@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    domain=st.sampled_from(list(DOMAINS)),
    randomise=st.floats(0, 1),
)
def test_any_seed_gives_a_sound_scan(seed, domain, randomise):
    phantom = torso(seed, domain=domain, shape=(24, 32, 32), randomise=randomise)
    assert np.isfinite(phantom.image).all()
    assert phantom.image.std() > 100  # body and air
    assert phantom.labels.max() <= len(TORSO_LABELS)
    assert (phantom.labels == LABEL["muscle"]).any()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"domain": "brain"}, KeyError, "unknown phantom domain 'brain'"),
        ({"shape": (4, 32, 32)}, ValueError, "at least 8"),
        ({"spacing": (1.0, 0.0, 1.0)}, ValueError, "positive"),
        ({"randomise": 2.0}, ValueError, "0 to 1"),
        ({"lesions": ["wart"]}, KeyError, "unknown lesion 'wart'"),
        ({"focus": "soul"}, KeyError, "unknown focus 'soul'"),
        ({"phase": "lunar"}, KeyError, "unknown phase 'lunar'"),
    ],
)
def test_impossible_wishes_are_told(options, error, words):
    with pytest.raises(error, match=words):
        torso(0, **options)


def test_phantoms_need_neither_torch_nor_nibabel():
    code = (
        "import sys; from mots_pretrained.phantom import brain, torso; "
        "torso(0, shape=(8, 8, 8)); "
        "print([m for m in ('torch', 'nibabel', 'monai') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
