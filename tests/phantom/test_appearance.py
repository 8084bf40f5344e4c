import numpy as np
import pytest

from mots_pretrained.phantom.appearance import PHASES, TISSUES, Look, Scanner
from mots_pretrained.phantom.domains import DOMAINS
from mots_pretrained.tasks import MOTS_TASKS


def _looks(phase: str, count: int = 40) -> list[Look]:
    chance = tuple(float(phase == name) for name in PHASES)
    scanner = Scanner(chance, (10, 10), (3, 3), (1.5, 1.5))
    return [Look(np.random.default_rng(i), scanner, 0.0) for i in range(count)]


def test_every_task_has_a_domain_and_its_phases_sum_to_one():
    assert set(DOMAINS) == {task.name for task in MOTS_TASKS}
    for domain in DOMAINS.values():
        assert sum(domain.scanner.phases) == pytest.approx(1)


def test_common_enhancement_never_erases_a_vessel():
    for look in _looks("portal"):
        assert look.hu["hepatic_vessel"] > look.hu["liver"] + 5
        assert look.hu["renal_cortex"] > look.hu["kidney_tumour"] + 15
        assert look.hu["pancreas"] > look.hu["pancreas_tumour"] - 5


def test_phases_order_the_great_vessels():
    def mean(phase: str, tissue: str) -> float:
        return float(np.mean([look.hu[tissue] for look in _looks(phase)]))

    assert mean("arterial", "artery") > mean("portal", "artery") > mean("native", "artery")
    assert mean("arterial", "artery") > mean("arterial", "vein") + 100
    assert mean("portal", "liver") > mean("arterial", "liver") + 20
    assert mean("delayed", "urine") > mean("portal", "urine") + 100


def test_native_tissues_stay_within_textbook_ranges():
    looks = _looks("native")
    for tissue, (low, high) in {
        "fat": (-130, -75),
        "muscle": (30, 75),
        "spleen": (30, 75),
        "lung": (-950, -740),
        "cortical_bone": (280, 900),
    }.items():
        for look in looks:
            assert low < look.hu[tissue] < high, tissue


def test_randomise_widens_the_spread():
    scanner = DOMAINS["liver"].scanner
    spread = [
        np.std([Look(np.random.default_rng(i), scanner, r).hu["muscle"] for i in range(60)])
        for r in (0.0, 1.0)
    ]
    assert spread[1] > 1.5 * spread[0]


def test_table_has_a_row_of_six_numbers_a_tissue():
    assert all(len(row) == 6 for row in TISSUES.values())
