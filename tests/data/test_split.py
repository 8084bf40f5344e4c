"""The published split counted against Table 1; the seeded one a function of identifiers alone."""

import hashlib
from pathlib import Path

import pytest

from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.data.split import published_split, split_cases, supervision, validation_cases
from mots_pretrained.tasks import MOTS_TASKS, Task, task_named

PREFIX = {"hepatic_vessel": "hepaticvessel"}


def collection(task, names, unlabelled=()):
    cases = [
        CaseFiles(name, (Path(name),), None if name in unlabelled else Path(name)) for name in names
    ]
    return Collection(task.name, Path("folder"), tuple(cases), task)


def numbered(task, count):
    task = Task(task, task, None, (1,))
    return collection(task, [f"{task.name}_{number}" for number in range(count)])


def whole_mots():
    return [
        collection(
            task,
            [n for n in published_split() if n.startswith(PREFIX.get(task.name, task.name) + "_")],
        )
        for task in MOTS_TASKS
    ]


def test_the_published_split_is_table_1():
    collections = whole_mots()
    split = split_cases(collections, "published")
    assert len(split) == 1155
    for found in collections:
        parts = [split[case.name] for case in found.cases]
        assert (parts.count("train"), parts.count("test")) == (found.task.train, found.task.test)
    assert list(split.values()).count("train") == 920
    assert list(split.values()).count("test") == 235
    assert (split["kidney_00008"], split["liver_0"], split["spleen_9"]) == ("train", "test", "test")


def test_a_case_that_the_published_split_does_not_know_is_named():
    known, other = task_named("liver"), ["liver_0", "liver_999"]
    with pytest.raises(ValueError, match=r"1 cases of folder, such as liver_999, .*--split seeded"):
        split_cases([collection(known, other)], "published")


def test_other_collections_are_split_by_seed_beside_the_published():
    split = split_cases([collection(task_named("liver"), ["liver_0"]), numbered("node", 10)])
    assert split.pop("liver_0") == "test"
    assert sorted(split.values()).count("test") == 2


@pytest.mark.parametrize(("count", "tested"), [(1, 0), (2, 1), (6, 1), (10, 2), (131, 26)])
def test_a_seeded_split_holds_out_a_fifth(count, tested):
    split = split_cases([numbered("liver", count)], "seeded", 3)
    assert list(split.values()).count("test") == tested
    assert len(split) == count


def test_seeds_differ_and_repeat():
    collections = [numbered("liver", 50)]
    assert split_cases(collections, "seeded", 1) == split_cases(collections, "seeded", 1)
    assert split_cases(collections, "seeded", 1) != split_cases(collections, "seeded", 2)


def test_all_test_and_cases_without_label():
    found = collection(task_named("kidney"), ["kidney_00000", "kidney_00210"], ["kidney_00210"])
    assert split_cases([found], "all-test") == {"kidney_00000": "test"}
    assert split_cases([found], "published") == {"kidney_00000": "test"}


def test_an_unknown_kind_is_told():
    with pytest.raises(ValueError, match="unknown split 'random'; there are: published, seeded"):
        split_cases([], "random")


def test_validation_is_a_fifth_of_the_training_cases_of_each_collection():
    collections = whole_mots()
    split = split_cases(collections, "published")
    chosen = validation_cases(collections, split)
    assert {split[name] for name in chosen} == {"train"}
    per_task = [sum(case.name in chosen for case in c.cases) for c in collections]
    assert per_task == [21, 34, 48, 45, 20, 10, 6]
    assert chosen == validation_cases(collections[::-1], split)
    assert chosen != validation_cases(collections, split, seed=1)


@pytest.mark.parametrize("count", [6, 30, 104])
def test_one_case_more_moves_no_other_collection_and_at_most_one_of_its_own(count):
    def chosen(size):
        collections = [numbered("liver", size), numbered("colon", 40)]
        split = split_cases(collections, "seeded", 5)
        tested = {name for name, part in split.items() if part == "test"}
        return tested, validation_cases(collections, split, seed=5)

    before, after = chosen(count), chosen(count + 1)
    for old, new in zip(before, after, strict=True):
        moved = set(old) ^ set(new)
        assert not any(name.startswith("colon") for name in moved)
    assert len((before[0] - after[0]) | (after[0] - before[0] - {f"liver_{count}"})) <= 1


def test_a_patient_s_time_points_are_on_one_side():
    """Of a described collection of BraTS; where each has one, they are drawn as by their names."""
    task = Task("brats", "brain", "brain_tumour", (1, 2), (2,))
    names = [f"brats_BraTS-GLI-{n:05d}-{t}" for n in range(12) for t in (100, 101)]
    found = collection(task, names)
    split = split_cases([found], "seeded", 1)
    parts = split | dict.fromkeys(validation_cases([found], split, seed=1), "validation")
    assert {*parts.values()} == {"train", "validation", "test"}
    for name in names[::2]:
        assert parts[name] == parts[name.removesuffix("100") + "101"]
    single = split_cases([collection(task, names[::2])], "seeded", 1)
    hashed = sorted(names[::2], key=lambda n: hashlib.sha256(f"test 1 {n}".encode()).hexdigest())
    assert {name for name, part in single.items() if part == "test"} == {*hashed[:2]}


def test_the_plan_counts_every_case():
    livers = collection(task_named("liver"), [f"liver_{n}" for n in range(500, 504)], ["liver_503"])
    (line,) = supervision([livers], "seeded")
    assert (line.organ, line.tumour, line.folder) == ("liver", "liver_tumour", "folder")
    assert (line.train, line.validation, line.test, line.unlabelled) == (2, 1, 1, 1)
