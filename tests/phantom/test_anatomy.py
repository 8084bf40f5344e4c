"""One patient: what is found where, its outline, and the same person from the same seed."""

import dataclasses

import numpy as np
import pytest

from mots_pretrained.phantom.anatomy import Anatomy

NAMES = (
    "liver", "spleen", "stomach", "pancreas", "right_kidney", "left_kidney", "aorta", "colon",
    "lung", "heart", "bladder", "duodenum", "small_bowel", "esophagus", "inferior_vena_cava",
    "right_adrenal_gland", "left_adrenal_gland", "hepatic_vessel", "portal_and_splenic_vein",
)  # fmt: skip


@pytest.fixture(scope="module")
def patient():
    return Anatomy(np.random.default_rng(2), ("liver_tumour",), 0.0)


def test_structures_are_found_in_the_scanners_millimetres(patient):
    rng = np.random.default_rng(0)
    found = {name: patient.find(name, rng) for name in NAMES}
    inside = {name: patient.pose.to_patient(point[None])[0] for name, point in found.items()}
    for name in ("liver", "spleen", "pancreas"):
        solid = getattr(patient.organs, name)
        np.testing.assert_allclose(inside[name], (solid.low + solid.high) / 2, atol=4)
    assert inside["right_kidney"][2] < 0 < inside["left_kidney"][2]
    assert inside["right_adrenal_gland"][2] < 0 < inside["left_adrenal_gland"][2]
    assert inside["lung"][0] > inside["liver"][0] > inside["bladder"][0]


def test_a_lesion_is_found_by_its_kind_and_nothing_by_another_name(patient):
    rng = np.random.default_rng(0)
    centres = [lesion.centre for lesion in patient.lesions if lesion.kind == "liver_tumour"]
    point = patient.pose.to_patient(patient.find("liver_tumour", rng)[None])[0]
    assert min(np.linalg.norm(point - centre) for centre in centres) < 4
    assert patient.find("muscle", rng) is None


def test_a_kidney_that_is_not_there_is_not_found(patient, monkeypatch):
    organs = patient.organs
    one = dataclasses.replace(organs.kidneys, present=(True, False))
    monkeypatch.setattr(organs, "kidneys", one)
    rng = np.random.default_rng(0)
    assert patient.find("left_kidney", rng) is None
    assert patient.find("right_kidney", rng) is not None


def test_a_person_without_a_gallbladder_has_none_to_find(patient, monkeypatch):
    monkeypatch.setattr(patient.organs, "gallbladder", None)
    assert patient.find("gallbladder", np.random.default_rng(0)) is None


def test_the_outline_holds_the_organs_of_its_heights(patient):
    heights = [patient.heights(z) for z in (-200.0, 0.0, 200.0)]
    assert heights == sorted(heights)
    low, high = patient.outline(-100.0, 100.0)
    for name in ("liver", "spleen", "pancreas"):
        point = patient.find(name, np.random.default_rng(0))
        assert (low < point).all()
        assert (point < high).all()
    assert high[2] - low[2] > 250


def test_the_same_seed_is_the_same_person():
    one, again, other = (Anatomy(np.random.default_rng(seed), (), 0.5) for seed in (5, 5, 6))
    assert one.person == again.person != other.person
    np.testing.assert_array_equal(one.bowel.colon, again.bowel.colon)
    np.testing.assert_array_equal(one.pose.matrix, again.pose.matrix)
    assert one.strength == pytest.approx(1.4)
