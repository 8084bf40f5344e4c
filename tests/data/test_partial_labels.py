"""What each collection's label values mean for its task (Table 1)."""

import numpy as np
import pytest

from mots_pretrained.data.partial_labels import partial_labels
from mots_pretrained.tasks import task_named

EXPECTED = {  # what label values 0, 1, 2 become: organ channel, tumour channel, annotated
    "liver": ([0, 1, 1], [0, 0, 1], (True, True)),
    "kidney": ([0, 1, 1], [0, 0, 1], (True, True)),
    "hepatic_vessel": ([0, 1, 0], [0, 0, 1], (True, True)),
    "pancreas": ([0, 1, 1], [0, 0, 1], (True, True)),
    "colon": ([0, 0], [0, 1], (False, True)),
    "lung": ([0, 0], [0, 1], (False, True)),
    "spleen": ([0, 1], [0, 0], (True, False)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_values_by_table_1(name):
    organ, tumour, known = EXPECTED[name]
    target, labelled = partial_labels(np.arange(len(organ)).reshape(1, 1, -1), task_named(name))
    assert target.dtype == np.uint8
    assert target[:, 0, 0].tolist() == [organ, tumour]
    assert tuple(labelled) == known


@pytest.mark.parametrize(("name", "value"), [("spleen", 2), ("liver", 3), ("liver", -1)])
def test_a_strange_value_is_told(name, value):
    with pytest.raises(ValueError, match=f"label value {value} means nothing in task {name}"):
        partial_labels(np.full((1, 1, 1), value), task_named(name))
