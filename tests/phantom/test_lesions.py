import numpy as np
import pytest

from mots_pretrained.phantom import torso
from mots_pretrained.phantom.anatomy import Anatomy
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.lesions import TUMOURS

_WHOLE = {"shape": (60, 56, 56), "spacing": (8.0, 7.0, 7.0)}


@pytest.fixture(scope="module")
def patients() -> list[Anatomy]:
    return [Anatomy(np.random.default_rng(seed), TUMOURS[:1], 0.0) for seed in range(16)]


def test_off_task_lesions_and_cysts_come_by_chance(patients):
    kinds = [{lesion.kind for lesion in patient.lesions} for patient in patients]
    assert all("liver_tumour" in have for have in kinds)
    assert sum(len(have & set(TUMOURS)) > 1 for have in kinds) < 8  # of sixteen
    assert any("kidney_cyst" in have for have in kinds)
    assert not any("hepatic_vessel_tumour" in have for have in kinds)


def test_lesions_lie_in_their_organ(patients):
    for patient in patients:
        for lesion in patient.lesions:
            point = tuple(np.float32([v]) for v in lesion.centre)
            if lesion.kind.startswith("liver"):
                assert patient.organs.liver.distance(point)[0] < 0
            if lesion.kind == "kidney_tumour":  # exophytic, but touching
                depth = min(k.distance(point)[0] for k in patient.organs.kidneys.parenchyma)
                assert depth < lesion.radius


def test_tumours_are_large_enough_to_learn():
    sizes = {name: [] for name in ("kidney_tumour", "pancreas_tumour", "colon_tumour")}
    for seed in range(6, 12):
        phantom = torso(seed, domain="spleen", lesions=tuple(sizes), **_WHOLE)
        for name, found in sizes.items():
            voxels = (phantom.labels == LABEL[name]).sum()
            found.append(voxels * np.prod(phantom.spacing) / 1000)
    for name, found in sizes.items():
        assert np.median(found) > 4, name  # millilitres
        assert max(found) < 500, name


def test_liver_tumours_replace_liver_only():
    for seed in range(2):
        with_tumour = torso(seed, domain="liver", **_WHOLE).labels
        inside = with_tumour == LABEL["liver_tumour"]
        near = np.zeros_like(inside)
        for axis in range(3):
            near |= np.roll(with_tumour == LABEL["liver"], 1, axis)
            near |= np.roll(with_tumour == LABEL["liver"], -1, axis)
        assert inside.any()
        assert near[inside].mean() > 0.05  # they lie among liver
        assert (with_tumour == LABEL["liver"]).sum() > inside.sum()


def test_a_patient_may_be_asked_for_every_tumour_at_once():
    patient = Anatomy(np.random.default_rng(0), TUMOURS, 0.0)
    assert {lesion.kind for lesion in patient.lesions} >= set(TUMOURS)
