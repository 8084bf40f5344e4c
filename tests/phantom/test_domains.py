"""What the scans of each collection look like: sound ranges that hold what the task is about."""

import pytest

from mots_pretrained.phantom.domains import DOMAINS
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.space import EXTENT_HIGH, EXTENT_LOW
from mots_pretrained.phantom.tissues import PHASES
from mots_pretrained.tasks import MOTS_TASKS, task_named

# Millimetres above the first lumbar vertebra at which the middle of the organ lies.
MIDDLES = {
    "liver": 36, "kidney": -38, "hepatic_vessel": 36, "pancreas": 0, "colon": -60, "lung": 150,
    "spleen": 49,
}  # fmt: skip


def test_there_is_a_domain_for_each_task():
    assert [*DOMAINS] == [task.name for task in MOTS_TASKS]


@pytest.mark.parametrize("name", DOMAINS)
def test_ranges_are_sound(name):
    domain = DOMAINS[name]
    assert len(domain.phases) == len(PHASES)
    assert sum(domain.phases) == pytest.approx(1)
    assert min(domain.phases) >= 0
    for low, high in (domain.slices, domain.sharpness, domain.bottom, domain.top):
        assert low < high
    assert domain.slices[0] > 0
    assert (domain.sharpness[0] >= 0, domain.sharpness[1] <= 1) == (True, True)
    assert domain.bottom[1] < domain.top[0]
    assert (domain.bottom[0] > EXTENT_LOW[0], domain.top[1] < EXTENT_HIGH[0]) == (True, True)


@pytest.mark.parametrize("name", DOMAINS)
def test_even_the_shortest_scan_holds_the_middle_of_its_organ(name):
    domain = DOMAINS[name]
    assert domain.bottom[1] < MIDDLES[name] < domain.top[0]


@pytest.mark.parametrize("name", DOMAINS)
def test_the_lesions_are_the_tasks_own(name):
    tumour = task_named(name).tumour
    assert DOMAINS[name].lesions == (() if tumour is None else (tumour,))
    assert {*DOMAINS[name].lesions} <= {*LABEL}
