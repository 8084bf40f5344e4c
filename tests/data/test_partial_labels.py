"""What each collection's label values mean for its task (Table 1), and downstream for classes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.images.reading import count_values
from mots_pretrained.tasks import BRATS_REGIONS, IGNORED, task_named

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
    targets = Targets.of_task(task_named(name))
    target = targets.target(np.arange(len(organ)).reshape(1, 1, -1), (1, 1, len(organ)))
    assert target.dtype == np.uint8
    assert target[:, 0, 0].tolist() == [organ, tumour]
    assert targets.labelled == known
    assert targets.known == tuple(range(len(organ)))


@pytest.mark.parametrize(("name", "value"), [("spleen", 2), ("liver", 3), ("liver", -1)])
def test_a_strange_value_is_told(name, value):
    targets = Targets.of_task(task_named(name))
    with pytest.raises(ValueError, match=f"a.nii holds label value {value}, which is in no class"):
        targets.check(count_values(np.full((1, 1, 1), value)), "a.nii")


def test_a_strange_value_comes_with_a_way_out_that_is_one():
    """Of -1 the line gave a file that the program refuses; of many values one that is no JSON."""
    few = Targets.of_classes({"liver": (1, 2), "spleen": (3,)})
    told = few._way_out([4, 65535])
    assert json.loads(told.partition("FILE.json, ")[2]) == {
        "liver": [1, 2], "spleen": 3, "class_4": 4, "class_65535": 65535,
    }  # fmt: skip
    for strange, value in (([-1], -1), ([65536], 65536), ([4, 65536], 65536)):
        told = few._way_out(strange)
        assert told.endswith(
            f"count neither way, name {value} as ignore in a dataset.json of nnU-Net"
        )
    for targets, strange in (
        (Targets.of_classes({f"class_{n}": (n,) for n in range(1, 101)}), [200]),
        (few, range(4, 1000)),
    ):
        assert targets._way_out(strange).endswith(
            "or name it, beside all classes, by --classes FILE.json"
        )


def test_classes_are_one_map_and_those_that_share_a_value_are_channels():
    labels = np.array([0, 1, 2, 4, 9]).reshape(1, 1, -1)
    one = Targets.of_classes({"b": (4,), "a": (1, 2)}, ignore=9)
    assert one.target(labels, (1, 1, 5))[:, 0, 0].tolist() == [[0, 2, 2, 1, IGNORED]]
    assert (one.form, one.labelled, one.known) == ("classes", (True,), (0, 1, 2, 4, 9))
    nested = Targets.of_classes(BRATS_REGIONS, ignore=9)
    assert nested.target(labels, (1, 1, 5))[:, 0, 0].tolist() == [
        [0, 0, 0, 1, IGNORED], [0, 1, 0, 1, IGNORED], [0, 1, 1, 1, IGNORED],
    ]  # fmt: skip
    assert (nested.form, nested.labelled) == ("regions", (True,) * 3)
    asked = Targets.of_classes({"b": (4,), "a": (1, 2)}, exclusive=False)
    assert asked.target(labels, (1, 1, 5))[:, 0, 0].tolist() == [[0, 0, 0, 1, 0], [0, 1, 1, 0, 0]]


def test_more_classes_than_numbers_are_refused():
    many = {f"class_{n}": (n,) for n in range(1, 256)}
    with pytest.raises(ValueError, match="at most 254 classes can be learned, not 255"):
        Targets.of_classes(many)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([-70000, -3, 0, 1, 7, 254, 255, 300, 65535, 200000]), min_size=1),
    st.sampled_from([np.int32, np.int64]),
)
def test_counts_and_codes_of_any_values(values, dtype):
    """Values beyond a byte and below 0 are neither wrapped nor mistaken for others."""
    labels = np.array(values, dtype).reshape(-1, 1, 1)
    assert count_values(labels) == {v: values.count(v) for v in sorted({*values})}
    target = Targets.of_classes({"a": (300,), "b": (65535, 1)}).target(labels, labels.shape)
    assert target.ravel().tolist() == [{300: 1, 65535: 2, 1: 2}.get(v, 0) for v in values]
