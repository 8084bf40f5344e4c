"""Cases that are asked for of a prepared folder, and phantoms made for it."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

import pytest
from prepared_folder import write_prepared
from small_networks import small

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.training import scored_cases as module
from mots_pretrained.training.scored_cases import PARTS, phantom_items, prepared_items, records_of


@pytest.fixture
def prepared(tmp_path):
    """Of the liver two training cases, one of them of the validation fold, and one to test."""
    counts = {"liver": 3, "spleen": 1}
    return write_prepared(tmp_path, small().preprocessing, counts, shape=(32, 32, 32))


def test_validation_is_a_fold_of_the_training_cases(prepared):
    found = {part: [r.identifier for r in records_of(prepared, part)] for part in PARTS}
    assert found == {
        "train": ["liver_0", "liver_1"],
        "validation": ["liver_1"],
        "test": ["liver_2", "spleen_0"],
    }
    assert len(records_of(prepared, None)) == 4
    labelled, count, items = prepared_items(small(), prepared, "validation")
    assert (labelled, count) == (("liver", "liver_tumour"), 1)
    assert [item.name for item in items] == ["liver_1"]


def test_a_part_without_a_case_and_a_task_that_is_none_are_told(prepared):
    with pytest.raises(UserError, match="no case to score in the split validation and the task sp"):
        records_of(prepared, "validation", "spleen")
    with pytest.raises(UnknownNameError, match="no case of task 'aorta'"):
        records_of(prepared, "test", "aorta")


def test_a_process_that_was_ended_is_told_in_one_line(monkeypatch):
    class Broken:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, *_):
            return self

        def result(self):
            raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr(module, "ProcessPoolExecutor", Broken)
    with pytest.raises(UserError, match=r"2 processes that make phantoms was ended.*memory"):
        [*phantom_items(small(), 3, (0,), workers=2)]
