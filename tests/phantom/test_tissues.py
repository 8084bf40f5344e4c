import numpy as np
import pytest

from mots_pretrained.phantom.domains import DOMAINS
from mots_pretrained.phantom.tissues import TISSUES, Look
from mots_pretrained.tasks import MOTS_TASKS


def _looks(phase: str, count: int = 40) -> list[Look]:
    return [Look(np.random.default_rng(i), phase, 0.0) for i in range(count)]


def _levels(phase: str, tissue: str) -> np.ndarray:
    return np.array([look.hu[tissue] for look in _looks(phase)])


def test_every_task_has_a_domain_and_its_phases_sum_to_one():
    assert set(DOMAINS) == {task.name for task in MOTS_TASKS}
    for domain in DOMAINS.values():
        assert sum(domain.phases) == pytest.approx(1)


def test_common_enhancement_never_erases_a_vessel():
    for look in _looks("portal"):
        assert look.hu["hepatic_vessel"] > look.hu["liver"] + 5
        assert look.hu["renal_cortex"] > look.hu["kidney_tumour"] + 15
        assert look.hu["pancreas"] > look.hu["pancreas_tumour"] - 5


def test_phases_order_the_great_vessels():
    assert _levels("arterial", "artery").mean() > _levels("portal", "artery").mean() > 100
    assert _levels("native", "artery").mean() < 50
    assert _levels("arterial", "artery").mean() > _levels("arterial", "vein").mean() + 100
    assert _levels("portal", "liver").mean() > _levels("arterial", "liver").mean() + 20
    assert _levels("delayed", "urine").mean() > _levels("portal", "urine").mean() + 100


@pytest.mark.parametrize(
    ("phase", "tissue", "low", "high"),
    [
        # The range of real CTs of each phase.
        ("native", "liver", 47, 70),
        ("native", "spleen", 35, 57),
        ("native", "renal_cortex", 17, 40),
        ("arterial", "artery", 229, 397),
        ("portal", "liver", 72, 123),
        ("portal", "spleen", 79, 126),
        ("portal", "renal_cortex", 146, 236),
        ("portal", "artery", 100, 191),
        ("portal", "muscle", 36, 68),
        ("portal", "spongiosa", 57, 189),
        ("native", "fat", -109, -91),
        ("native", "lung", -886, -770),
    ],
)
def test_the_middle_of_a_tissues_levels_is_as_in_real_scans(phase, tissue, low, high):
    first, middle, third = np.percentile(_levels(phase, tissue), [25, 50, 75])
    assert low < first < middle < third < high


def test_without_contrast_liver_is_a_little_above_spleen_unless_it_is_fatty():
    apart = _levels("native", "liver") - _levels("native", "spleen")
    assert 8 < np.median(apart) < 16
    assert 0.02 < (apart < 0).mean() < 0.3


def test_a_tumour_of_the_kidney_shows_its_grey_only_with_contrast():
    native = _levels("native", "kidney_tumour") - _levels("native", "renal_cortex")
    assert abs(np.median(native)) < 4
    assert np.abs(native).max() < 15
    assert np.median(_levels("portal", "kidney_tumour") - _levels("portal", "renal_cortex")) < -60


def test_randomise_widens_the_spread():
    spread = [
        np.std([Look(np.random.default_rng(i), "native", r).hu["muscle"] for i in range(60)])
        for r in (0.0, 1.0)
    ]
    assert spread[1] > 1.3 * spread[0]


def test_table_has_a_row_of_six_numbers_a_tissue():
    assert all(len(row) == 6 for row in TISSUES.values())
